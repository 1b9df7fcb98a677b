"""A cluster's network around the node: a pod on it, kube-dns behind a second router, a Service IP between them.

pod 10.244.1.2 -- node 10.244.1.1, 192.168.77.2 -- router 192.168.77.1, 10.244.2.1 -- kube-dns 10.244.2.10
"""

import subprocess
from types import TracebackType
from typing import Self

KUBE_DNS = "10.244.2.10"
SERVICE_IP = "10.96.0.10"
POD = "10.244.1.2"


def run(*command: str) -> None:
    """A command out here."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


class Network:
    """Namespaces for pod, router and kube-dns, joined to that of `pid`; gone on exit."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.names = {who: f"nodedns-{who}-{pid}" for who in ("node", "pod", "router", "dns")}

    def __enter__(self) -> Self:
        run("ip", "netns", "attach", self.names["node"], str(self.pid))
        for who in ("pod", "router", "dns"):
            run("ip", "netns", "add", self.names[who])
            self.ip(who, "link set lo up")
        self.join(("pod", "eth0", f"{POD}/24"), ("node", "cni0", "10.244.1.1/24"))
        self.join(("node", "eth0", "192.168.77.2/30"), ("router", "node", "192.168.77.1/30"))
        self.join(("router", "dns", "10.244.2.1/24"), ("dns", "eth0", f"{KUBE_DNS}/24"))
        self.ip("pod", "route add default via 10.244.1.1")
        self.ip("node", "route add default via 192.168.77.1")
        self.ip("router", "route add 10.244.1.0/24 via 192.168.77.2")
        self.ip("dns", "route add default via 10.244.2.1")
        for who in ("node", "router"):
            run(*self.inside(who), "sysctl", "-qw", "net.ipv4.ip_forward=1")
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def ip(self, who: str, words: str) -> None:
        """ip(8) in a namespace."""
        run("ip", "-n", self.names[who], *words.split())

    def join(self, one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
        """A cable; each end is a namespace, a link and its address."""
        self.ip(one[0], f"link add {one[1]} type veth peer name {other[1]} netns {self.names[other[0]]}")
        for who, name, at in (one, other):
            self.ip(who, f"address add {at} dev {name}")
            self.ip(who, f"link set {name} up")

    def inside(self, who: str) -> list[str]:
        """The command that puts a process of ours into a namespace's network, and there alone."""
        return ["nsenter", f"--net=/run/netns/{self.names[who]}"]


def kube_proxy(backend: str = "iptables-nft") -> str:
    """What kube-proxy in iptables mode writes for kube-dns, as input of iptables-restore."""
    nat = [":KUBE-SERVICES - [0:0]", ":KUBE-MARK-MASQ - [0:0]", ":KUBE-POSTROUTING - [0:0]"]
    nat += ["-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000"]
    for proto in ("udp", "tcp"):
        match = f"-d {SERVICE_IP}/32 -p {proto} -m {proto} --dport 53"
        nat.append(f"-A KUBE-SERVICES ! -s 10.244.0.0/16 {match} -j KUBE-MARK-MASQ")
        nat.append(f"-A KUBE-SERVICES {match} -j DNAT --to-destination {KUBE_DNS}:53")
    nat.append("-A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE")
    nat += [f"-A {hook} -j KUBE-SERVICES" for hook in ("PREROUTING", "OUTPUT")] + ["-A POSTROUTING -j KUBE-POSTROUTING"]
    hint = ["*mangle", ":KUBE-IPTABLES-HINT - [0:0]", ":KUBE-KUBELET-CANARY - [0:0]", "COMMIT"]
    return "\n".join(["*nat", *nat, "COMMIT", *hint, ""])
