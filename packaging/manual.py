"""nodedns(1) and nodedns.toml(5) from the tables that the program itself uses.

python packaging/manual.py FOLDER
"""

import re
import sys
from pathlib import Path

from nodedns import __version__
from nodedns.cli import VERBS
from nodedns.config_schema import KEYS

HEAD = '.TH {name} {section} "" "nodedns {version}" "nodedns"\n.SH NAME\n{name} \\- {what}\n'


def roff(text: str) -> str:
    """Markdown's emphasis -> roff's; what roff takes for its own is escaped."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"\*\*(.+?)\*\*", r"\\fB\1\\fR", text)
    text = re.sub(r"`(.+?)`", r"\\fB\1\\fR", text)
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def verbs() -> str:
    """nodedns(1)."""
    page = HEAD.format(name="nodedns", section=1, version=__version__, what="DNS cache of a Kubernetes node")
    page += ".SH SYNOPSIS\n.B nodedns\n.I VERB\n[\\fIOPTIONS\\fR]\n.SH VERBS\n"
    page += "".join(f".TP\n.B {verb.name}\n{roff(verb.help)}.\n" for verb in VERBS)
    page += "Each has \\fB\\-\\-help\\fR.\n.SH EXIT STATUS\n0 well, 1 failed, 2 usage, 78 bad config.\n"
    page += ".SH FILES\n.TP\n.I /etc/nodedns/nodedns.toml\nthe config, see nodedns.toml(5)\n"
    page += ".TP\n.I /etc/nodedns/nodedns.d/*.toml\nmerged over it in the order of their names\n"
    page += ".TP\n.I /run/nodedns\ncache, counters, status.json\n"
    return page + ".SH SEE ALSO\nnodedns.toml(5), systemctl(1)\n"


def keys() -> str:
    """nodedns.toml(5)."""
    page = HEAD.format(name="nodedns.toml", section=5, version=__version__, what="the config of nodedns")
    page += ".SH DESCRIPTION\nTOML. \\fBzone.forward\\fR is the key \\fBforward\\fR in a block \\fB[[zone]]\\fR.\n"
    page += ".SH KEYS\n"
    for key in KEYS.values():
        if not key.later:
            default = "" if key.default is None else f" Default: \\fB{roff(str(key.default))}\\fR."
            page += f".TP\n.B {roff(key.path)}\n{roff(key.meaning)}{default}\n"
    return page + ".SH SEE ALSO\nnodedns(1)\n"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nodedns.1").write_text(verbs(), encoding="utf-8")
    (folder / "nodedns.toml.5").write_text(keys(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
