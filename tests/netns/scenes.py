"""Plans, and rules of others."""

from nodedns.config import Endpoint
from nodedns.core.plan import Plan

V4, V6 = Endpoint("169.254.20.10", 53), Endpoint("fd00::10", 53)
SERVICE_IP = Endpoint("10.96.0.10", 53)
KUBE_DNS = (Endpoint("10.244.2.10", 53), Endpoint("10.244.2.11", 53))
KUBE_DNS_6 = Endpoint("fd00:244::10", 53)


def plan(*steered: Endpoint, fallback: tuple[Endpoint, ...] = (), hold: int = 3, netfilter: str = "auto") -> Plan:
    """A plan for the link nodelocaldns."""
    return Plan("nodelocaldns", tuple(at.address for at in steered), netfilter, steered, fallback, hold)


PLANS = {
    "one address": plan(V4),
    "with a fallback": plan(V4, fallback=KUBE_DNS[:1]),
    "transparent": plan(V4, SERVICE_IP, fallback=KUBE_DNS),
    "IPv6": plan(V6, fallback=(KUBE_DNS_6,)),
    "both": plan(V4, SERVICE_IP, V6, fallback=(*KUBE_DNS, KUBE_DNS_6)),
    "another port": plan(Endpoint("169.254.20.10", 5353), fallback=KUBE_DNS),
}

OTHERS = {
    "nft": """table inet firewall {
        chain input { type filter hook input priority filter; policy drop; ct state established accept; }
        chain output { type filter hook output priority filter; policy accept; udp dport 9999 drop; }
        chain forward { type filter hook forward priority filter; policy drop; }
    }
    table ip harmless { chain input { type filter hook input priority filter; policy accept; counter; }; }
    """,
    "iptables": """*filter
:INPUT ACCEPT [0:0]
:MINE - [0:0]
-A INPUT -p udp -m udp --dport 53 -j DROP
-A INPUT -j MINE
-A MINE -s 192.0.2.0/24 -m comment --comment "somebody's" -j REJECT --reject-with icmp-port-unreachable
COMMIT
*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
COMMIT
""",
}
