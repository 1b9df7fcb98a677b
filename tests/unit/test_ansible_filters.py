"""The role's filters: what they write is read back by the parser that matters, and nothing else of a file changes."""

import importlib.util
import random
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from nodedns import config

ROLE = Path(__file__).parents[2] / "ansible/roles/nodedns"


def load(name: str) -> ModuleType:
    """A filter plugin, as Ansible loads it: by its file."""
    spec = importlib.util.spec_from_file_location(name, ROLE / f"filter_plugins/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


toml, kubelet = load("nodedns_toml"), load("nodedns_kubelet")

HOSTILE = [
    '"', "\\", 'a"]\n[node]\nlisten = ["0.0.0.0"]', "'''", '"""', "\x00\x1f\x7f\x80", "\r\n", "# no comment", "{{ x }}",
    "é\u2028😀", "", " ", "=", "a.b", "[x]", "\\u0000",
]  # fmt: skip


def value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that YAML gives and TOML has."""
    kinds = [
        lambda: rng.choice(HOSTILE),
        lambda: rng.randrange(-(2**63), 2**63),
        lambda: rng.choice([True, False]),
        lambda: rng.uniform(-1e300, 1e300),
        lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))],
        lambda: {rng.choice([*HOSTILE, "a", "b-c_1"]): value(rng, depth + 1) for _ in range(rng.randrange(4))},
    ]
    return rng.choice(kinds[: 6 if depth < 4 else 4])()


def test_toml_comes_back() -> None:
    """Documents of every shape, with keys and strings that try to be something else."""
    rng = random.Random(7)
    for _ in range(3000):
        wanted = {rng.choice([*HOSTILE, "zone", "node"]): value(rng) for _ in range(rng.randrange(6))}
        assert tomllib.loads(toml.to_toml(wanted)) == wanted


def test_toml_takes_what_ansible_gives() -> None:
    """Ansible's own kinds of int and str, which know where they were written."""

    class Tagged(int):
        pass

    class Text(str):
        __slots__ = ()

    assert toml.to_toml({Text("a"): [Tagged(2), Text("b")]}) == 'a = [2, "b"]\n'


def test_toml_reads_well() -> None:
    """What an operator finds in /etc/nodedns is what a person would have written; nodedns takes it."""
    written = toml.to_toml(
        {
            "cluster": {"dns": "10.96.0.10"},
            "node": {"listen": ["169.254.20.10"], "workers": 2},
            "zone": [{"name": ".", "forward": ["10.0.0.1"], "success": {"max_ttl": "1m"}}],
        }
    )
    assert written == (
        '[cluster]\ndns = "10.96.0.10"\n\n[node]\nlisten = ["169.254.20.10"]\nworkers = 2\n\n'
        '[[zone]]\nname = "."\nforward = ["10.0.0.1"]\nsuccess = { max_ttl = "1m" }\n'
    )
    assert config.parse(written).node.workers == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"node": {"workers": None}}, "node.workers: expected a string"),
        ({"node": {"listen": ["a", 2**63]}}, r"node.listen\[1\]: expected a string"),
        ({"node": {True: 1}}, "node: expected keys that are strings, got True"),
        ({"zone": [{"name": "\ud800"}]}, r"zone\[0\].name: expected characters that UTF-8 has"),
    ],
)
def test_toml_cannot_say(wrong: dict[str, Any], said: str) -> None:
    """Such a value is told with its path."""
    with pytest.raises(ValueError, match=said):
        toml.to_toml(wrong)


def test_merge_is_that_of_drop_ins() -> None:
    """Merged here or merged by nodedns: the same config."""
    base = {
        "cluster": {"dns": "10.96.0.10"},
        "zone": [{"name": "corp.example", "forward": ["10.0.0.1"], "success": {"max_ttl": 9}}],
    }
    over = {
        "node": {"workers": 3},
        "zone": [{"name": "CORP.example.", "success": {"min_ttl": 1}}, {"name": ".", "forward": ["10.0.0.2"]}],
    }
    dropped_in = config.parse(toml.to_toml(base), (("a.toml", toml.to_toml(over)),))
    assert config.parse(toml.to_toml(toml.merge(base, over))) == dropped_in
    with pytest.raises(ValueError, match="with a name each"):
        toml.merge(base, {"zone": [{"forward": "10.0.0.1"}]})


@pytest.mark.parametrize(
    ("text", "listens"),
    [
        ("", ["169.254.20.10"]),
        ("[node]\nlisten = []", []),
        ("[node]\nlisten = '10.96.0.10'", ["10.96.0.10"]),
        ("node.listen = ['10.0.0.1', '10.0.0.2:53', '10.0.0.3:5353']", ["10.0.0.1", "10.0.0.2"]),
        ("node.listen = ['fd00::a', '[fd00::b]', '[fd00::c]:53', '[fd00::d]:54']", ["fd00::a", "fd00::b", "fd00::c"]),
        ("node.listen = ['a name', 7]", []),
        ("node = 7", []),
        ("no TOML", []),
    ],
)
def test_who_listens(text: str, listens: list[str]) -> None:
    """Whom kubelet may name: an address at port 53."""
    assert toml.listens(text) == listens


NEW = ["169.254.20.10"]
TWO = ["169.254.20.10", "fd00::a"]
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\n"
CASES = [
    (f"{HEAD}clusterDNS:\n- 10.96.0.10\nclusterDomain: cluster.local\n", NEW,
     f"{HEAD}clusterDNS:\n- 169.254.20.10\nclusterDomain: cluster.local\n"),
    (f"{HEAD}clusterDNS:   # ours\n  # first\n  - '10.96.0.10'  # kube-dns\n  # end\nx: 1\n", NEW,
     f"{HEAD}clusterDNS:   # ours\n  # first\n  - '169.254.20.10'  # kube-dns\n  # end\nx: 1\n"),
    ("clusterDNS:\n- 10.96.0.10  # a\n# between\n- 10.96.0.11  # b\nx: 1\n", NEW,
     "clusterDNS:\n- 169.254.20.10  # a\n# between\nx: 1\n"),
    ("clusterDNS:\n  - 10.96.0.10 # a\nx: 1\n", TWO,
     'clusterDNS:\n  - 169.254.20.10 # a\n  - "fd00::a"\nx: 1\n'),
    ("x: 1\nclusterDNS: [10.96.0.10]  # c", TWO, 'x: 1\nclusterDNS: [169.254.20.10, "fd00::a"]  # c'),
    ('clusterDNS: ["10.96.0.10",\n  "10.96.0.11" ]\nx: 1\n', NEW, 'clusterDNS: ["169.254.20.10" ]\nx: 1\n'),
    ("clusterDNS: []\n", NEW, "clusterDNS: [169.254.20.10]\n"),
    ("clusterDNS:\nx: 1\n", NEW, "clusterDNS: [169.254.20.10]\nx: 1\n"),
    ("clusterDNS: # none\nx: 1\n", NEW, "clusterDNS: [169.254.20.10] # none\nx: 1\n"),
    ("clusterDNS: null\nx: 1\n", NEW, "clusterDNS: [169.254.20.10]\nx: 1\n"),
    ("x: 1 # a\n\n# end\n", NEW, "x: 1 # a\nclusterDNS:\n- 169.254.20.10\n\n# end\n"),
    ("x: 1", NEW, "x: 1\nclusterDNS:\n- 169.254.20.10"),
    ("x: |\n  clusterDNS:\n  - 1\n", NEW, "x: |\n  clusterDNS:\n  - 1\nclusterDNS:\n- 169.254.20.10\n"),
    ("x:\n  clusterDNS: [1.1.1.1]\n...\n", NEW, "x:\n  clusterDNS: [1.1.1.1]\nclusterDNS:\n- 169.254.20.10\n...\n"),
    ("---\r\nx: 1\r\nclusterDNS:\r\n- 10.96.0.10\r\n", TWO,
     '---\r\nx: 1\r\nclusterDNS:\r\n- 169.254.20.10\r\n- "fd00::a"\r\n'),
    ("x: 1\r\n", NEW, "x: 1\r\nclusterDNS:\r\n- 169.254.20.10\r\n"),
    ("\ufeffclusterDNS:\n- 10.96.0.10\n", TWO, '\ufeffclusterDNS:\n- 169.254.20.10\n- "fd00::a"\n'),
    ("  'clusterDNS' :\n  -   10.96.0.10\n  x: 1\n", NEW, "  'clusterDNS' :\n  -   169.254.20.10\n  x: 1\n"),
    ('{"x": 1, "clusterDNS": ["10.96.0.10"]}', NEW, '{"x": 1, "clusterDNS": ["169.254.20.10"]}'),
    ('{"x": 1}\n', TWO, '{"clusterDNS": ["169.254.20.10", "fd00::a"], "x": 1}\n'),
    ("{}", NEW, '{"clusterDNS": ["169.254.20.10"]}'),
    ("a: 1\nclusterDNS: # c\n- 10.96.0.10 # d\nx: 1\n", [], "a: 1\nx: 1\n"),
    ('{"x": 1, "clusterDNS": ["10.96.0.10"]}', [], '{"x": 1}'),
    ('{"clusterDNS": ["10.96.0.10"], "x": 1}', [], '{"x": 1}'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "servers", "wanted"), CASES)
def test_kubelet_keeps_every_other_byte(text: str, servers: list[str], wanted: str) -> None:
    """Lists of every form, none, CRLF, comments, JSON; a second time changes nothing, and the undo gives all back."""
    edited = kubelet.set_cluster_dns(text, servers)
    assert edited == wanted
    assert kubelet.cluster_dns(edited) == servers
    assert kubelet.set_cluster_dns(edited, servers) == edited
    assert kubelet.undo_cluster_dns(edited, text) == text


def test_undo_keeps_what_others_did_since() -> None:
    """Only the list goes back when the file has changed elsewhere."""
    before = "clusterDNS: [10.96.0.10] # c\nx: 1\n"
    edited = kubelet.set_cluster_dns(before, NEW).replace("x: 1", "x: 2")
    assert kubelet.undo_cluster_dns(edited, before) == "clusterDNS: [10.96.0.10] # c\nx: 2\n"
    gone = kubelet.undo_cluster_dns("x: 2\nclusterDNS: [169.254.20.10]\n", "x: 1\n")
    assert gone == "x: 2\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no mapping"),
        ("- a\n", "no mapping"),
        ("a: [", "expected a KubeletConfiguration in YAML"),
        ("a: 1\n---\nb: 2\n", "expected a KubeletConfiguration in YAML"),
        ("clusterDNS: []\nclusterDNS: []\n", "got it twice"),
        ("clusterDNS: 10.96.0.10\n", "expected a list of addresses, got '10.96.0.10'"),
        ("clusterDNS: [1]\n", r"expected a list of addresses, got \[1\]"),
        ("x: &a [10.96.0.10]\nclusterDNS: *a\n", "change elsewhere"),
        ("x: !!python/object/apply:os.system [id]\n", "expected a KubeletConfiguration in YAML"),
    ],
)
def test_kubelet_is_not_guessed_at(text: str, said: str) -> None:
    """What is not plainly a kubelet config is left alone."""
    with pytest.raises(ValueError, match=said):
        kubelet.set_cluster_dns(text, NEW)


def test_random_kubelet_configs() -> None:
    """From lists of all lengths and forms to others: PyYAML sees that one key change, and the undo is exact."""
    rng = random.Random(11)
    addresses = ["10.96.0.10", "169.254.20.10", "fd00::a", "10.96.0.11", "1:2:3:4:5:6:7:8"]
    for _ in range(600):
        old, new = (rng.sample(addresses, rng.randrange(1, 5)) for _ in range(2))
        newline, indent = rng.choice(["\n", "\r\n"]), rng.choice(["", "  "])
        block = [f'{indent}- "{server}"{rng.choice(["", "  # c"])}' for server in old]
        comma = rng.choice([", ", ",", f",{newline}   "])
        flow = "clusterDNS: [" + comma.join(f"'{server}'" for server in old) + "]"
        middle = rng.choice([["clusterDNS:", *block], [flow], []])
        text = newline.join(["a: 1", *middle, "# end", *rng.choice([["b: {c: [1]}"], ["d:", "- e"], []])])
        text += rng.choice(["", newline])
        edited = kubelet.set_cluster_dns(text, new)
        assert yaml.safe_load(edited) == yaml.safe_load(text) | {"clusterDNS": new}
        others = {"a: 1", "# end", "b: {c: [1]}", "d:", "- e"}
        kept = [[line for line in version.split(newline) if line in others] for version in (text, edited)]
        assert kept[0] == kept[1]
        assert kubelet.undo_cluster_dns(edited, text) == text


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["/usr/bin/kubelet", "--config", "/a"], "/a"),
        (["kubelet", "--config=/a", "--config-dir=/c", "--v=2"], "/a"),
        (["kubelet", "--config", "/a", "--config=/b"], "/b"),
        (["kubelet", "--config-dir", "/a"], ""),
        (["kubelet", "--config"], ""),
        (["/usr/bin/python3", "/usr/local/bin/kubelet", "--config", "/a"], "/a"),
        (["/usr/local/bin/k3s", "server", "--config", "/etc/rancher/k3s/config.yaml"], ""),
        (["hyperkube", "--config", "/a", "kubelet", "--v=2"], ""),
        ([], ""),
    ],
)
def test_the_command_line_of_kubelet(words: list[str], value: str) -> None:
    """As /proc has it: the last word counts, and only what is said to kubelet."""
    assert kubelet.flag("".join(f"{word}\0" for word in words), "config") == value


def test_either_line_in_a_flag() -> None:
    """As kubelet takes them."""
    assert kubelet.flag("kubelet\0--config_dir\0/c\0", "config-dir") == "/c"


@pytest.mark.parametrize(
    ("text", "there"), [("clusterDNS: []\n", True), ("{clusterDNS: null}", True), ("x: 1\n", False)]
)
def test_a_drop_in_that_overrides(text: str, there: bool) -> None:
    """Also by an empty list."""
    assert kubelet.has_cluster_dns(text) is there
