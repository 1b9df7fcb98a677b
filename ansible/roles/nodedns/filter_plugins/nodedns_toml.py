"""Filters: a dictionary -> TOML and back, and one config laid over another. On the controller, Python 3.11."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DEFAULT_LISTEN = ["169.254.20.10"]
ADDRESS = re.compile(
    r"(?:\[([^]]+)\]|([0-9]+(?:[.][0-9]+){3}|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*))(?::([0-9]+))?"
)
"""An IP alone, IPv4:port or [IPv6]:port."""
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(config: Mapping[str, Any]) -> str:
    """A whole TOML 1.0 document: [name] for a dictionary, [[name]] for a list of them, what is deeper in one line.

    Raises ValueError, which names the path, for what TOML cannot say.
    """
    lines, tables = [], []
    for key, value in _items(config, ""):
        if isinstance(value, Mapping):
            tables += ["", f"[{_key(key)}]", *_assignments(value, key)]
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for at, item in enumerate(value):
                tables += ["", f"[[{_key(key)}]]", *_assignments(item, f"{key}[{at}]")]
        else:
            lines.append(f"{_key(key)} = {_value(value, key)}")
    return "\n".join([*lines, *tables]).strip("\n") + "\n"


def _assignments(table: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in _items(table, path):
        yield f"{_key(key)} = {_value(value, f'{path}.{key}')}"


def _items(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if not isinstance(key, str):
            raise ValueError(
                f"{path or 'the config'}: expected keys that are strings, got {key!r}; quote it in the YAML"
            )
        yield key, value


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _text(key, "a key")


def _value(value: Any, path: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, list):
        return f"[{', '.join(_value(item, f'{path}[{at}]') for at, item in enumerate(value))}]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(item, f'{path}.{key}')}" for key, item in _items(value, path))
        return f"{{ {inside} }}" if inside else "{}"
    expected = "a string, a 64-bit integer, a float, true, false, a list or a dictionary"
    raise ValueError(f"{path}: expected {expected}, got {value!r} ({type(value).__name__})")


def _text(value: str, path: str) -> str:
    """A basic string. JSON's escapes are TOML's, but for DEL and for surrogate pairs: what is beyond ASCII stays."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{path}: expected characters that UTF-8 has, got {value!r}") from None
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007F")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """As nodedns merges a drop-in: tables key by key, [[zone]] blocks by name, all else replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = merge(old, value)
        elif key == "zone" and isinstance(value, list) and isinstance(old, list):
            merged[key] = _merge_zones(old, value)
        else:
            merged[key] = value
    return merged


def _merge_zones(base: list[Any], over: list[Any]) -> list[Any]:
    zones = {_zone_name(zone): zone for zone in base}
    for zone in over:
        name = _zone_name(zone)
        zones[name] = merge(zones.get(name, {}), zone)
    return list(zones.values())


def _zone_name(zone: Any) -> str:
    if not (isinstance(zone, Mapping) and isinstance(zone.get("name"), str)):
        raise ValueError(f"zone: expected dictionaries with a name each, got {zone!r}")
    return str(zone["name"]).lower().rstrip(".") or "."


def listens(text: str) -> list[str]:
    """The addresses at which a nodedns with this config answers at port 53; none of a text that is no config."""
    try:
        node = tomllib.loads(text).get("node", {})
    except tomllib.TOMLDecodeError:
        return []
    listen = node.get("listen", DEFAULT_LISTEN) if isinstance(node, dict) else []
    found = [ADDRESS.fullmatch(str(at)) for at in (listen if isinstance(listen, list) else [listen])]
    return [match[1] or match[2] for match in found if match and match[3] in (None, "53")]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "nodedns_to_toml": to_toml,
            "nodedns_from_toml": tomllib.loads,
            "nodedns_merge": merge,
            "nodedns_listens": listens,
        }
