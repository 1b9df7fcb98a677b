"""Resolvers that programs use, with the resolv.conf of a pod: glibc, musl, c-ares, dig, kdig, drill.

The search list is the seed's, ndots 5: each short name is asked for in every domain of it, and denials come from the
cache the second time.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dnslib
import pytest

from tests.netns.conftest import say
from tests.service.scripted import SOA, Asked, Scripted
from tests.service.service import DEADLINE, Service

NODE = "169.254.20.10"
KNOWN = {"db.default.svc.cluster.local.": "10.96.7.7", "www.example.com.": "192.0.2.80"}
SEARCH = "default.svc.cluster.local svc.cluster.local cluster.local corp.example"
RESOLV_CONF = f"nameserver {NODE}\nsearch {SEARCH}\noptions ndots:5\n"
MUSL = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    struct addrinfo *found, hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char text[64];
    if (argc != 2 || getaddrinfo(argv[1], NULL, &hints, &found))
        return 1;
    for (; found; found = found->ai_next)
        if (found->ai_family == AF_INET)
            puts(inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof text));
    return 0;
}
"""
C_ARES = """
import aiodns, asyncio, socket, sys
async def main():
    found = await aiodns.DNSResolver().getaddrinfo(sys.argv[1], family=socket.AF_INET)
    print(*(node.addr[0].decode() for node in found.nodes))
asyncio.run(main())
"""


def answer(asked: Asked) -> list[bytes]:
    """The names of a cluster."""
    reply = asked.reply()
    if asked.name in KNOWN and asked.message.q.qtype == 1:
        reply.add_answer(dnslib.RR(asked.name, 1, ttl=300, rdata=dnslib.A(KNOWN[asked.name])))
    else:
        reply.header.rcode = 0 if asked.name in KNOWN else 3
        reply.add_auth(SOA)
    return [bytes(reply.pack())]


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with Scripted(answer) as server:
        yield server


@pytest.fixture
def service(tmp_path: Path, upstream: Scripted) -> Iterator[Service]:
    say("ip", "address", "add", f"{NODE}/32", "dev", "lo")
    (tmp_path / "nodedns.d").mkdir()
    (tmp_path / "nodedns.d/10.toml").write_text(
        f'[node]\nlisten = ["127.0.0.1:5300", "{NODE}"]\ninterface = "none"\nnetfilter = "none"\n'
        f'[[zone]]\nname = "cluster.local"\nforward = "127.0.0.1:{upstream.port}"\ntransport = "tcp"\n'
        "success = { max_ttl = 300 }\ndenial = { max_ttl = 300 }\n"  # longer than a slow machine takes to ask again
    )
    with Service(tmp_path, upstream.port) as running:
        yield running


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, list[str]]:
    """How each is asked for a name; all print the address."""
    lacking = [command for command in ("musl-gcc", "dig", "kdig", "drill", "getent") if shutil.which(command) is None]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}")
    (tmp_path / "musl.c").write_text(MUSL)
    musl, c_ares = tmp_path / "musl", tmp_path / "c_ares.py"
    subprocess.run(["musl-gcc", "-static", "-o", musl, tmp_path / "musl.c"], check=True)
    c_ares.write_text(C_ARES)
    return {
        "glibc": ["getent", "ahostsv4"],
        "musl": [str(musl)],
        "c-ares": [sys.executable, str(c_ares)],
        "dig": ["dig", "+search", "+short"],
        "kdig": ["kdig", "+short"],
        "drill": ["drill", "-Q"],
    }


def run(home: Path, command: list[str], name: str, seconds: float = DEADLINE) -> str:
    """With a pod's resolv.conf in place of this machine's, in a mount namespace."""
    (home / "resolv.conf").write_text(RESOLV_CONF)
    script = f'mount --bind {home}/resolv.conf /etc/resolv.conf && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, "sh", *command, name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("program", ["glibc", "musl", "c-ares", "dig", "kdig", "drill"])
def test_a_program(
    program: str, tmp_path: Path, service: Service, upstream: Scripted, programs: dict[str, list[str]]
) -> None:
    """Finds a Service by its short name and the world by a whole one, the second time without asking anybody."""
    searches = program in ("glibc", "musl", "c-ares", "dig")
    names = {"db" if searches else "db.default.svc.cluster.local": "10.96.7.7", "www.example.com": "192.0.2.80"}
    for name, address in names.items():
        assert address in run(tmp_path, programs[program], name)
    if searches:
        assert "www.example.com.svc.cluster.local." in {asked.name for asked in upstream.asked}
    before = len(upstream.asked)
    for name, address in names.items():
        assert address in run(tmp_path, programs[program], name)
    assert len(upstream.asked) == before
    assert service.counters()["formerr"] == 0


def test_the_ndots_storm(tmp_path: Path, service: Service, upstream: Scripted) -> None:
    """200 cluster names by glibc at ndots:5: denials come from the cache, and answers are not pushed out by them."""
    assert "10.96.7.7" in run(tmp_path, ["getent", "ahosts"], "db")
    names = [f"h{n}.example.com" for n in range(200)]
    script = 'for name in $(cat "$1"); do getent ahosts "$name"; done; true'
    (tmp_path / "names").write_text("\n".join(names))
    run(tmp_path, ["sh", "-c", script, "sh"], str(tmp_path / "names"), 6 * DEADLINE)
    asked = len(upstream.asked)
    run(tmp_path, ["sh", "-c", script, "sh"], str(tmp_path / "names"), 6 * DEADLINE)
    print(f"{len(names)} names: {asked} asked the first time, {len(upstream.asked) - asked} the second")
    assert asked >= 5 * len(names)
    assert len(upstream.asked) - asked <= asked // 20
    assert "10.96.7.7" in run(tmp_path, ["getent", "ahosts"], "db")
    assert sum(query.name == "db.default.svc.cluster.local." for query in upstream.asked) == 1
