"""`nodedns status`: one screen from status.json, the counters and the table, all of them only read."""

import json
from typing import Any

from nodedns import native
from nodedns.config import ConfigError
from nodedns.core.figures import HOWS, figures
from nodedns.core.rows import DROPPED
from nodedns.supervisor.memory import counters_mark
from nodedns.supervisor.rows import load
from nodedns.verbs.errors import Failed
from nodedns.verbs.files import Source
from nodedns.verbs.service import Service, find

HITS = HOWS[:3]


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
    """status.json, and: alive, now (ms of CLOCK_BOOTTIME, as since), counters, zones by name, cache slots by state."""
    now = native.now()
    report = {"alive": service.alive, "now": now, **service.status}
    try:
        # The canary has a block too.
        counters, slots = service.map("counters"), len(service.status["workers"]) + 1
        memory, table = service.table()
    except FileNotFoundError:
        return report
    report["counters"] = native.read_counters(counters, slots) | native.read_parent(counters)
    report["zones"] = zones = by_zone(service, counters, slots)
    report["cache"] = {"size": memory.size, **native.table_stats(table, now)}
    report["hits"] = sum(row[kind] for row in zones.values() for kind in HITS)
    report["misses"] = sum(row["miss"] for row in zones.values())
    return report


def by_zone(service: Service, counters: native.Memory, slots: int) -> dict[str, dict[str, int]]:
    """Answers of each zone that has given any, by where they came from (HOWS)."""
    found: dict[str, dict[str, int]] = {}
    for number, name in enumerate(load(f"{service.run_dir}/rows.json", counters_mark(counters)).rows):
        if name is None or name[1] == DROPPED:
            continue
        row = figures(native.read_row(counters, slots, number), native.ROW)
        zone = found.setdefault(name[1], dict.fromkeys(HOWS, 0))
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
    lines.append(f"listen    {', '.join(report.get('listen', []))}")
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
    return lines + upstreams(report) + reloads(report["reload"], now)


def machine(report: dict[str, Any]) -> list[str]:
    """Link and rules, and who looks after them; of the example, nothing."""
    rules, monitor, lines = report.get("rules") or {}, report.get("monitor"), []
    if report.get("link"):
        lines.append(f"link      {report['link']}, {report['repairs']} repairs of link or rules")
    if rules.get("steered"):
        fallback = ", ".join(rules["fallback"]) or "nobody knows kube-dns's endpoints yet"
        where = "queries come to us" if rules["alive"] else "queries go to the fallback"
        lines.append(f"rules     netfilter {rules['netfilter']}: {where}; fallback {fallback}")
    if monitor:
        verdict = monitor["failed"] or "every address answers over UDP and TCP"
        lines.append(f"monitor   {monitor['state']}, restarts {monitor['restarts']}: {verdict}")
    if report.get("adoptions"):
        lines.append(f"sockets   {report['adoptions']} taken over from the service before this one")
    return lines


def upstreams(report: dict[str, Any]) -> list[str]:
    """Whom a miss goes to, a zone a line."""
    return [f"upstream  {zone['name']} -> {', '.join(zone['forward'])}" for zone in report.get("forward", ())]


def fill(cache: dict[str, int]) -> str:
    live = sum(cache[kind] for kind in HITS)
    slots = cache["small"] + cache["large"]
    kinds = f"answers {cache['success']}, denials {cache['denial']}, failures {cache['failure']}"
    return f"{live} of {slots} slots live ({100 * live / slots:.1f} %): {kinds}; {cache['size'] / 2**20:g} MiB"


def reloads(reload: dict[str, Any], now: int) -> list[str]:
    if not reload["count"]:
        return ["reloads   none"]
    verdict = "taken" if reload["ok"] else "refused, the old config is still served:"
    return [
        f"reloads   {reload['count']}, the last {span(now - reload['at'])} ago was {verdict}",
        *(f"          {problem}" for problem in reload["problems"]),
    ]


def span(ms: int) -> str:
    """A time span of `ms` milliseconds in the two largest units that say something."""
    seconds = max(0, ms) // 1000
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // part} {smaller}"
    return f"{seconds} s"
