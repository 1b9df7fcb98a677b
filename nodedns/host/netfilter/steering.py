"""Our own nftables table: the dead-man switch.

    alive     addresses and ports whose packets stay untracked, and therefore local; its elements time out
    raw       what goes to an address in `alive` is not tracked, so no NAT of anybody's sees it; nor is what comes from
              a loopback address: our self-probes reach us and nobody else, alive or not; nor is any answer of ours
    nat       what is tracked after all, because nobody refreshed `alive`, goes to kube-dns's endpoints

    over        only beside a node-cache, whose rules keep our addresses untracked for ever. What `raw` will not take is
                given a conntrack template first: whoever says NOTRACK later passes over it (xt_CT.c, nft_ct.c)

Our NAT comes after kube-proxy's (priority + 5): a connection is translated once, so a Service IP is kube-proxy's as
long as it has a rule for it, and ours only when it has none. A socket of the host that asked a local address picked
that address as its source; what leaves for an endpoint is therefore masqueraded.

The whole table is replaced in one transaction (nft(8), -f), whatever was there before. An empty chain's name says what
it was made from, since nft's versions print one and the same rule differently.
"""

import hashlib
import re
from collections.abc import Callable, Iterator

from nodedns.config import Endpoint
from nodedns.core.plan import Plan
from nodedns.host.commands import output

TABLE = "inet nodedns"
_FAMILIES = ((4, "ip", "ipv4_addr"), (6, "ip6", "ipv6_addr"))
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1"}
_DNS = "meta l4proto { tcp, udp }"
Log = Callable[[str], object]


def render(plan: Plan, alive: bool) -> str:
    """The transaction, for `nft -f -`. `alive`: it is known that we answer, so steer to us for the next `hold`."""
    lines = [f"table {TABLE}", f"delete table {TABLE}", f"table {TABLE} {{"]
    for version, _family, kind in _FAMILIES:
        part = plan.of(version)
        if part.steered:
            lines += _sets(part, alive, version, kind)
    lines += [f"  chain {_mark(plan)} {{", "  }"]
    lines += _chains(plan)
    return "\n".join([*lines, "}", ""])


def _mark(plan: Plan) -> str:
    what = repr((plan.steered, plan.fallback, plan.hold, plan.beside))
    return f"of_{hashlib.sha256(what.encode()).hexdigest()[:16]}"


def _chains(plan: Plan) -> list[str]:
    lines: list[str] = []
    if plan.beside:
        lines += _chain("over_prerouting", "filter", "prerouting", "raw - 1", _overridden(plan))
        lines += _chain("over_output", "filter", "output", "raw - 1", _overridden(plan))
    lines += _chain("prerouting", "filter", "prerouting", "raw", _untracked(plan, ("daddr",)))
    lines += _chain("output", "filter", "output", "raw", _untracked(plan, ("daddr", "saddr")))
    lines += _chain("nat_prerouting", "nat", "prerouting", "dstnat + 5", _translated(plan))
    # nft knows dstnat for prerouting alone; -100 is its value, and kube-proxy's in both hooks
    lines += _chain("nat_output", "nat", "output", "-95", _translated(plan))
    lines += _chain("nat_postrouting", "nat", "postrouting", "srcnat - 5", _masqueraded(plan))
    return lines


def _sets(part: Plan, alive: bool, version: int, kind: str) -> Iterator[str]:
    served = ", ".join(f"{at.address} . {at.port}" for at in part.steered)
    addresses = ", ".join(dict.fromkeys(at.address for at in part.steered))
    living = f" elements = {{ {served} }};" if alive else ""
    yield f"  set alive{version} {{ type {kind} . inet_service; flags timeout; timeout {part.hold}s;{living} }}"
    yield f"  set served{version} {{ type {kind} . inet_service; elements = {{ {served} }}; }}"
    yield f"  set addresses{version} {{ type {kind}; elements = {{ {addresses} }}; }}"


def _chain(name: str, kind: str, hook: str, priority: str, rules: Iterator[str]) -> Iterator[str]:
    yield f"  chain {name} {{"
    yield f"    type {kind} hook {hook} priority {priority}; policy accept;"
    yield from (f"    {rule}" for rule in rules)
    yield "  }"


def _untracked(plan: Plan, ends: tuple[str, ...]) -> Iterator[str]:
    """`ends`: "daddr" for queries, "saddr" for answers.

    Queries only as long as the address is here: when somebody deletes the link, they go to the fallback at once.
    Answers always: one that is tracked, since it left in the moment of a stop, would make its client's next queries
    part of a connection to us, which nobody translates.
    """
    for version, family, _kind in _FAMILIES:
        if not plan.of(version).steered:
            continue
        for end in ends:
            if end == "saddr":
                yield f"{_DNS} {family} saddr . th sport @served{version} notrack"
                continue
            at = f"{family} daddr . th dport"
            yield f"{_DNS} {at} @alive{version} fib daddr type local notrack"
            yield f"{_DNS} {family} saddr {_LOOPBACK[version]} {at} @served{version} notrack"


def _overridden(plan: Plan) -> Iterator[str]:
    """The queries that _untracked() leaves alone."""
    for rule in _untracked(plan, ("daddr",)):
        yield rule.removesuffix("notrack") + "accept"
    for version, family, _kind in _FAMILIES:
        if plan.of(version).steered:
            yield f"{_DNS} {family} daddr . th dport @served{version} ct zone set 0"


def _translated(plan: Plan) -> Iterator[str]:
    for version, family, _kind in _FAMILIES:
        part = plan.of(version)
        if part.steered and part.fallback:
            yield f"{_DNS} {family} daddr . th dport @served{version} dnat {family} to {_target(part.fallback)}"


def _target(fallback: tuple[Endpoint, ...]) -> str:
    """One of the endpoints, drawn for each connection."""
    if len(fallback) == 1:
        return str(fallback[0])
    choices = ", ".join(f"{number} : {at.address} . {at.port}" for number, at in enumerate(fallback))
    return f"numgen random mod {len(fallback)} map {{ {choices} }}"


def _masqueraded(plan: Plan) -> Iterator[str]:
    for version, family, _kind in _FAMILIES:
        part = plan.of(version)
        if part.steered and part.fallback:
            yield f"ct status dnat {family} saddr @addresses{version} masquerade"


def found() -> str | None:
    """Our table as the kernel has it; None when there is none."""
    if f"table {TABLE}" not in output("nft", "list", "tables").splitlines():
        return None
    return output("nft", "-s", "list", "table", *TABLE.split())


def converge(plan: Plan, alive: bool, log: Log) -> bool:
    """Replaces the table unless it is as wanted. Was anything to be done?"""
    there = found()
    if there is not None and f"chain {_mark(plan)} {{" in there and _rules(there) == _rules("\n".join(_chains(plan))):
        return False
    output("nft", "-f", "-", text=render(plan, alive or (there is not None and _serves(plan, there))))
    where = ", ".join(map(str, plan.fallback)) or "nowhere"
    was = "wrote" if there is None else "put right"
    log(f"{was} nftables table {TABLE}: {', '.join(map(str, plan.steered))}; while we are down, to {where}")
    return True


def _serves(plan: Plan, there: str) -> bool:
    """Do queries to all its addresses come to us at present? Then they still do behind a change of the rules: a restart
    with another config, or an upgrade, would send them to the fallback for a moment and break TCP connections."""
    living = " ".join(re.findall(r"set alive[46] {[^{}]*elements = {([^}]*)}", there))
    return all(re.search(rf"(?<![\w.:]){re.escape(at.address)} \. {at.port}\b", living) for at in plan.steered)


def _rules(text: str) -> int:
    return len(re.findall(r"\b(?:notrack|zone set 0|dnat \w+ to|masquerade|policy accept)\b", text))


def let_go(log: Log) -> None:
    """From the next packet on the fallback serves."""
    if (text := found()) is not None:
        sets = [f"alive{version}" for version, _, _ in _FAMILIES if f"set alive{version} " in text]
        output("nft", "-f", "-", text="\n".join(f"flush set {TABLE} {name}" for name in sets))
        log("left the queries to the fallback")


def remove(log: Log) -> None:
    """Takes the table away, in one transaction; nothing to do is fine."""
    if found() is not None:
        output("nft", "-f", "-", text=f"table {TABLE}\ndelete table {TABLE}\n")
        log(f"removed nftables table {TABLE}")
