"""The kinds of value in a config file: one parser each, and the words for what is wrong with one.

A parser takes a TOML value and returns what the program uses, or raises ConfigError with every problem of that value;
the paths in there are relative to the value: "" or "[2]". Pure: text in, values out.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to change in a config file: where, what belongs there, what stands there, how to go on."""

    path: str
    expected: str
    got: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.got}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(Exception):
    """A config that cannot be used. `problems` is never empty; str() has one line for each."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class ConfigMapError(ConfigError):
    """It is the kube-dns ConfigMap that cannot be used, which others write."""


def show(value: object) -> str:
    """`value` on one line of a terminal: control characters escaped, length bounded, tables and lists only named."""
    if isinstance(value, str):
        text = value if len(value) <= 60 else value[:57] + "..."
        return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        # Python refuses to print an integer of more than 4,300 digits, and TOML lets one write it in hexadecimal.
        return str(value) if -(2**63) <= value < 2**63 else "an integer of more than 64 bits"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "a table" if isinstance(value, dict) else "a date or time"


def suggest(word: str, known: Iterable[str]) -> str:
    """'did you mean "..."?' for the nearest of `known`, or "" where none is near."""
    import difflib  # late: only a wrong file needs it, and what the supervisor imports stays in its memory

    # difflib takes quadratic time, and no key or choice is longer than 16 characters.
    near = difflib.get_close_matches(word.lower(), sorted(known), 1) if len(word) <= 32 else []
    return f"did you mean {show(near[0])}?" if near else ""


def refuse(value: object, expected: str, hint: str = "") -> NoReturn:
    """Raise the ConfigError of a value that is wrong as a whole."""
    raise ConfigError(Problem("", expected, show(value), hint))


def path(value: object) -> str:
    """An absolute path."""
    if not isinstance(value, str) or not value.startswith("/") or not value.isprintable():
        refuse(value, "an absolute path")
    return value


def link(value: object) -> str:
    """A link's name (IFNAMSIZ - 1 octets), or "none"."""
    if not isinstance(value, str) or not re.fullmatch(r"(?!\.+$)[A-Za-z0-9_.-]{1,15}", value):
        refuse(value, "a link name of 1 to 15 letters, digits, '_', '.' or '-', or \"none\"")
    return value


def each(value: object, expected: str, most: int, parse: Callable[[object], Any]) -> tuple[Any, ...]:
    """Every item of a list through `parse`, a lone string being a list of one; all problems of all items at once."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not 1 <= len(items) <= most:
        refuse(value, f"1 to {most} items, each {expected}")
    first: dict[Any, int] = {}
    problems: list[Problem] = []
    for index, item in enumerate(items):
        where = f"[{index}]" if items is value else ""
        try:
            parsed = parse(item)
        except ConfigError as error:
            problems += [replace(problem, path=where + problem.path) for problem in error.problems]
            continue
        if first.setdefault(parsed, index) != index:
            problems.append(Problem(where, "each item once", show(item), f"[{first[parsed]}] is the same"))
    if problems:
        raise ConfigError(*problems)
    return tuple(first)


NETWORK = 'a network such as "10.0.0.0/8"'


def allow(value: object) -> tuple[str, ...]:
    """The clients that are answered: 64 networks, because the hit loop compares them one by one before each lookup."""
    return each(value, NETWORK, 64, _network)


def _network(value: object) -> str:
    # ipaddress also takes netmasks and, worse, inverted ones: a prefix length has one reading.
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?", value):
        refuse(value, NETWORK)
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        refuse(value, NETWORK, "bits are set after the prefix" if "host bits" in str(error) else "")


def name(value: object) -> str:
    """A domain name in lower case with its final dot, sizes by RFC 1035 section 2.3.4. "/" is for RFC 2317 zones."""
    expected = "a domain name (labels of 1 to 63 letters, digits, - _ /; 255 octets in all)"
    if not isinstance(value, str):
        refuse(value, expected)
    bare = value.removesuffix(".")
    if value == ".":
        return value
    # A name of n characters is n + 2 octets: a length before each label and the root's at the end.
    label = r"[A-Za-z0-9_/-]{1,63}"
    if len(bare) > 253 or not re.fullmatch(rf"{label}(\.{label})*", bare):
        refuse(value, expected, "" if bare.isascii() else "write it in its xn-- form")
    return bare.lower() + "."


def pattern(value: object) -> str:
    """Names below a zone: labels, "*" for any one, "**" for any number of them, at most twice."""
    label = r"(\*|\*\*|[A-Za-z0-9_-]{1,63})"
    if not isinstance(value, str) or len(value) > 253 or not re.fullmatch(rf"{label}(\.{label})*", value):
        refuse(value, "labels, * for one and ** for any number of them, with dots between")
    if value.split(".").count("**") > 2:
        refuse(value, "at most two **")
    return value.lower()


def patterns(value: object) -> tuple[str, ...]:
    """Up to 32 patterns."""
    return each(value, "a pattern such as **.com.*.svc", 32, pattern)


def names(value: object) -> tuple[str, ...]:
    """Up to 32 names of zones."""
    return each(value, "the name of a zone", 32, name)


def domain(value: object) -> str:
    """The cluster's domain: a name that no other zone of a cluster has."""
    found = name(value)
    if found in (".", "in-addr.arpa.", "ip6.arpa."):
        refuse(value, "the domain of the cluster's own names", "that zone exists beside it")
    return found


def workers(value: object) -> int:
    """A number of worker processes, 0 for "auto"; 64, because so many have a slot in the counters page."""
    if value == "auto":
        return 0
    if type(value) is not int or not 1 <= value <= 64:
        refuse(value, '"auto" or 1 to 64')
    return value


_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def size(value: object) -> int:
    """Bytes, 1 MiB to 16 GiB: below, the buckets are too few to share out; above, it is a slip of the unit."""
    found = re.fullmatch(r"([0-9]{1,11})(KiB|MiB|GiB|)", value) if isinstance(value, str) else None
    count = int(found[1]) * _UNITS[found[2]] if found else value
    if type(count) is not int or not 2**20 <= count <= 2**34:
        refuse(value, "1MiB to 16GiB, in KiB, MiB, GiB or plain bytes")
    return count


_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


MAX_LAMEDUCK = 20
"""Seconds: a stop also waits up to 30 for the xtables lock, and systemd for 60 in all."""


def seconds(least: int, most: int = 604_800) -> Callable[[object], int]:
    """A parser of whole seconds, written as an integer or as a duration ("90s", "1.5m", "1h").

    At most a week: RFC 8767 section 4 recommends that cap for any TTL.
    """

    def parse(value: object) -> int:
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)", value) if isinstance(value, str) else None
        whole, rest = divmod(round(float(found[1]) * _MILLISECONDS[found[2]]), 1000) if found else (value, 0)
        if type(whole) is not int or rest or not least <= whole <= most:
            refuse(value, f'whole seconds from {least} to {most}, or a duration such as "30s"')
        return whole

    return parse


def whole(most: int) -> Callable[[object], int]:
    """A parser of an integer from 0 to `most`."""

    def parse(value: object) -> int:
        if type(value) is not int or not 0 <= value <= most:
            refuse(value, f"0 to {most}")
        return value

    return parse


def percent(value: object) -> int:
    """A share of a life: 10 to 90 %, CoreDNS's bounds."""
    found = re.fullmatch(r"([1-8][0-9]|90)%", value) if isinstance(value, str) else None
    if not found:
        refuse(value, '"10%" to "90%"')
    return int(found[1])


RCODES = {
    0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 7: "YXRRSET",
    8: "NXRRSET", 9: "NOTAUTH", 10: "NOTZONE", 16: "BADVERS",
}  # fmt: skip


def rcodes(value: object) -> tuple[str, ...]:
    """Names of rcodes."""
    return each(value, "the name of an rcode", len(RCODES), choice(*RCODES.values()))


def words(value: object) -> str:
    """A short text of printable ASCII."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not 0 < len(value) <= 64:
        refuse(value, "1 to 64 printable ASCII characters")
    return value


def socket_path(value: object) -> str:
    """Of a Unix socket: an absolute path that fits into sun_path (unix(7))."""
    found = path(value)
    if len(found.encode()) > 107:
        refuse(value, "an absolute path of at most 107 octets")
    return found


def flag(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        refuse(value, "true or false")
    return value


def choice(*words: str) -> Callable[[object], str]:
    """A parser of one of `words`."""

    def parse(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        refuse(value, " or ".join(map(show, words)), suggest(value, words) if isinstance(value, str) else "")

    return parse


GENERATIONS = ("1.6", "1.7", "1.11")
"""The first versions of CoreDNS with other names for what they count; "1.6" stands for all before 1.7."""


def generations(value: object) -> tuple[str, ...]:
    """Some of GENERATIONS; "none" of them."""
    return () if value == "none" else each(value, '"1.6", "1.7" or "1.11"', len(GENERATIONS), choice(*GENERATIONS))
