"""ACCEPT rules where iptables drops: two chains of our own in `filter`, and one jump to each.

Written by iptables-restore alone: it is atomic for a table and honours the xtables lock, so kube-proxy beside us loses
nothing (iptables-restore(8), --noflush and --wait).
"""

from collections.abc import Iterator

from nodedns.config import Endpoint
from nodedns.core.plan import Plan
from nodedns.host.commands import output, there
from nodedns.host.netfilter.detect import saved
from nodedns.host.netfilter.steering import Log

COMMENT = "nodedns: allow DNS traffic"
CHAINS = {"NODEDNS-INPUT": "INPUT", "NODEDNS-OUTPUT": "OUTPUT"}
BACKENDS = ("iptables-nft", "iptables-legacy")
WAIT = "15"
"""Seconds for the xtables lock; somebody who holds it longer is broken, and `systemctl stop` waits no longer."""

_SAID = f'-m comment --comment "{COMMENT}"'
_FAMILIES = ((4, "ip"), (6, "ip6"))


def _rules(chain: str, steered: tuple[Endpoint, ...]) -> Iterator[str]:
    """As iptables-save prints them."""
    end, port = ("-d", "--dport") if chain == "NODEDNS-INPUT" else ("-s", "--sport")
    for at in steered:
        mask = 128 if ":" in at.address else 32
        for proto in ("tcp", "udp"):
            match = f"{end} {at.address}/{mask} -p {proto} -m {proto} {port} {at.port}"
            yield f"-A {chain} {match} {_SAID} -j ACCEPT"


def _jump(chain: str) -> str:
    return f"{CHAINS[chain]} {_SAID} -j {chain}"


def _reached(lines: list[str], chain: str) -> bool:
    """Is the jump there, once, and nothing above it that drops?"""
    built_in = [line for line in lines if line.startswith(f"-A {CHAINS[chain]} ")]
    jumps = [number for number, line in enumerate(built_in) if line.endswith(f"-j {chain}")]
    return (
        len(jumps) == 1
        and built_in[jumps[0]] == f"-A {_jump(chain)}"
        and not any(line.endswith("-j DROP") or "-j REJECT" in line for line in built_in[: jumps[0]])
    )


def _difference(lines: list[str], plan: Plan) -> Iterator[str]:
    """What iptables-restore is to do, from what iptables-save has said."""
    for chain in CHAINS:
        wanted = list(_rules(chain, plan.steered))
        if [line for line in lines if line.startswith(f"-A {chain} ")] != wanted or f":{chain} - [0:0]" not in lines:
            yield from (f":{chain} - [0:0]", *wanted)
        if not _reached(lines, chain):
            yield from _unjumped(lines, chain)
            yield f"-I {_jump(chain)}"


def _unjumped(lines: list[str], chain: str) -> Iterator[str]:
    return (f"-D{line[2:]}" for line in lines if line.startswith("-A") and line.endswith(f"-j {chain}"))


def _removal(lines: list[str]) -> Iterator[str]:
    for chain in CHAINS:
        yield from _unjumped(lines, chain)
    there = [chain for chain in CHAINS if any(line.startswith(f":{chain} ") for line in lines)]
    yield from (f":{chain} - [0:0]" for chain in there)  # which empties them
    yield from (f"-X {chain}" for chain in there)


def restore(backend: str, family: str, table: str, changes: list[str]) -> None:
    """Carries changes out, in one transaction."""
    command = f"{family}tables{backend.removeprefix('iptables')}-restore"
    output(command, "--noflush", "--wait", WAIT, text="\n".join([f"*{table}", *changes, "COMMIT", ""]))


def converge(backend: str, plan: Plan, log: Log) -> bool:
    """Brings the chains of one backend to what is wanted. Was anything to be done?"""
    done = False
    for version, family in _FAMILIES:
        part = plan.of(version)
        if not part.steered:
            continue
        changes = list(_difference(_lines(backend, family), part))
        if changes:
            restore(backend, family, "filter", changes)
            log(f"wrote {family}tables rules ({backend}): {', '.join(map(str, part.steered))} accepted")
            done = True
    return done


def remove(backend: str, log: Log) -> None:
    """Takes our chains away; nothing to do is fine."""
    for _, family in _FAMILIES:
        changes = list(_removal(_lines(backend, family)))
        if changes:
            restore(backend, family, "filter", changes)
            log(f"removed {family}tables rules ({backend})")


def _lines(backend: str, family: str) -> list[str]:
    """The filter table, without counters, which iptables-save prints of every chain."""
    text = saved(backend, family, "filter")
    return [line.split(" [")[0] + " [0:0]" if line.startswith(":") else line for line in text.splitlines()]


def installed(backend: str) -> bool:
    """Has the host the commands of that backend?"""
    return there(f"iptables{backend.removeprefix('iptables')}-restore")
