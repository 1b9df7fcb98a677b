"""dnstap's octets, read by a decoder that has none of our code (tests/dnstap.py), and by dnstap's own tools."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from nodedns.core import dnstap
from nodedns.core.sample import mapped
from tests import dnstap as theirs

ANSWER = dnstap.Answer(
    asked=1_700_000_000_999_999_999,
    answered=1_700_000_001_000_037_990,
    client=mapped("10.1.2.3"),
    client_port=4312,
    server=mapped("169.254.20.10"),
    server_port=53,
    tcp=False,
    message=bytes.fromhex("715081800001000000000000076578616d706c65036f72670000010001"),
    weight=1,
)


def test_message() -> None:
    """Each field under its number, times in seconds and nanoseconds."""
    assert theirs.decoded(dnstap.message(ANSWER, b"node-1", b"nodedns 0.1.0")) == {
        "identity": b"node-1",
        "version": b"nodedns 0.1.0",
        "type": 6,
        "socket_family": 1,
        "socket_protocol": 1,
        "query_address": bytes([10, 1, 2, 3]),
        "response_address": bytes([169, 254, 20, 10]),
        "query_port": 4312,
        "response_port": 53,
        "query_time_sec": 1_700_000_000,
        "query_time_nsec": 999_999_999,
        "response_time_sec": 1_700_000_001,
        "response_time_nsec": 37_990,
        "response_message": ANSWER.message,
    }


def test_what_is_not_known_is_not_there() -> None:
    """IPv6, TCP, an answer without its octets from a server without a row, which stands for others."""
    client = mapped("2001:db8::1")
    found = theirs.decoded(
        dnstap.message(replace(ANSWER, client=client, server=b"", message=b"", tcp=True, weight=300), b"", b"")
    )
    assert found["query_address"] == client
    assert (found["socket_family"], found["socket_protocol"], found["extra"]) == (2, 2, b"weight 300")
    assert not {"response_address", "response_port", "response_message", "identity", "version"} & set(found)


@pytest.mark.parametrize("kind", [dnstap.READY, dnstap.START, dnstap.STOP])
def test_control_frames(kind: int) -> None:
    """As fstrm has them; STOP names no content."""
    assert dnstap.control(kind) == theirs.control(kind, None if kind == dnstap.STOP else theirs.CONTENT)
    types = [] if kind == dnstap.STOP else [dnstap.CONTENT_TYPE]
    assert dnstap.parse_control(dnstap.control(kind)[8:]) == (kind, types)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\0",
        b"\0\0\0\x06",
        b"\xff\xff\xff\xff",
        b"\0\0\0\1\0\0\0\1",  # a field without its length
        b"\0\0\0\1\0\0\0\1\0\0\0\5abcd",
        b"\0\0\0\1\0\0\0\2\0\0\0\0",  # an unknown one
        b"\0\0\0\1\0\0\0\1\xff\xff\xff\xffabcd",
    ],
)
def test_hostile_control_frames(body: bytes) -> None:
    """Are refused."""
    with pytest.raises(ValueError, match="control frame"):
        dnstap.parse_control(body)


@pytest.mark.skipif(not shutil.which("dnstap-ldns"), reason="dnstap-ldns is not installed")
def test_dnstaps_own_tool_reads_it(tmp_path: Path) -> None:
    """A file of our frames is one that it understands."""
    file = tmp_path / "tap"
    frame = dnstap.data(dnstap.message(ANSWER, b"node-1", b"nodedns"))
    file.write_bytes(dnstap.control(dnstap.START) + frame + dnstap.control(dnstap.STOP))
    said = subprocess.run(["dnstap-ldns", "-y", "-r", file], capture_output=True, text=True, check=True).stdout
    assert "CLIENT_RESPONSE" in said
    assert '"10.1.2.3"' in said
    assert "example.org." in said
    assert "2023-11-14 22:13:20.999999" in said
