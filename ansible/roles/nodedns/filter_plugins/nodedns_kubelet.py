"""Filters: clusterDNS of a KubeletConfiguration, read and written as text, so that every other byte stays.

PyYAML (ansible-core has it) says where in the text the list is; only the entries that differ are replaced there. What
comes out is parsed again and compared before anyone gets it.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import yaml

KEY = "clusterDNS"
Edit = tuple[int, int, str]
"""The characters from..to give way to a text."""


def cluster_dns(text: str) -> list[str]:
    """The list, empty where there is none. ValueError for what is no kubelet config."""
    value = _data(text).get(KEY)
    return [] if value is None else [str(server) for server in value]


def set_cluster_dns(text: str, servers: list[str]) -> str:
    """`text` with `servers` as the list; an empty one takes the key away."""
    before = _data(text)
    if cluster_dns(text) == servers:
        return text
    for start, end, new in sorted(_edits(text, servers), reverse=True):
        text = text[:start] + new + text[end:]
    wanted = {key: value for key, value in before.items() if key != KEY} | ({KEY: servers} if servers else {})
    if _data(text) != wanted:
        raise ValueError(
            f"{KEY} cannot be changed without a change elsewhere (an anchor?); set it to {servers} by hand"
        )
    return text


def undo_cluster_dns(text: str, before: str) -> str:
    """`text` with the list of `before`; `before` itself to the byte where nothing else has changed since."""
    if set_cluster_dns(before, cluster_dns(text)) == text:
        return before
    return set_cluster_dns(text, cluster_dns(before))


def has_cluster_dns(text: str) -> bool:
    """Is the key there, empty or not? Of a drop-in that is enough to override the file. ValueError as above."""
    return KEY in _data(text)


def flag(cmdline: str, name: str) -> str:
    """The value with which kubelet's command line (/proc/PID/cmdline) ends up for a flag, "" for none.

    What comes before the word kubelet, or a command line without it, is another program's: k3s has a --config, too.
    """
    words, value = cmdline.split("\0"), ""
    start = next((at for at, word in enumerate(words) if word.rpartition("/")[2] == "kubelet"), len(words))
    for word, following in pairwise(words[start:]):
        key, joined, given = word.partition("=")
        if key.replace("_", "-") == f"--{name}":  # kubelet takes either
            value = given if joined else following
    return value


def _data(text: str) -> dict[str, Any]:
    _lone(text)
    data: dict[str, Any] = _parsed(yaml.safe_load, text)
    value = data.get(KEY)
    if not (value is None or (isinstance(value, list) and all(isinstance(item, str) for item in value))):
        raise ValueError(f"{KEY}: expected a list of addresses, got {value!r}; kubelet would not take it either")
    return data


def _lone(text: str) -> yaml.MappingNode:
    """The one mapping that the file is."""
    root = _parsed(yaml.compose, text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("expected a KubeletConfiguration in YAML, got something that is no mapping")
    if sum(key.value == KEY for key, _ in root.value) > 1:
        raise ValueError(f"{KEY}: expected it once, got it twice; take one away")
    return root


def _parsed(parse: Callable[..., Any], *args: Any) -> Any:
    try:
        return parse(*args)
    except yaml.YAMLError as error:
        raise ValueError(f"expected a KubeletConfiguration in YAML, got: {error}") from None


def _edits(text: str, servers: list[str]) -> list[Edit]:
    root = _lone(text)
    at = next((index for index, (key, _) in enumerate(root.value) if key.value == KEY), None)
    if at is None:
        return [_inserted(text, root, servers)]
    _, value = root.value[at]
    if not servers:
        return [_removed(text, root, at)]
    if isinstance(value, yaml.SequenceNode) and value.value:
        return _entries(text, value, servers)
    flow = f"[{', '.join(_written(server) for server in servers)}]"
    gap = "" if text[value.start_mark.index - 1].isspace() else " "
    return [(value.start_mark.index, value.end_mark.index, gap + flow)]


def _entries(text: str, value: yaml.SequenceNode, servers: list[str]) -> list[Edit]:
    """Entry by entry, so that comments between them and their quotes stay."""
    old = value.value
    edits = [
        (node.start_mark.index, node.end_mark.index, _written(server, node.style))
        for node, server in zip(old, servers, strict=False)
        if node.value != server
    ]
    last = old[min(len(old), len(servers)) - 1]
    for node in old[len(servers) :]:
        edits.append(_entry_removed(text, last, node, bool(value.flow_style)))
        last = node
    more = servers[len(old) :]
    if more and value.flow_style:
        edits.append((last.end_mark.index, last.end_mark.index, "".join(f", {_written(s, last.style)}" for s in more)))
    elif more:
        indent = text[_line_start(text, last.start_mark.index) : last.start_mark.index]
        indent = indent[: indent.index("-")].replace("\ufeff", "") + "- "
        edits.append(_lines_after(text, last.end_mark.index, [indent + _written(s, last.style) for s in more]))
    return edits


def _entry_removed(text: str, previous: yaml.Node, node: yaml.Node, flow: bool) -> Edit:
    if flow:
        return previous.end_mark.index, node.end_mark.index, ""
    return _line_start(text, node.start_mark.index), _line_end(text, node.end_mark.index), ""


def _removed(text: str, root: yaml.MappingNode, at: int) -> Edit:
    """The key with all of its list."""
    key, value = root.value[at]
    if not root.flow_style:
        last = (
            value.value[-1] if isinstance(value, yaml.SequenceNode) and value.value and not value.flow_style else value
        )
        return _line_start(text, key.start_mark.index), _line_end(text, last.end_mark.index), ""
    if at:
        return root.value[at - 1][1].end_mark.index, value.end_mark.index, ""
    following = root.value[1][0].start_mark.index if len(root.value) > 1 else value.end_mark.index
    return key.start_mark.index, following, ""


def _inserted(text: str, root: yaml.MappingNode, servers: list[str]) -> Edit:
    """The key where there is none: at the end of a block, at the beginning of a flow mapping (JSON)."""
    if root.flow_style:
        after = root.start_mark.index + 1
        quoted = ", ".join(_written(server, '"') for server in servers)
        return after, after, f'"{KEY}": [{quoted}]' + (", " if root.value else "")
    indent = " " * root.start_mark.column
    lines = [f"{indent}{KEY}:", *(f"{indent}- {_written(server)}" for server in servers)]
    return _lines_after(text, root.value[-1][1].end_mark.index, lines)


def _lines_after(text: str, index: int, lines: list[str]) -> Edit:
    """Whole lines behind the line that ends at or after `index`, with the file's own line ends."""
    newline = "\r\n" if "\r\n" in text else "\n"
    end = index if index and text[index - 1] == "\n" else _line_end(text, index)
    first = "" if text[end - 1] == "\n" else newline
    last = newline if not first or text.endswith("\n") else ""
    return end, end, first + newline.join(lines) + last


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _line_end(text: str, index: int) -> int:
    """Behind the line's end; what is in it behind `index` is a comment."""
    return text.find("\n", index) + 1 or len(text)


def _written(server: str, style: str | None = None) -> str:
    """An address as YAML; quoted where it could be taken for something else (IPv6 for a number to the base 60)."""
    quote = style or ('"' if ":" in server else "")
    return f"{quote}{server}{quote}"


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "nodedns_cluster_dns": cluster_dns,
            "nodedns_flag": flag,
            "nodedns_has_cluster_dns": has_cluster_dns,
            "nodedns_set_cluster_dns": set_cluster_dns,
            "nodedns_undo_cluster_dns": undo_cluster_dns,
        }
