"""status: one screen of the service as its files show it."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from service_files import WORKERS, Verb, write, write_status

from nodedns import native
from nodedns.supervisor.memory import counters_mark, map_all
from nodedns.verbs.files import Source
from nodedns.verbs.service import find


@pytest.mark.usefixtures("still", "table", "lock")
def test_status_of_a_living_service(config_file: Path, verb: Verb) -> None:
    """The screen shows state, addresses, workers and the fill of the table."""
    code, out, err = verb("status", "--config", str(config_file))
    assert (code, err) == (0, "")
    for part in (
        f"READY for 0 s, pid {os.getpid()}",
        "listen    127.0.0.1:5399",
        "worker 1  SERVING, pid 101, restarts 1",
    ):
        assert part in out
    assert "cache     1 MiB, 0.0 % full: answers 0, denials 0, failures 0" in out
    assert "reloads   none" in out


@pytest.mark.usefixtures("table", "lock")
def test_status_as_json(config_file: Path, verb: Verb) -> None:
    """--json has what the screen has, and every counter."""
    code, out, _ = verb("status", "--json", "--config", str(config_file))
    report = json.loads(out)
    assert code == 0
    assert (report["alive"], report["state"], report["cache"]["size"]) == (True, "READY", 2**20)
    assert set(report["counters"]) == {*native.COUNTER_NAMES, *native.PARENT_NAMES}


@pytest.mark.usefixtures("table")
def test_status_of_a_dead_service(config_file: Path, verb: Verb) -> None:
    """Nobody holds the lock: the status says so, whatever its file claims, and the exit code is 1."""
    code, out, _ = verb("status", "--config", str(config_file))
    assert (code, "not running; it was READY as pid" in out, "SERVING" in out) == (1, True, False)
    code, out, _ = verb("status", "--json", "--config", str(config_file))
    assert (code, json.loads(out)["alive"]) == (1, False)


@pytest.mark.usefixtures("table", "lock")
@pytest.mark.parametrize("state", ["STARTING", "STOPPING"])
def test_status_of_a_service_that_does_not_serve(state: str, config_file: Path, verb: Verb) -> None:
    """A service that lives but is not ready gives exit code 1 too."""
    write_status(config_file, state=state)
    assert verb("status", "--config", str(config_file))[0] == 1


@pytest.mark.usefixtures("still", "table", "lock")
@pytest.mark.parametrize(
    ("rules", "monitor", "shown"),
    [
        ({"alive": True, "fallback": ["10.244.2.10:53"]}, "", ("queries come to us", "10.244.2.10:53")),
        (
            {"alive": False, "fallback": []},
            "169.254.20.10:53 over TCP: x",
            ("queries go to the fallback", "nobody (docs/kubernetes.md)"),
        ),
    ],
)
def test_status_of_the_machine(
    rules: dict[str, Any], monitor: str, shown: tuple[str, str], config_file: Path, verb: Verb
) -> None:
    """Link, rules, fallback, the self-probe's verdict and adopted sockets have a line each."""
    native.count_parent(find(Source(str(config_file))).map("counters", writable=True), "fail_opens", 2)
    write_status(
        config_file,
        link="nodelocaldns",
        repairs=3,
        repaired_at=native.now() - 61_000,
        rules={"netfilter": "iptables-nft", "steered": ["169.254.20.10:53"], **rules},
        monitor={"pid": 7, "state": "SERVING", "restarts": 1, "failed": monitor},
        metrics="127.0.0.1:9253",
        adoptions=8,
        config_map_failed=True,
    )
    out = verb("status", "--config", str(config_file))[1]
    for line in (
        "link      nodelocaldns; repairs of link or rules: 3, the last 1 min 1 s ago",
        "rules     iptables-nft: the config says so",
        f"steering  {shown[0]}; failed open: 2, none since the start",
        f"fallback  {shown[1]}",
        f"monitor   SERVING, restarts 1: {monitor or 'every address answers over UDP and TCP'}",
        "metrics   http://127.0.0.1:9253/metrics",
        "listen    127.0.0.1:5399; 8 sockets taken over",
        "zones     those of the kube-dns ConfigMap are not served: nodedns check says why",
    ):
        assert line in out.splitlines()


@pytest.mark.usefixtures("table", "lock")
def test_an_ordinary_node_fits_a_screen(config_file: Path, verb: Verb) -> None:
    """Of 80 columns and 24 lines: two addresses, four workers, a stub zone, a refused reload."""
    forward = {".": ["10.1.1.53:53", "10.1.1.54:53"], "corp.example.": ["tls://10.9.9.53:853#dns.corp.example"]}
    forward |= {zone: ["10.96.0.10:53"] for zone in ("cluster.local.", "in-addr.arpa.", "ip6.arpa.")}
    run_dir = config_file.parent / "run"
    # Counters for four workers and the canary: two are there.
    (run_dir / "counters").unlink()
    map_all(str(run_dir), 2**20, 5)
    counters = find(Source(str(config_file))).counters()
    upstreams = [[name] for name in ("10.1.1.53:53", "10.1.1.54:53", "10.9.9.53:853", "10.96.0.10:53")]
    write(run_dir / "rows.json", json.dumps({"mark": counters_mark(counters), "rows": [], "upstreams": upstreams}))
    write_status(
        config_file,
        listen=["169.254.20.10:53", "10.96.0.10:53"],
        metrics="0.0.0.0:9253",
        link="nodelocaldns",
        repairs=1234,
        repaired_at=native.now() - 7_200_000,
        rules={
            "netfilter": "nftables",
            "steered": ["169.254.20.10:53"],
            "alive": True,
            "fallback": ["10.244.2.10:53", "10.244.3.7:53"],
        },
        monitor={"pid": 7, "state": "SERVING", "restarts": 1, "failed": ""},
        adoptions=12,
        forward=[{"name": name, "forward": servers} for name, servers in forward.items()],
        workers=WORKERS * 2,
        reload={"count": 2, "at": native.now(), "ok": False, "problems": ["node.workers: expected 1 to 64, got 0"]},
    )
    lines = verb("status", "--config", str(config_file))[1].splitlines()
    assert len([line for line in lines if line.startswith("upstream")]) == 4
    assert len(lines) <= 23  # the prompt needs the last one
    assert [line for line in lines if len(line) > 80] == []


@pytest.mark.usefixtures("table", "lock")
def test_status_beside_another_version(config_file: Path, verb: Verb) -> None:
    """After an upgrade without a restart counters are not read; the rest is shown."""
    with (config_file.parent / "run" / "counters").open("rb+") as file:
        file.write(b"other")
    code, out, _ = verb("status", "--config", str(config_file))
    assert (code, "worker 1  SERVING" in out, "answers " in out) == (0, True, False)
    assert "\ncounters  " in out
    assert "got other counters; restart the service\n" in out
    assert "reason" in json.loads(verb("status", "--json", "--config", str(config_file))[1])


@pytest.mark.usefixtures("table", "lock")
def test_status_of_upstreams(config_file: Path, verb: Verb) -> None:
    """Zones with the same servers share a line; servers are there with the worst first, as those see them who serve."""
    run_dir = config_file.parent / "run"
    service = find(Source(str(config_file)))
    counters = service.map("counters", writable=True)
    names = [[f"192.0.2.{n}:853"] for n in range(6)]
    write(run_dir / "rows.json", json.dumps({"mark": counters_mark(counters), "rows": [], "upstreams": names}))
    slots = native.map_file((file := (run_dir / "slots").open("rb+")).fileno(), 3 * native.SLOT_SIZE, True)
    file.close()
    for slot, state in enumerate((1, 2, 3)):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server = native.Server(
            service.table(writable=True)[1], counters, slots, slot, [sock.fileno()], [], [(b"\0", 1, 0, 0)]
        )
        server.note_upstream(5, state, 2_500_000, 1)
        server.count_upstream(5, native.UPSTREAM["timeouts"][0], 3)
        server.count_reply(5, 0, 250_000)
        sock.close()
    forward = [f"tls://192.0.2.{n}:853#dns.example" for n in range(6)]
    write_status(config_file, forward=[{"name": f"z{n}.", "forward": forward} for n in range(6)])
    lines = verb("status", "--config", str(config_file))[1].splitlines()
    zone = "zone      z0., z1., z2., z3. and 2 more -> "
    assert [line for line in lines if line.startswith(zone)] == [zone + ", ".join(forward[:4]) + " and 2 more"]
    at = lines.index("upstream  192.0.2.5:853 down, p50 0.125 ms, p99 0.247 ms; asked 0, timeouts 9")
    assert lines[at + 1] == "upstream  192.0.2.0:853 unknown; asked 0"
    assert lines[at + 4] == "          and 2 more"
