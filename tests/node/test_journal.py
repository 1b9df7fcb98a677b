"""What stands in a real journal: events with their fields, the query log, and a storm that is a few lines."""

import json
from typing import Any

from tests.node.node import ADDRESS, Node


def entries(node: Node, *matches: str) -> list[dict[str, Any]]:
    """The unit's entries that match, in their order."""
    said = node.run("journalctl", "-u", "nodedns", "-o", "json", "--no-pager", *matches)
    return [json.loads(line) for line in said.splitlines()]


def test_killed_workers_are_consolidated(node: Node) -> None:
    """Each death is an entry with its worker, pid and signal; of twelve in a moment three are told, then how many
    more."""
    for _ in range(12):
        before = node.workers()
        node.run("kill", "-9", str(before[0]), check=True)
        node.await_(lambda old=before: set(node.workers()) - set(old) and len(node.workers()) == 2, "whole again")
    node.await_(lambda: accounted(node) == 12, "told of all")
    found = entries(node, "NODEDNS_EVENT=worker_died")
    first = found[0]
    assert (first["PRIORITY"], first["NODEDNS_DEATH"], first["SYSLOG_IDENTIFIER"]) == ("4", "SIGKILL", "nodedns")
    assert first["NODEDNS_WORKER"] in ("worker 0", "worker 1")
    assert first["MESSAGE"].startswith(f"{first['NODEDNS_WORKER']} (pid {first['NODEDNS_PID']}) ended in state serving")
    assert first["_SYSTEMD_UNIT"] == "nodedns.service"
    assert len(found) < 12
    print(f"deaths 12, entries {len(found)}")


def accounted(node: Node) -> int:
    return sum(int(one.get("NODEDNS_MORE", 1)) for one in entries(node, "NODEDNS_EVENT=worker_died"))


def test_reloads(node: Node) -> None:
    """One that is refused is one entry with all its reasons, one that is taken another."""
    node.configure(node.authority.port, extra="on_stop = 1\nnetfilter = 7\n")
    node.run("systemctl", "reload", "nodedns")
    (refused,) = entries(node, "NODEDNS_EVENT=reload_refused")
    assert refused["PRIORITY"] == "3"
    assert len(refused["MESSAGE"].splitlines()) == 2
    node.configure(node.authority.port)
    node.run("systemctl", "reload", "nodedns", check=True)
    node.await_(lambda: entries(node, "NODEDNS_EVENT=reload_taken"), "told")


def test_query_log(node: Node) -> None:
    """A line an answer, with its fields, from a child without rights."""
    path = "/etc/nodedns/nodedns.d/log.toml"
    node.write(path, '[log]\nqueries = "all"\nrate = 1000\n')
    node.run("systemctl", "reload", "nodedns", check=True)

    def logged() -> list[dict[str, Any]]:
        node.run("nodedns", "query", "logged.test", "--server", f"{ADDRESS}:53", "--raw")
        return entries(node, "NODEDNS_EVENT=query", "NODEDNS_NAME=logged.test.")

    node.await_(logged, "logged")
    one = logged()[0]
    assert (one["PRIORITY"], one["NODEDNS_TYPE"], one["NODEDNS_RCODE"]) == ("6", "A", "NOERROR")
    assert one["MESSAGE"].startswith(f"[INFO] {one['NODEDNS_CLIENT']}:")
    assert one["_UID"] != "0"
    (node.path / path.lstrip("/")).unlink()
    node.run("systemctl", "reload", "nodedns", check=True)
