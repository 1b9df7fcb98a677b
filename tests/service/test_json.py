"""What scripts get of status, top and cache."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.service.load import wire
from tests.service.service import DEADLINE, ROOT, Authority, Service


def nodedns(service: Service, *words: object) -> tuple[object, ...]:
    """A command line."""
    return (sys.executable, "-m", "nodedns", *words, "--config", service.config)


def report(service: Service, *words: str) -> dict[str, Any]:
    """A verb's JSON."""
    command = list(map(str, nodedns(service, *words, "--json")))
    found: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=False).stdout)
    return found


def test_answers_are_counted_to_the_last(service: Service, authority: Authority) -> None:
    """What `top --once --json` counts in its interval is what was asked in it."""
    del authority
    command = list(map(str, nodedns(service, "top", "--json", "--interval", "0.2")))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", service.port))
            client.settimeout(DEADLINE)
            for name in ["one.load.test", *["two.load.test"] * 10]:
                client.send(b"\1\2\1\0\0\1\0\0\0\0\0\0" + wire(name) + b"\0\1\0\1")
                client.recv(4096)
        seen: list[dict[str, Any]] = []
        while sum(map(of_root, seen)) < 11 and len(seen) < DEADLINE / 0.2:
            seen.append(json.loads(process.stdout.readline()))
        seen.append(json.loads(process.stdout.readline()))  # an answer is counted before top has heard of it
        process.terminate()
    assert sum(map(of_root, seen)) == 11
    assert sum(one["misses"] for one in seen) == 2
    names = [one["name"] for one in seen[-1]["top_names"] if "load" in one["name"]]  # our own probe asks, too
    assert names == ["two.load.test.", "one.load.test."]
    assert {one["name"] for one in seen[-1]["top_misses"]} == {"two.load.test.", "one.load.test."}
    assert [one["client"] for one in seen[-1]["top_clients"]] == ["127.0.0.1"]


def of_root(found: dict[str, Any]) -> int:
    """Answers of the root zone in an interval."""
    return sum(zone["answers"] for zone in found["zones"] if zone["name"] == ".")


def keys(found: object) -> Iterator[str]:
    """Of an object and all in it; those below `counters`, `zones` and `rcodes` of status and top are figures' names."""
    for key, value in found.items() if isinstance(found, dict) else ():
        yield key
        inner = value if isinstance(value, list) else [value] if key not in ("counters", "zones", "rcodes") else []
        for one in inner:
            yield from keys(one)


@pytest.mark.parametrize(
    "words", [["status"], ["top", "--once", "--interval", "0.2"], ["cache", "dump"]], ids=lambda w: w[0]
)
def test_json_is_as_documented(words: list[str], service: Service) -> None:
    """Every key has a line in docs/observe.md."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", service.port))
        client.settimeout(DEADLINE)
        client.send(b"\1\2\1\0\0\1\0\0\0\0\0\0" + wire("one.load.test") + b"\0\1\0\1")
        client.recv(4096)
    page = (ROOT / "docs" / "observe.md").read_text()
    named = set(re.findall(r"`([a-z_0-9]+)`", page))
    found = set(keys(report(service, *words)))
    assert len(found) > 8
    assert found - named == set()
