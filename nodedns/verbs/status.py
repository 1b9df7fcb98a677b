"""`nodedns status`: one screen from status.json, the counters and the table, all of them only read."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from nodedns import native
from nodedns.config import ConfigError
from nodedns.core.figures import HOWS, STATES
from nodedns.core.rows import upstream_of
from nodedns.core.top import Look, view
from nodedns.supervisor.memory import counters_mark
from nodedns.supervisor.rows import load
from nodedns.verbs.errors import Failed
from nodedns.verbs.files import Source
from nodedns.verbs.looking import look
from nodedns.verbs.service import Service, find

HITS = HOWS[:3]
MOST = 4
"""Of a list that grows with the config: an ordinary node's status fits 80 columns and 24 lines."""


def status(source: Source, as_json: bool) -> int:
    """Prints how the service does. 0 when it runs and is READY or RELOADING, else 1."""
    try:
        service = find(source)
    except Failed as error:
        if not as_json:
            raise
        print(json.dumps({"alive": False, "reason": str(error)}))
        return 1
    report = collect(service)
    print(json.dumps(report) if as_json else "\n".join(screen(report)))
    return 0 if report["alive"] and report["state"] in ("READY", "RELOADING") else 1


def zone_names(source: Source) -> list[str]:
    try:
        return [zone.name for zone in source.parse().zones]
    except ConfigError:
        return []


def collect(service: Service) -> dict[str, Any]:
    """What docs/observe.md says: status.json, whether its writer is alive, the counters, the table."""
    now, alive = native.now(), service.alive
    report = {"alive": alive, "now": now, **service.status}
    if alive:
        report["backend"] = backend(report.get("rules") or {})
    try:
        # The canary has a block too.
        counters, slots = service.counters(), len(service.status["workers"]) + 1
        memory, table = service.table()
    except FileNotFoundError:
        return report
    except Failed as error:  # of another version, after an upgrade without a restart: the rest is worth to be seen
        return report | {"reason": str(error)}
    rows = load(f"{service.run_dir}/rows.json", counters_mark(counters))
    looked = look(counters, slots, rows)
    report["counters"] = native.read_counters(counters, slots) | native.read_parent(counters)
    report["zones"] = zones = by_zone(looked)
    report["cache"] = {"size": memory.size, **native.table_stats(table, now)}
    report["hits"] = sum(row[kind] for row in zones.values() for kind in HITS)
    report["misses"] = sum(row["miss"] for row in zones.values())
    asked = {up.name: up for up in view(looked, None, None, service.serving if alive else ()).upstreams}
    named = dict.fromkeys(upstream_of(at) for zone in report.get("forward", ()) for at in zone["forward"])
    report["upstreams"] = [asdict(asked[name]) for name in named if name in asked]
    return report


def backend(rules: dict[str, Any]) -> dict[str, str] | None:
    """Whose rulesets get our ACCEPT rules, and why: looked up now, as the service does with each look at its rules."""
    if not rules.get("steered"):
        return None
    if rules["netfilter"] != "auto":
        return {"name": rules["netfilter"], "why": "the config says so"}
    from nodedns.host.errors import ChangeError  # late: only a node has rules
    from nodedns.host.netfilter.detect import detect

    try:
        name, why = detect()
    except ChangeError as error:
        name, why = "unknown", str(error)
    return {"name": name, "why": why}


def by_zone(looked: Look) -> dict[str, dict[str, int]]:
    """Answers of each zone that has given any, by where they came from (HOWS)."""
    found: dict[str, dict[str, int]] = {}
    for (_server, name), row in looked.rows.items():
        zone = found.setdefault(name, dict.fromkeys(HOWS, 0))
        for how, value in zip(HOWS, row["hows"], strict=True):
            zone[how] += value
    return {zone: row for zone, row in found.items() if any(row.values())}


def screen(report: dict[str, Any]) -> list[str]:
    """The report for people, a line each."""
    now = report["now"]
    head = f"nodedns {report.get('version', '?')}"
    if report["alive"]:
        lines = [f"{head}: {report['state']} for {span(now - report['since'])}, pid {report['pid']}"]
    else:
        last = f"it was {report['state']} as pid {report['pid']}"
        lines = [f"{head}: not running; {last}, see the journal for why it ended"]
    adopted = f"; {report['adoptions']} sockets taken over" if report.get("adoptions") else ""
    lines.append(f"listen    {', '.join(report.get('listen', []))}{adopted}")
    if report["alive"]:
        lines += machine(report)
    for worker in report["workers"] if report["alive"] else ():
        times = f"restarts {worker['restarts']}, for {span(now - worker['since'])}"
        process = f"pid {worker['pid']}" if worker["pid"] else "no process"
        lines.append(f"worker {worker['slot']:<2} {worker['state']}, {process}, {times}")
    if "counters" in report:
        asked = report["hits"] + report["misses"]
        ratio = f", {100 * report['hits'] / asked:.2f} % from the cache" if asked else ""
        lines.append(f"answers   {report['counters']['answers']}{ratio}")
        lines.append(f"cache     {fill(report['cache'])}")
    elif "reason" in report:
        lines.append(f"counters  {report['reason']}")
    if report.get("config_map_failed"):
        lines.append("zones     those of the kube-dns ConfigMap are not served: nodedns check says why")
    return lines + zones(report) + upstreams(report) + reloads(report["reload"], now)


def machine(report: dict[str, Any]) -> list[str]:
    """Link and rules, and who looks after them; of the example, nothing."""
    now, rules, monitor, lines = report["now"], report.get("rules") or {}, report.get("monitor"), []
    if report.get("link"):
        repaired = last(report["repairs"], report.get("repaired_at"), now)
        lines.append(f"link      {report['link']}; repairs of link or rules: {repaired}")
    if rules.get("steered"):
        fallback = ", ".join(rules["fallback"]) or "nobody (docs/kubernetes.md)"
        where = "queries come to us" if rules["alive"] else "queries go to the fallback"
        failed_open = last(report.get("counters", {}).get("fail_opens", 0), report.get("failed_open_at"), now)
        lines.append(f"rules     {report['backend']['name']}: {report['backend']['why']}")
        lines.append(f"steering  {where}; failed open: {failed_open}")
        lines.append(f"fallback  {fallback}")
    if monitor:
        verdict = monitor["failed"] or "every address answers over UDP and TCP"
        lines.append(f"monitor   {monitor['state']}, restarts {monitor['restarts']}: {verdict}")
    if report.get("metrics"):
        lines.append(f"metrics   http://{report['metrics']}/metrics")
    return lines


def last(count: int, at: int | None, now: int) -> str:
    """How often something happened, and when it did last, 0 for not since the start."""
    if not count:
        return "none"
    return f"{count}, the last {span(now - at)} ago" if at else f"{count}, none since the start"


def zones(report: dict[str, Any]) -> list[str]:
    """Whom a miss goes to: a line for all zones that have the same servers."""
    same: dict[tuple[str, ...], list[str]] = {}
    for zone in report.get("forward", ()):
        same.setdefault(tuple(zone["forward"]), []).append(zone["name"])
    return [f"zone      {some(names)} -> {some(servers) or 'nobody'}" for servers, names in same.items()]


def upstreams(report: dict[str, Any]) -> list[str]:
    """How those are that questions go to, the worst first."""
    ordered = sorted(report.get("upstreams", ()), key=lambda up: -STATES.index(up["state"]))
    lines = []
    for up in ordered[:MOST]:
        times = f", p50 {duration(up['p50'])}, p99 {duration(up['p99'])}" if up["p50"] else ""
        failed = "".join(f", {what} {up[what]}" for what in ("timeouts", "errors") if up[what])
        lines.append(f"upstream  {up['name']} {up['state']}{times}; asked {up['sent']}{failed}")
    return lines + [f"          and {len(ordered) - MOST} more"] * (len(ordered) > MOST)


def some(names: Sequence[str]) -> str:
    """A list that fits a line."""
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def fill(cache: dict[str, int]) -> str:
    live = sum(cache[kind] for kind in HITS)
    slots = cache["small"] + cache["large"]
    kinds = f"answers {cache['success']}, denials {cache['denial']}, failures {cache['failure']}"
    return f"{cache['size'] / 2**20:g} MiB, {100 * live / slots:.1f} % full: {kinds}"


def reloads(reload: dict[str, Any], now: int) -> list[str]:
    if not reload["count"]:
        return ["reloads   none"]
    verdict = "taken" if reload["ok"] else "refused, the old config is still served:"
    return [
        f"reloads   {reload['count']}, the last {span(now - reload['at'])} ago was {verdict}",
        *(f"          {problem}" for problem in reload["problems"]),
    ]


def duration(seconds: float | None) -> str:
    """Three digits that say something; "-" for none."""
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{1000 * seconds:.3g} ms"


def span(ms: int) -> str:
    """A time span of `ms` milliseconds in the two largest units that say something."""
    seconds = max(0, ms) // 1000
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // part} {smaller}"
    return f"{seconds} s"
