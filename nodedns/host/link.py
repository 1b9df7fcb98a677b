"""The link that carries our addresses: a dummy, or a bridge without ports where the kernel has no dummy.

What is wanted is compared with what is there and only the difference carried out, each step said aloud. The link is
known as ours by its alias, so a clean-up needs no memory: it works after any death, and never takes away a link of
others.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from nodedns.config_model import NODE_CACHE_LINK
from nodedns.host.errors import ChangeError

ALIAS = "nodedns"
KINDS = ("dummy", "bridge")  # in the order in which they are tried
Log = Callable[[str], object]

_ADVICE = {
    "kube-ipvs0": "kube-proxy in IPVS mode holds it: listen on the link-local address alone",
    NODE_CACHE_LINK: 'to take over from a NodeLocal DNSCache, set node.beside = "node-cache" (docs/migrate.md)',
}


@contextmanager
def _netlink(name: str) -> Iterator[Any]:
    """A socket to the kernel; what it refuses is said of the link. Others may take a link away under our hands."""
    try:
        with IPRoute() as ip:
            yield ip
    except NetlinkError as error:
        advice = "CAP_NET_ADMIN is needed" if error.code == errno.EPERM else "look at ip link"
        raise ChangeError(f"node.interface: link {name}: {os.strerror(error.code)}; {advice}") from error


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _find(ip: Any, name: str) -> Any | None:
    """The link of that name. get_attr works with pyroute2 0.7 to 0.9, the shorter ways do not."""
    return next((link for link in ip.get_links() if link.get_attr("IFLA_IFNAME") == name), None)


def _kind(link: Any) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND")) if info else ""


def _create(ip: Any, name: str, log: Log) -> Any:
    for kind in KINDS:
        try:
            ip.link("add", ifname=name, kind=kind)
        except NetlinkError as error:
            if error.code != errno.EOPNOTSUPP:
                raise
            continue
        ip.link("set", index=ip.link_lookup(ifname=name)[0], ifalias=ALIAS)
        log(f"added link {name} ({kind})")
        return _find(ip, name)
    raise ChangeError(
        f'node.interface: the kernel has no {" and no ".join(KINDS)}; node.interface = "none" uses your own link'
    )


def _addresses(ip: Any, index: int) -> Iterator[str]:
    """Global and link-local IPv4 addresses, and IPv6 addresses but the link's own link-local one."""
    for found in ip.get_addr(index=index):
        address = str(found.get_attr("IFA_ADDRESS"))
        if not address.startswith("fe80:"):
            yield address


def _elsewhere(ip: Any, address: str, index: int) -> Iterator[str]:
    """The other links that have the address."""
    for found in ip.get_addr(family=_family(address)):
        if found.get_attr("IFA_ADDRESS") == address and found["index"] != index:
            yield str(ip.get_links(found["index"])[0].get_attr("IFLA_IFNAME"))


def _add(ip: Any, name: str, index: int, address: str, log: Log, *, beside: bool) -> None:
    for other in _elsewhere(ip, address, index):
        if not (beside and other == NODE_CACHE_LINK):
            advice = _ADVICE.get(other, "take it from there, or set node.interface")
            raise ChangeError(f"node.listen: {address} is on link {other} already; {advice}")
    # nodad: an address that is still being looked for elsewhere cannot be answered from (RFC 4862 5.4)
    flags = {"flags": 0x02} if ":" in address else {}
    ip.addr("replace", index=index, address=address, prefixlen=128 if ":" in address else 32, **flags)
    if address not in set(_addresses(ip, index)):
        raise ChangeError(
            f"node.listen: {address} was added to {name} and is not there; does NetworkManager manage {name}?"
        )
    log(f"added {address} to {name}")


def converge(name: str, addresses: Sequence[str], log: Log, beside: bool = False) -> None:
    """Makes the link have these addresses, and no others if it is ours. ChangeError, and the machine as it was, if not.

    An address that another link has is refused, except node-cache's while we are `beside` it.
    """
    with _netlink(name) as ip:
        link = _find(ip, name)
        made = link is None
        if link is not None and _kind(link) not in KINDS:
            raise ChangeError(
                f"node.interface: {name} is a link of kind {_kind(link) or 'hardware'}; choose another name"
            )
        if link is None:
            link = _create(ip, name, log)
        try:
            _converge(ip, link, addresses, beside, log)
        except BaseException:
            if made:
                with suppress(NetlinkError):  # somebody else was faster
                    ip.link("del", index=link["index"])
                log(f"removed link {name} again")
            raise


def _converge(ip: Any, link: Any, addresses: Sequence[str], beside: bool, log: Log) -> None:
    name, index = link.get_attr("IFLA_IFNAME"), link["index"]
    if not link["flags"] & 1:  # IFF_UP
        ip.link("set", index=index, state="up")
        log(f"set link {name} up")
    there = set(_addresses(ip, index))
    for address in addresses:
        if address not in there:
            _add(ip, name, index, address, log, beside=beside)
    # What others have on a link of theirs stays: a node-cache that runs has more addresses on it than we may serve.
    for address in there - set(addresses) if _ours(link) else ():
        ip.addr("del", index=index, address=address, prefixlen=128 if ":" in address else 32)
        log(f"removed {address} from {name}")


def remove(name: str, log: Log) -> None:
    """Takes the link away if it is ours; nothing to do is fine."""
    with _netlink(name) as ip:
        link = _find(ip, name)
        if link is not None and _ours(link):
            _delete(ip, link, log)


def remove_all(log: Log) -> None:
    """Takes every link of ours away, whatever its name."""
    with _netlink("of nodedns") as ip:
        for link in filter(_ours, ip.get_links()):
            _delete(ip, link, log)


def addresses_of(name: str) -> set[str]:
    """What a link of that name carries; nothing when there is none."""
    with _netlink(name) as ip:
        link = _find(ip, name)
        return set(_addresses(ip, link["index"])) if link else set()


def remove_of_others(name: str, log: Log) -> None:
    """Takes a link away that is not ours, if it is of a kind that carries addresses and nothing else."""
    with _netlink(name) as ip:
        link = _find(ip, name)
        if link is not None and _kind(link) in KINDS and not _ours(link):
            _delete(ip, link, log)


def _ours(link: Any) -> bool:
    return bool(link.get_attr("IFLA_IFALIAS") == ALIAS)


def _delete(ip: Any, link: Any, log: Log) -> None:
    ip.link("del", index=link["index"])
    log(f"removed link {link.get_attr('IFLA_IFNAME')}")
