"""Which ruleset drops packets on this host, and therefore needs ACCEPT rules: kubelet's and kube-proxy's verdict.

The first two steps are those of kubernetes-sigs/iptables-wrappers (pkg/xtables/detect.go); the rest covers hosts on
which neither kubelet nor kube-proxy has left a trace yet.
"""

from pathlib import Path

from nodedns.host.commands import output, there

_HINTS = (":KUBE-IPTABLES-HINT ", ":KUBE-KUBELET-CANARY ")
_LEGACY_TABLES = {"ip": "/proc/net/ip_tables_names", "ip6": "/proc/net/ip6_tables_names"}


def legacy_tables(family: str) -> list[str]:
    """The legacy tables the kernel has. To ask the legacy command for another one would create it."""
    try:
        return Path(_LEGACY_TABLES[family]).read_text(encoding="ascii").split()
    except OSError:
        return []


def saved(backend: str, family: str, table: str) -> str:
    """What `iptables-save -t table` says of that backend; "" when there is no such command or table."""
    command = f"{family}tables{backend.removeprefix('iptables')}-save"
    missing = backend == "iptables-legacy" and table not in legacy_tables(family)
    return "" if missing or not there(command) else output(command, "-t", table)


def detect() -> tuple[str, str]:
    """(backend, why): "nftables", "iptables-nft" or "iptables-legacy"."""
    if _has_hint("iptables-nft", ("mangle",)):
        return "iptables-nft", "kubelet's or kube-proxy's chains are there"
    if _has_hint("iptables-legacy", ("mangle", "nat", "filter")):
        return "iptables-legacy", "kubelet's or kube-proxy's chains are there"
    if "table ip kube-proxy" in output("nft", "list", "tables"):
        return "nftables", "kube-proxy's nftables table is there"
    if not there("iptables"):
        return "nftables", "there is no iptables"
    in_nft, in_legacy = (_has_rules(backend) for backend in ("iptables-nft", "iptables-legacy"))
    if in_legacy and not in_nft:
        return "iptables-legacy", "its tables have rules, those of iptables-nft have none"
    if in_nft and "nf_tables" in output("iptables", "-V"):
        return "iptables-nft", "it is the host's iptables, and its filter table is in use"
    return "nftables", "no iptables rule was found"


def _has_hint(backend: str, tables: tuple[str, ...]) -> bool:
    texts = (saved(backend, family, table) for family in _LEGACY_TABLES for table in tables)
    return any(hint in text for text in texts for hint in _HINTS)


def _has_rules(backend: str) -> bool:
    """Rules, or a policy that drops. Ours do not count: a choice must not become its own reason."""
    lines = (line for family in _LEGACY_TABLES for line in saved(backend, family, "filter").splitlines())
    return any(
        " DROP " in line if line.startswith(":") else line.startswith("-A") for line in lines if "NODEDNS" not in line
    )
