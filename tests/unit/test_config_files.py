"""nodedns.config: several files merged, and the files of the manual."""

import re
from dataclasses import replace

import pytest
from test_config import DNS, DOCS, LONG, SEED, problems, zone

from nodedns import config, config_schema
from nodedns.config import Endpoint, Ttl, Zone


def test_dropins_merge() -> None:
    """Tables merge key by key, TTLs too; blocks merge by name in whatever spelling; the last file has the last word."""
    found = config.parse(
        DNS + "[node]\nworkers = 2\n" + "[[zone]]\nname = 'corp'\nforward = '10.1.1.1'\nsuccess.max_ttl = 60\n",
        [
            ("10-a.toml", "node = { run_dir = '/a', workers = 3 }\n[[zone]]\nname = 'CORP.'\nsuccess.min_ttl = 9\n"),
            ("20-b.toml", "node.workers = 4\n[[zone]]\nname = '.'\nforward = '10.2.2.2'\n"),
        ],
    )
    assert found.node == replace(SEED.node, workers=4, run_dir="/a")
    assert zone(found, "corp.") == Zone("corp.", (Endpoint("10.1.1.1", 53),), None, "random", "udp", Ttl(60, 9), LONG)
    assert zone(found, ".") == replace(zone(SEED, "."), forward=(Endpoint("10.2.2.2", 53),), resolv_conf=None)


def test_dropin_supplies_what_is_required() -> None:
    """The required key may stand in any of the files."""
    assert config.parse("", [("dns.toml", DNS)]) == SEED


DROPINS = [
    (DNS, "node.worker = 1", 'a.toml: node.worker: expected a known key, got an unknown one (did you mean "workers"?)'),
    (DNS, "x", "a.toml: end of document: expected TOML, got Expected '=' after a key in a key/value pair"),
    ("", "x", "a.toml: end of document: expected TOML, got Expected '=' after a key in a key/value pair"),
    (DNS, "zone = [{ name = 'x' }]", "a.toml: zone[0].forward: expected the servers of this new zone, got nothing"),
    (DNS + "[[zone]]\nname = '.'\nsuccess.min_ttl = 9", "zone = [{ name = '.', success.max_ttl = 8 }]",
     "zone[0].success.min_ttl: expected at most max_ttl, which is 8, got 9"),
    (DNS, "node.listen = '10.96.0.10'",
     'cluster.dns: expected servers other than this one, got "10.96.0.10:53" (node.listen has it: a loop)'),
]  # fmt: skip


@pytest.mark.parametrize(("main", "dropin", "line"), DROPINS)
def test_dropin_problems_name_the_file(main: str, dropin: str, line: str) -> None:
    """A problem stands under the file one must edit, and an unreadable file makes nothing else look missing."""
    assert problems(main, ("a.toml", dropin)) == [line]


def test_dropin_file_name_is_escaped() -> None:
    """A file's name reaches the terminal without its control characters."""
    assert problems(DNS, ("\x1b[2J", "x = 1"))[0].startswith("\\x1b[2J: x: ")


def test_docs_have_every_key() -> None:
    """docs/configuration.md carries the table that the schema prints; after a change, paste the new one."""
    assert config_schema.key_table() in DOCS.read_text()


def test_docs_examples() -> None:
    """Every TOML block of the manual is a config, except the one that shows what a wrong file is told."""
    text = DOCS.read_text()
    good = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(good) >= 2
    assert config.parse(good[0]) == config.parse(DNS)
    for block in good:
        config.parse(block if "[cluster]" in block else DNS + block)
    wrong, told = re.search(r"```toml wrong\n(.*?)```.*?```text\n(.*?)```", text, re.DOTALL).groups()  # type: ignore[union-attr]
    assert problems(wrong) == told.splitlines()
