"""What a node-cache that was killed has left: its link, and its rules, which keep our addresses untracked for ever.

Its rules are known by their comment, and those of versions before 2023, which have none, by their form and by the
addresses of the link it has left (kubernetes/dns cmd/node-cache/app/cache_app.go).
"""

import re
from collections.abc import Collection, Iterator

from nodedns.config_model import NODE_CACHE_LINK
from nodedns.host.link import Log
from nodedns.host.netfilter import iptables
from nodedns.host.netfilter.detect import saved

COMMENT = "NodeLocal DNS Cache:"
TABLES = ("raw", "filter")
_FORM = re.compile(
    r"-A (?:PREROUTING|INPUT|OUTPUT) -[ds] ([0-9a-f.:]+)/\d+ -p (?:tcp|udp) -m (?:tcp|udp) --[ds]port \d+"
    r" -j (?:NOTRACK|CT --notrack|ACCEPT)"
)


def rules(backend: str, family: str, table: str, addresses: Collection[str] = ()) -> Iterator[str]:
    """Its rules in one table, as iptables-save prints them."""
    for line in saved(backend, family, table).splitlines():
        form = _FORM.fullmatch(line)
        if line.startswith("-A ") and (COMMENT in line or (form and form[1] in addresses)):
            yield line


def remove(keep_link: bool, log: Log) -> None:
    """Takes its rules away, and the link of its name unless that is ours by now; nothing to do is fine."""
    from nodedns.host import link  # pyroute2 takes 0.2 s to import

    addresses = link.addresses_of(NODE_CACHE_LINK)
    for backend in filter(iptables.installed, iptables.BACKENDS):
        for family in ("ip", "ip6"):
            for table in TABLES:
                if changes := [f"-D{rule[2:]}" for rule in rules(backend, family, table, addresses)]:
                    iptables.restore(backend, family, table, changes)
                    log(f"removed {len(changes)} {family}tables rules of node-cache ({backend}, table {table})")
    if not keep_link:
        link.remove_of_others(NODE_CACHE_LINK, log)
