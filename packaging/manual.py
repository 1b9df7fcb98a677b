"""nodedns(1) and nodedns.toml(5) from the tables that the program itself uses.

python packaging/manual.py FOLDER
"""

import re
import sys
from pathlib import Path

from options import Spoken, verbs

from nodedns import __version__, config
from nodedns.config_schema import KEYS, as_toml
from nodedns.verbs.files import DEFAULT_CONFIG

HEAD = '.TH {name} {section} "" "nodedns {version}" "nodedns"\n.SH NAME\n{name} \\- {what}\n'

DESCRIPTION = (
    "Answers the DNS queries of a Kubernetes node's pods, and of the node itself, from a cache that all its workers "
    "share, and asks kube-dns and the node's own servers for the rest. It runs as `nodedns.service`. While it does not "
    "answer, the kernel sends queries on to kube-dns."
)

EXIT = {
    "0": "well",
    "1": "failed; a line on standard error says why",
    "2": "the command line makes no sense",
    "78": "the config is bad; systemd does not try again",
}

SIGNALS = {
    "SIGTERM, SIGINT": "stop: link and rules are taken away, or left to the fallback, as `node.on_stop` says",
    "SIGHUP": "take the config anew, as `nodedns reload` does without waiting for the verdict",
}

ENVIRONMENT = {
    "NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS": "systemd's: readiness, the watchdog, the sockets it has kept",
    "STATE_DIRECTORY": "systemd's: where the endpoints of kube-dns are kept over a reboot",
    "XDG_RUNTIME_DIR": "`run --example` keeps its files there",
}

DROP_INS = f"{DEFAULT_CONFIG.removesuffix('.toml')}.d/*.toml"
DOCS = "/usr/share/doc/nodedns/docs"

FILES = {
    DEFAULT_CONFIG: "the config, see nodedns.toml(5)",
    DROP_INS: "merged over it in the order of their names",
    "/run/nodedns": "cache, counters, status.json; the cache outlives a restart, and not a stop",
    "/var/lib/nodedns/failopen.nft": "rules of the last good start, which `nodedns-failopen.service` loads at a boot",
    "/var/lib/nodedns/fallback": "the endpoints of kube-dns that were seen last",
    "/usr/lib/NetworkManager/conf.d/nodedns.conf": "NetworkManager leaves the link alone",
    "/usr/lib/systemd/network/10-nodedns.network": "so does systemd-networkd",
    f"{DOCS}/*.md": "from installation to troubleshooting; install.md and migrate.md first",
    "/usr/share/doc/nodedns/examples/*.yaml": "manifests for the cluster; kubernetes.md says which are needed",
}

UNITS = {
    "nodedns.service": "the service; `systemctl reload` and `systemctl restart` lose no query",
    "nodedns-failopen.service": "from the boot on, queries go to kube-dns until nodedns answers",
}

EXAMPLE = """\
[cluster]
dns = "10.96.0.10"

[[zone]]
name = "corp.example"
forward = ["10.1.1.53"]
"""


def roff(text: str) -> str:
    """Markdown -> roff; a file of docs/ is named with its path here, and what roff takes for its own is escaped."""
    prose, *rest = re.split(r"`(.+?)`", text.replace("\\", "\\e").replace("-", "\\-"))
    text = _emphasis(prose)
    for code, prose in zip(rest[::2], rest[1::2], strict=True):  # in code, ** is what it says
        text += f"\\fB{code}\\fR{_emphasis(prose)}"
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def _emphasis(text: str) -> str:
    text = re.sub(r"\[[^]]+\]\((\w+\.md)\)", r"docs/\1", text)
    text = re.sub(r"(?<!\S)(\(?)docs/(?=\w+\.md)", rf"\\%\1{DOCS}/", text)  # \%: not to be hyphenated
    return re.sub(r"\*\*(.+?)\*\*", r"\\fB\1\\fR", text)


def listed(title: str, rows: dict[str, str], font: str = "B") -> str:
    """A section of terms and what they mean."""
    return f".SH {title}\n" + "".join(f".TP\n.{font} {roff(term)}\n{roff(what)}\n" for term, what in rows.items())


def verb(spoken: Spoken) -> str:
    """A verb: how it is called, what it does, its options."""
    text = f".SS {roff(spoken.usage.replace('[-h] ', ''))}\n{roff(spoken.help)}.\n"
    for option in spoken.options:
        value = f" \\fI{roff(option.value)}\\fR" if option.value else ""
        text += f".TP\n\\fB{roff(option.name)}\\fR{value}\n{roff(option.help)}\n" if option.name != "--help" else ""
    return text


def command() -> str:
    """nodedns(1)."""
    page = HEAD.format(name="nodedns", section=1, version=__version__, what="DNS cache of a Kubernetes node")
    page += f".SH SYNOPSIS\n.B nodedns\n.I VERB\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n{roff(DESCRIPTION)}\n.SH VERBS\n"
    page += "".join(map(verb, verbs()))
    page += listed("EXIT STATUS", EXIT) + listed("SIGNALS", SIGNALS) + listed("ENVIRONMENT", ENVIRONMENT)
    page += listed("FILES", FILES, "I") + listed("UNITS", UNITS)
    return page + ".SH SEE ALSO\n.BR nodedns.toml (5),\n.BR systemctl (1),\n.BR journalctl (1)\n"


def zone(known: config.Zone) -> str:
    """What a zone does that no file mentions."""
    servers, over = known.resolv_conf or "cluster.dns", known.transport.upper()
    kept, denied = (f"{ttl.min_ttl} to {ttl.max_ttl} s" for ttl in (known.success, known.denial))
    return f"asks `{servers}` over {over}; answers are kept {kept}, NXDOMAIN and NODATA {denied}"


def keys() -> str:
    """nodedns.toml(5)."""
    restart = ", ".join(f"`{path}`" for path in sorted(config.RESTART_KEYS))
    page = HEAD.format(name="nodedns.toml", section=5, version=__version__, what="the config of nodedns")
    page += ".SH DESCRIPTION\nTOML. \\fBzone.forward\\fR is the key \\fBforward\\fR in a block \\fB[[zone]]\\fR.\n"
    page += "Only \\fBcluster.dns\\fR is required. \\fBnodedns check\\fR says everything that is wrong with a config.\n"
    page += f".SH RELOAD\nA new value of these needs a restart, and a reload refuses it: {roff(restart)}.\n"
    page += ".SH KEYS\n"
    for key in KEYS.values():
        default = "" if key.default is None else f" Default: {as_toml(key.default)}."
        page += f".TP\n.B {roff(key.path)}\n{roff(key.meaning + default)}\n"
    zones = config.parse('cluster.dns = "192.0.2.1"').zones
    page += listed("ZONES", {known.name.removesuffix(".") or ".": zone(known) for known in zones})
    page += ".PP\nThese always exist. A block with the name of one changes what it sets and keeps the rest.\n"
    page += f".SH FILES\n\\fI{DEFAULT_CONFIG}\\fR, and over it \\fI{DROP_INS}\\fR in the order of their names:\n"
    page += "tables are merged key by key, blocks \\fB[[zone]]\\fR by the zone's name. The last file that sets\n"
    page += "a key has the last word.\n"
    page += f".SH EXAMPLES\n.nf\n{EXAMPLE}.fi\n"
    return page + ".SH SEE ALSO\n.BR nodedns (1)\n"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nodedns.1").write_text(command(), encoding="utf-8")
    (folder / "nodedns.toml.5").write_text(keys(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
