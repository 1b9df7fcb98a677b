"""The keys of a config file, each declared once: parser, default, meaning; and one file read along them.

The tables of docs/configuration.md are printed from the same rows.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from nodedns import config_servers as servers
from nodedns import config_values as values
from nodedns.config_values import ConfigError, Problem, show, suggest

# A config of 64 zones with 15 servers each has half of this. tomllib needs time quadratic in the parts of a dotted key,
# and a key cannot leave its line: with both bounds the worst file takes two seconds.
MAX_BYTES = 128 * 1024
MAX_LINE = 4096
# More than a terminal shows helps nobody, and a hostile file must not make us write a million.
MAX_PROBLEMS = 100
# The counters page has a row for each.
MAX_ZONES = 64


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its path in the file, the parser of its value, its default as a user would write it (None: there is
    none), its meaning as Markdown."""

    path: str
    parse: Callable[[object], object]
    default: str | int | bool | list[str] | None
    meaning: str


def _records(value: object) -> object:
    from nodedns.config_records import records  # late: few have any, and what the parent imports stays in its memory

    return records(value)


_TABLE = (
    Key("cluster.dns", servers.cluster_dns, None,
        "kube-dns as the node reaches it: an IP, `IP:port` or a list. **The only required key.**"),
    Key("cluster.domain", values.domain, "cluster.local", "The name of the cluster's own zone."),
    Key("cluster.config_map", values.path, None,
        "The directory of the kube-dns ConfigMap: its `stubDomains` and `upstreamNameservers` (JSON) become zones over "
        "those of this file, and a change of them is a reload. What is wrong there is logged, and the old zones stay."),
    Key("node.listen", servers.listen, ["169.254.20.10"],
        "Up to 16 exact addresses to serve, `IP` or `IP:port`. `0.0.0.0` and `::` are refused."),
    Key("node.allow", values.allow, None,
        "Up to 64 networks whose clients are answered. Without it everyone is, provided that every `listen` address is "
        "loopback, link-local or private; any other needs this key, so that nobody opens a resolver by accident."),
    Key("node.workers", values.workers, "auto",
        "Worker processes, 1 to 64. `auto`: one for each CPU, at most 4."),
    Key("node.run_dir", values.path, "/run/nodedns", "Absolute path of the directory for the cache and the counters."),
    Key("node.interface", values.link, "nodelocaldns",
        "The link that carries the addresses: made at the start, removed by a stop. `none`: they exist already. "
        "Loopback addresses are never put on it."),
    Key("node.netfilter", values.choice("auto", "nftables", "iptables-nft", "iptables-legacy", "none"), "auto",
        "Whose ruleset gets the ACCEPT rules; the steering rules are always an nftables table of their own. `auto` "
        "finds out what kubelet and kube-proxy use, `none` makes no rule at all."),
    Key("node.fallback", servers.fallback, "auto",
        "Where queries go while nodedns is down: `IP`, `IP:port` or a list of kube-dns's endpoints (pods, not a "
        "Service). `auto`: what `kube-dns-endpoints.kube-system.svc` of the cluster's domain resolves to. `none`: "
        "nowhere."),
    Key("node.fail_open_after", values.seconds(2), "3s",
        "How soon they go there: the kernel waits so long for a sign of life, which is given every second."),
    Key("node.on_stop", values.choice("auto", "failopen", "clean"), "auto",
        "What `systemctl stop` leaves: nothing (`clean`), or link and fallback, so that the addresses go on answering "
        "(`failopen`). `auto`: `failopen` where a link-local address has a fallback."),
    Key("node.beside", values.choice("none", "node-cache"), "none",
        "`node-cache`: take over from a NodeLocal DNSCache that runs, and share link addresses and ports with it until "
        "it ends (docs/migrate.md); needs a `node.interface` of its own. `none`: who has one of ours is refused."),
    Key("node.hosts", values.path, None,
        "A file in the form of hosts(5), up to 10,000 names: their A, AAAA and PTR are answered from it, and no server "
        "is asked for them. A change of the file is a reload."),
    Key("node.records", _records, None,
        "Up to 1,000 records that are answered without asking, a line each as in a zone file: `NAME [TTL] TYPE DATA`, "
        "of type A, AAAA, CNAME, PTR, TXT, MX or SRV. Other types of such a name are empty answers."),
    Key("node.rate_limit", values.whole(1_000_000), 0,
        "Queries a second that one client may ask, a second's worth of them at once; more are dropped, over TCP "
        "refused. 0: any number. Loopback is never limited."),
    Key("cache.size", values.size, "32MiB",
        "Bytes of the shared cache, 1MiB to 16GiB; `KiB`, `MiB`, `GiB` or a plain number. The unit's `MemoryMax=` must "
        "have room for it, and for 10 MiB a worker."),
    Key("metrics.listen", servers.scraped, "127.0.0.1:9253",
        "Where `/metrics`, `/health` and `/ready` are served over HTTP: an IP, `IP:port`, or `0.0.0.0:port` for all "
        "addresses; `none`: nowhere. Loopback unless set: whoever reaches it can read names of zones and servers."),
    Key("metrics.coredns", values.generations, list(values.GENERATIONS),
        "Which CoreDNS's metric names are served: those of `1.6` and before, of `1.7` to 1.10, of `1.11` and later; "
        "`none` of them. All at once do not count twice where a dashboard asks for `OLD or NEW`."),
    Key("metrics.lameduck", values.seconds(0, values.MAX_LAMEDUCK), "0s",
        "How long a stop still answers everything while `/health` and `/ready` say 503 already. At most 20 s, "
        "of the 60 that systemd waits."),
    Key("log.queries", values.choice("off", "sample", "all"), "off",
        "The query log, a line an answer in CoreDNS's format: of `all`, or of all misses and a `sample` of the hits "
        "(while there are few, of all). [logs.md](logs.md) has the format. `all` makes a hit dearer."),
    Key("log.clients", values.allow, None, "Up to 64 networks: only of these clients."),
    Key("log.zones", values.names, None, "Up to 32 names: only names at and below them."),
    Key("log.rcodes", values.rcodes, None, "Only answers of these, such as `[\"SERVFAIL\", \"NXDOMAIN\"]`."),
    Key("log.rate", values.whole(100_000), 100,
        "Lines a second at most; what is beyond is counted. journald itself takes 10,000 in 30 s of one unit."),
    Key("dnstap.socket", values.socket_path, None,
        "The Unix socket of a dnstap receiver, which user `nodedns` can write to. Without: no dnstap. A new value "
        "needs a restart."),
    Key("dnstap.hits", values.choice("sample", "all", "none"), "sample",
        "Which answers from the cache it gets; of the others it gets all. `all` makes a hit dearer."),
    Key("dnstap.identity", values.words, None, "Who we are in its messages. Without: the host's name."),
    Key("dnstap.version", values.words, None, "What we are. Without: `nodedns VERSION`."),
    Key("zone.name", values.name, None, "The zone, with or without its final dot, in any case. Required in a block."),
    Key("zone.forward", servers.forward, None,
        "Up to 15 servers: `IP`, `IP:port`, `[IPv6]:port`, a host's name; `tls://SERVER#NAME` for DNS over TLS with "
        "the name its certificate must say; and at most one path of a resolv.conf whose servers are appended. Required "
        "in a new zone."),
    Key("zone.except", values.names, None,
        "Up to 32 names below the zone that go, with all below them, where they would go without it: to the zone "
        "above."),
    Key("zone.nxdomain", values.patterns, None,
        "Up to 32 patterns of names below the zone that are answered NXDOMAIN without asking: `*` is any label, `**` "
        "any number of them. `[\"**.com.*.svc\"]` in the cluster's zone takes the search list's detours (ndots). "
        "Such a zone needs no `forward`; names that no pattern takes are then SERVFAIL."),
    Key("zone.rewrite", values.name, None,
        "Another zone, whose names the zone's own stand for: `x.old.` is an alias (CNAME) of `x.new.`. Such a zone "
        "needs no `forward`."),
    Key("zone.minimal", values.flag, False, "Answers without authority and additional sections."),
    Key("zone.rotate", values.flag, False, "The addresses of an answer in turn: each answer begins with another one."),
    Key("zone.policy", values.choice("random", "round_robin", "sequential"), "random",
        "Which server is asked first: `random`, `round_robin` or `sequential`."),
    Key("zone.transport", values.choice("udp", "tcp", "tls"), "udp",
        "How servers are asked: `udp` (a truncated reply is asked again over TCP), `tcp`, or `tls` for all servers, on "
        "port 853 where no other is written. `udp` and `tcp` try the other one last; `tls` is never left."),
    Key("zone.tls.server_name", servers.certified, None,
        "What the certificates of the zone's TLS servers must say, where they have no `#NAME` of their own. Without: "
        "the server's name or address."),
    Key("zone.tls.ca", values.path, None,
        "A PEM file of the authorities that may have signed them; a change of it is a reload. Without: the "
        "system's."),
    Key("zone.dns0x20", values.flag, False,
        "Over UDP, names are sent in upper and lower case at random, and a reply that does not repeat it is asked for "
        "again over TCP: 1 bit more a letter for a forger to guess."),
    Key("zone.success.max_ttl", values.seconds(1), 30, "Seconds an answer is kept at most, or a duration (`\"1h\"`)."),
    Key("zone.success.min_ttl", values.seconds(0), 5,
        "Seconds an answer is kept at least. 5 is CoreDNS's default; without this key it is never above `max_ttl`."),
    Key("zone.denial.max_ttl", values.seconds(1), 30, "The same for NXDOMAIN and NODATA."),
    Key("zone.denial.min_ttl", values.seconds(0), 5, "The same for NXDOMAIN and NODATA."),
    Key("zone.serve_stale.max", values.seconds(0), 0,
        "How long an answer or a denial may still be given after its end when no server answers, or answers with a "
        "failure (RFC 8767), in seconds or as a duration; 0: never. Clients get it with a TTL of 30 s and an Extended "
        "DNS Error; the servers are asked again after those 30 s."),
    Key("zone.serve_stale.mode", values.choice("verify", "immediate"), "verify",
        "`verify`: after 1.8 s without an answer, or with the last attempt's failure. `immediate`: at once, and the "
        "servers are asked behind it."),
    Key("zone.serve_stale.prefer_positive", values.flag, False,
        "Also in place of an NXDOMAIN or an empty answer, while an answer is known that has ended no longer ago than "
        "`max`: for servers that forget names for a moment."),
    Key("zone.prefetch.hits", values.whole(255), 0,
        "Answers are fetched again before they end, once they were hit so often since they were fetched, 1 to 255; 0: "
        "never. One refresh for all workers; its failure leaves the answer as it is. UDP clients' hits count."),
    Key("zone.prefetch.within", values.percent, "10%", "The last part of an answer's life in which a hit does that."),
    Key("zone.max_concurrent", values.whole(1_000_000), 0,
        "Questions in flight a worker; what is beyond gets a stale answer or REFUSED, as in CoreDNS. 0: any number."),
)  # fmt: skip

KEYS = {key.path: key for key in _TABLE}


def names(table: str) -> set[str]:
    """What may stand directly in `table` ("" is the file, "zone" a block of it): keys and tables."""
    prefix = f"{table}." if table else ""
    return {path.removeprefix(prefix).partition(".")[0] for path in KEYS if path.startswith(prefix)}


class Given(NamedTuple):
    """A value and where it stands ("10-corp.toml: zone[0].forward"); the value is None where that has a problem."""

    where: str
    value: Any


Values = dict[str, Given]  # by the path in KEYS: "node.listen", "zone.success.max_ttl"


def read(file: str, text: str, problems: list[Problem]) -> tuple[Values, dict[str, Values]] | None:
    """The values of one file: those of its tables, and those of its [[zone]] blocks by zone name.

    Appends what is wrong to `problems`, each path beginning with `file` ("" or "NAME: "). None: the text is no TOML.
    """
    tree = _load(file, text, problems)
    if tree is None:
        return None
    blocks = tree.pop("zone", [])
    return _read_table(tree, "", file, problems), _read_zones(blocks, file, problems)


def _load(file: str, text: str, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        if len(text.encode()) <= MAX_BYTES and max(map(len, text.split("\n"))) <= MAX_LINE:
            return tomllib.loads(text)
        bounds = f"at most {MAX_BYTES} bytes, in lines of at most {MAX_LINE}"
        problems.append(Problem(f"{file}file", bounds, "more", "is it the right file?"))
    except RecursionError:
        problems.append(Problem(f"{file}file", "TOML", "brackets nested too deep"))
    except ValueError as error:  # TOMLDecodeError, a lone surrogate, an integer of more than 4,300 digits
        reason, _, position = str(error).rpartition(" (at ")
        where = position.removesuffix(")") if reason else "file"
        problems.append(Problem(file + where, "TOML", show(reason or str(error))[1:-1]))
    return None


def _read_table(table: dict[str, Any], base: str, where: str, problems: list[Problem]) -> Values:
    """The values of `table`, which KEYS knows as `base` and the user as `where`."""
    found: Values = {}
    known = names(base)
    for key, value in table.items():
        if len(problems) >= MAX_PROBLEMS:
            break
        path = f"{base}.{key}" if base else key
        here = where + (key if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", key) else show(key))
        if key not in known:
            problems.append(Problem(here, "a known key", "an unknown one", _hint(key, known)))
        elif path in KEYS:
            found[path] = Given(here, _value(path, value, here, problems))
        elif isinstance(value, dict):
            found |= _read_table(value, path, f"{here}.", problems)
        else:
            problems.append(Problem(here, "a table", show(value)))
    return found


def _hint(key: str, known: set[str]) -> str:
    homes = [path.rpartition(".")[0] for path in KEYS if path.endswith(f".{key}")]
    if homes:
        return f"it belongs to {homes[0]}"
    return suggest(key, known) or "misspelt, or a key of a later version"


def _value(path: str, value: object, where: str, problems: list[Problem]) -> object:
    try:
        return KEYS[path].parse(value)
    except ConfigError as error:
        problems += [replace(problem, path=where + problem.path) for problem in error.problems]
    return None


def _read_zones(blocks: object, file: str, problems: list[Problem]) -> dict[str, Values]:
    found: dict[str, Values] = {}
    if not isinstance(blocks, list) or len(blocks) > MAX_ZONES:
        problems.append(Problem(f"{file}zone", f"at most {MAX_ZONES} [[zone]] blocks", show(blocks)))
        return found
    for index, block in enumerate(blocks):
        where = f"{file}zone[{index}]"
        if not isinstance(block, dict):
            problems.append(Problem(where, "a [[zone]] block", show(block)))
            continue
        fields = _read_table(block, "zone", f"{where}.", problems)
        name = fields.get("zone.name")
        if name is None:
            problems.append(Problem(f"{where}.name", "the name of the zone", "nothing"))
        elif name.value in found:
            hint = f"{found[name.value]['zone.name'].where} is the same"
            problems.append(Problem(name.where, "each zone once in a file", show(block["name"]), hint))
        elif name.value is not None:
            found[name.value] = fields
    return found


def key_table() -> str:
    """The keys, as a Markdown table: key, default, meaning."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    lines += [f"| `{key.path}` | {as_toml(key.default)} | {key.meaning} |" for key in _TABLE]
    return "\n".join(lines)


def as_toml(default: str | int | bool | list[str] | None) -> str:
    """A default as one would write it, in Markdown."""
    if default is None:
        return ""
    return f"`[{', '.join(map(show, default))}]`" if isinstance(default, list) else f"`{show(default)}`"
