"""kube-proxy, Cilium and kubelet, as far as a node's DNS depends on them."""

import re
from collections.abc import Iterator
from pathlib import Path

from nodedns.core.plan import ENDPOINTS, only_ours, plan
from nodedns.host.commands import output, there
from nodedns.host.netfilter.detect import saved
from nodedns.host.netfilter.iptables import BACKENDS
from nodedns.verbs.cleanup import STATE_DIR
from nodedns.verbs.doctor.scene import Finding, Scene, bad, note, well

KUBELET_CONFIGS = ("/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf.yaml", "/etc/kubernetes/kubelet.yaml")


def _link(name: str) -> bool:
    return Path(f"/sys/class/net/{name}").exists()


def _service_ips(scene: Scene) -> list[str]:
    return sorted(address for address in scene.addresses if not address.startswith(("169.254.", "127.", "fe80:")))


def proxy(scene: Scene) -> Iterator[Finding]:
    """Its mode, and its backend beside ours."""
    if _link("kube-ipvs0"):
        mine = ", ".join(_service_ips(scene))
        if mine:
            yield bad(f"kube-proxy: IPVS mode holds {mine} on kube-ipvs0", "listen on the link-local address alone")
        else:
            yield well("kube-proxy: IPVS mode, and we listen on no Service IP")
        return
    modes = [backend for backend in BACKENDS if ":KUBE-SERVICES " in saved(backend, "ip", "nat")]
    if there("nft") and "table ip kube-proxy" in output("nft", "list", "tables"):
        modes.append("nftables")
    if len(modes) > 1:
        yield note(
            f"kube-proxy: rules of {' and '.join(modes)}",
            "those of one are leftovers: kube-proxy --cleanup, or a reboot",
        )
    elif modes:
        yield well(f"kube-proxy: {modes[0]}")
    else:
        yield note("kube-proxy: no rule of its was found", "a Service IP has no other server then while we are down")
    set_to = scene.config.node.netfilter
    if modes and set_to not in ("auto", "none", *modes):
        yield note(f"kube-proxy: {modes[0]}, but node.netfilter is {set_to}", '"auto" follows kube-proxy')


def cilium(scene: Scene) -> Iterator[Finding]:
    """In eBPF a Service IP is translated before netfilter sees it."""
    if not (_link("cilium_host") or _link("cilium_net")):
        return
    mine = ", ".join(_service_ips(scene))
    if mine:
        yield bad(
            f"cilium: pods' queries to {mine} are translated in eBPF and never reach us",
            "listen on the link-local address alone and give it to pods",
        )
    else:
        yield well("cilium: it is here, and we listen on no Service IP")


def kubelet(scene: Scene) -> Iterator[Finding]:
    """Whom pods are told to ask."""
    for path in KUBELET_CONFIGS:
        if text := scene.text(path):
            servers = cluster_dns(text)
            if not servers:
                yield note(f"kubelet: {path} has no clusterDNS", "pods get the node's own resolv.conf")
            elif scene.addresses.isdisjoint(servers):
                advice = f"set clusterDNS to one of {', '.join(sorted(scene.addresses))}, and restart kubelet"
                yield note(f"kubelet: {path} sends pods to {', '.join(servers)}, not to us", advice)
            else:
                yield well(f"kubelet: {path} sends pods to {', '.join(servers)}")
            return
    yield note("kubelet: no config file of it was found", "its --config or --cluster-dns says whom pods ask")


def fallback(scene: Scene) -> Iterator[Finding]:
    """Who answers at a link-local address while we do not."""
    wanted = plan(scene.config, ())
    if not only_ours(wanted):
        return
    nobody = "a link-local address has no server while nodedns is down"
    if scene.config.node.fallback == ():
        yield note("fallback: none, as the config says", nobody)
    elif servers := [*map(str, wanted.fallback)] or scene.text(f"{STATE_DIR}/fallback").split():
        yield well(f"fallback: {', '.join(servers)}")
    else:
        advice = f"{nobody}; apply the Service (docs/kubernetes.md), or set node.fallback"
        yield note(f"fallback: {ENDPOINTS} has not named anybody to nodedns yet", advice)


def cluster_dns(text: str) -> list[str]:
    """clusterDNS of a KubeletConfiguration in YAML's block or flow style."""
    found = re.search(r"^clusterDNS:[ \t]*(\[[^\]]*\]|(?:\n[ \t]*-[^\n]*)*)", text, re.MULTILINE)
    return re.findall(r"[0-9A-Fa-f.:]{3,}", found[1]) if found else []
