"""ACCEPT rules where native nftables drops: one at the top of each base chain of others that can drop our packets.

An accept in a table of our own would be final there alone; the packet still has to pass theirs (nft(8), "accept").
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from nodedns.core.plan import Plan
from nodedns.host.commands import output
from nodedns.host.netfilter.steering import Log

COMMENT = "nodedns: allow DNS traffic"
_HOOKS = {"input": ("daddr", "dport"), "output": ("saddr", "sport")}
_OF_IPTABLES = {"filter", "raw", "mangle", "nat", "security"}
_OF_OTHERS = {"nodedns", "kube-proxy"}  # kube-proxy drops only what has no endpoints, and rewrites its chains


class Chain(NamedTuple):
    """A base chain of somebody's."""

    family: str
    table: str
    name: str
    hook: str

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


def chains() -> Iterator[Chain]:
    """The chains a DNS packet of ours passes on its way in or out, those behind iptables' back excepted."""
    for item in json.loads(output("nft", "-j", "list", "chains"))["nftables"]:
        chain = item.get("chain", {})
        of_iptables = chain.get("family") in ("ip", "ip6") and chain.get("table") in _OF_IPTABLES
        hook = chain.get("hook")
        if chain.get("type") == "filter" and hook in _HOOKS and not of_iptables and chain["table"] not in _OF_OTHERS:
            yield Chain(chain["family"], chain["table"], chain["name"], hook)


def _listing(chain: Chain) -> str:
    return output("nft", "-a", "list", "chain", *chain[:3])


def _drops(listing: str) -> bool:
    return bool(re.search(r"policy drop|\b(?:drop|reject|jump|goto|queue)\b", listing))


def _ours(listing: str) -> list[str]:
    """Handles of our rules in it."""
    return re.findall(rf'comment "{COMMENT}".* # handle (\d+)$', listing, re.MULTILINE)


def _rules(chain: Chain, plan: Plan) -> Iterator[str]:
    end, port = _HOOKS[chain.hook]
    for version, family in ((4, "ip"), (6, "ip6")):
        steered = plan.of(version).steered
        if steered and chain.family in ("inet", family):
            served = ", ".join(f"{at.address} . {at.port}" for at in steered)
            match = f"meta l4proto {{ tcp, udp }} {family} {end} . th {port} {{ {served} }}"
            yield f'insert rule {chain} {match} accept comment "{COMMENT}"'


def converge(plan: Plan, log: Log) -> bool:
    """Adds what is missing. Was anything to be done?"""
    changes: list[str] = []
    for chain in chains():
        listing, wanted = _listing(chain), list(_rules(chain, plan))
        if _drops(listing) and len(_ours(listing)) != len(wanted):
            changes += [f"delete rule {chain} handle {handle}" for handle in _ours(listing)]
            changes += wanted
            log(f"accepting our DNS traffic in nftables chain {chain}")
    if changes:
        output("nft", "-f", "-", text="\n".join(changes))
    return bool(changes)


def marked() -> Iterator[Chain]:
    """The chains of others that have a rule of ours."""
    return (chain for chain in chains() if _ours(_listing(chain)))


def remove(log: Log) -> None:
    """Takes our rules out of the chains of others; nothing to do is fine."""
    for chain in chains():
        if handles := _ours(_listing(chain)):
            output("nft", "-f", "-", text="\n".join(f"delete rule {chain} handle {handle}" for handle in handles))
            log(f"removed our rules from nftables chain {chain}")
