"""Has the machine what link and rules need, and does somebody manage what is ours?"""

import os
from collections.abc import Iterator

from nodedns.core.plan import plan
from nodedns.host.commands import output, there
from nodedns.host.errors import ChangeError
from nodedns.host.netfilter import iptables, steering
from nodedns.host.netfilter.detect import detect, legacy_tables
from nodedns.verbs.doctor.scene import Finding, Scene, bad, note, well

_DROP_INS = {
    "NetworkManager": ("/run/NetworkManager", "NetworkManager/conf.d/*.conf"),
    "systemd-networkd": ("/run/systemd/netif/state", "systemd/network/*.network"),
}


def commands(scene: Scene) -> Iterator[Finding]:
    """The netfilter packages."""
    if scene.config.node.netfilter == "none":
        yield note("netfilter: none, as the config says", "without rules nobody takes over while nodedns is down")
        return
    if not there("nft"):
        yield bad("netfilter: there is no command nft", "install nftables: the dead-man switch needs it")
        return
    wanted = scene.config.node.netfilter
    backend, why = detect() if wanted == "auto" else (wanted, "the config says so")
    if backend in iptables.BACKENDS and not iptables.installed(backend):
        yield bad(f"netfilter: no command of {backend}", 'install iptables, or set node.netfilter = "auto"')
    elif not there("iptables") and "filter" in legacy_tables("ip") + legacy_tables("ip6"):
        yield note(
            "netfilter: the kernel has legacy tables of iptables, and there is no command to look into them",
            "install iptables: where a rule in them drops, pods do not reach us and the self-probe does",
        )
    else:
        yield well(f"netfilter: {backend}, because {why}")


def kernel(scene: Scene) -> Iterator[Finding]:
    """Would it take our table? `nft --check` asks it without a change. And are there links of a kind we can make?"""
    wanted = plan(scene.config, ())
    if wanted.steered and there("nft"):
        try:
            output("nft", "--check", "-f", "-", text=steering.render(wanted, alive=False))
        except ChangeError as error:
            yield bad(f"kernel: it would not take our table: {error}", "modprobe nf_tables nft_ct nft_nat nft_fib_inet")
        else:
            yield well("kernel: it takes our table")
    if wanted.link:
        modules = scene.text(f"/lib/modules/{os.uname().release}/modules.dep")
        builtin = scene.text(f"/lib/modules/{os.uname().release}/modules.builtin")
        if (modules or builtin) and not any(f"/{kind}.ko" in modules + builtin for kind in ("dummy", "bridge")):
            yield bad("kernel: it has neither dummy nor bridge", 'set node.interface = "none" and use a link you made')


def managers(scene: Scene) -> Iterator[Finding]:
    """NetworkManager and networkd take addresses away from links they manage."""
    link = scene.config.node.interface
    for name, (runs, pattern) in _DROP_INS.items():
        if link == "none" or not scene.exists(runs):
            continue
        files = scene.files(f"etc/{pattern}", f"usr/lib/{pattern}", f"lib/{pattern}", f"run/{pattern}")
        if any(link in scene.text(path) for path in files):
            yield well(f"link: {name} leaves {link} alone")
        else:
            yield note(
                f"link: {name} runs, and no drop-in of it names {link}",
                f"add one that leaves {link} unmanaged, and restart {name}",
            )
