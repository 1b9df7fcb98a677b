"""Problems with the machine are counted by node-cache's errortype."""

import pytest

from nodedns import native
from nodedns.supervisor.tally import Tally

# What host/ says -> errortype.
KINDS = {
    "node.netfilter: iptables-legacy-restore -w 15: Another app is currently holding the xtables lock": "iptables_lock",
    "node.netfilter: iptables-nft-save: host/network `address x' not found": "iptables",
    "repair: its process ended: SIGKILL": "iptables",
    "node.interface: link nodelocaldns: Operation not permitted; CAP_NET_ADMIN is needed": "interface_add",
    "node.listen: 169.254.20.10 is on link lo already; take it from there, or set node.interface": "interface_check",
    "node.listen: 169.254.20.10 was added to dns0 and is not there; does NetworkManager manage it?": "interface_check",
}


@pytest.mark.parametrize(("problem", "kind"), KINDS.items(), ids=KINDS.keys())
def test_kinds(counters: native.Memory, problem: str, kind: str) -> None:
    """Each is counted once, under one kind, before there are counters as well as after."""
    tally = Tally()
    tally.problem(problem)
    tally.bind(counters)
    tally.problem(problem)
    assert {name: n for name, n in native.read_parent(counters).items() if n} == {f"error_{kind}": 2}
