"""Rounds: every server in turn, alone on CPU 0, again and again, so that a slow minute of the machine hits all alike.

    python -m tests.bench.run [--rounds 3] [--seconds 4] [--only nodedns,unbound] [--mixes seed,miss] [--out docs]

Without --out the report goes to standard output and no chart is drawn.
"""

import argparse
import importlib.util
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import mixes, report
from tests.bench.authority import Authority
from tests.bench.figures import Figures
from tests.bench.measure import Dnsperf, compile_c, dnsperf, probe
from tests.bench.peers import ECHO, PEERS, Peer, own_command, versions
from tests.bench.processes import BenchError, Server, cpu_busy_us
from tests.ports import free_port

SERVER_CPU, CLIENT_CPU = 0, 1
MIXES = ("seed", "zipf", "storm", "miss")
# The window of the published figures: enough to keep every server busy, small enough to fit a 1 MiB socket queue.
IN_FLIGHT = ("-q", "300")
# An unhurried client: latency is asked for at a load no server here is near its end at.
PROBE_RATE, STORM_PROBE_RATE, STORM_RATE = 5000, 2000, 10_000
# 1 s at 5,000/s: the p99 stands on 50 answers.
PROBE_SECONDS = 1.0
# More unique names than the fastest server here asks for in a second on one CPU.
MISSES_PER_SECOND = 60_000
START_DEADLINE = 10.0
# Where Debian puts servers, and what only root has on PATH.
SYSTEM_PROGRAMS = ":/usr/local/sbin:/usr/sbin:/sbin"
WARM_PASSES = 4


@dataclass
class Bench:
    """What all rounds share, and what they found."""

    home: Path
    authority: Authority
    programs: dict[str, str]
    mixes: tuple[str, ...]
    seconds: float
    figures: Figures = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)

    def note(self, peer: Peer, **values: float) -> None:
        """Add one round's values to the figures."""
        for figure, value in values.items():
            self.figures[peer.name, figure].append(value)

    def file(self, name: str) -> Path:
        """A query file of `write_files`."""
        return self.home / f"{name}.txt"


def write_files(bench: Bench) -> None:
    """All query files. Names that must miss are asked once in a server's life, which starts with an empty cache."""
    names = mixes.cluster_names()
    mixes.write(bench.file("seed"), mixes.seed_names())
    mixes.write(bench.file("seed-distinct"), mixes.seed_names())
    mixes.write(bench.file("zipf"), mixes.zipf(names, mixes.ZIPF_QUERIES))
    mixes.write(bench.file("zipf-distinct"), names)
    mixes.write(bench.file("miss"), mixes.unique("m", int(MISSES_PER_SECOND * bench.seconds)))
    mixes.write(bench.file("miss-probe"), mixes.unique("p", int(PROBE_RATE * PROBE_SECONDS)))
    mixes.write(bench.file("storm"), mixes.unique("s", int(STORM_RATE * (bench.seconds + 1))))


def warm(bench: Bench, server: Server, mix: str) -> None:
    """Ask every name of the mix until a pass stays off the authority; a cache too small for it shows in the report."""
    for _ in range(WARM_PASSES):
        before = bench.authority.queries()
        dnsperf(server.port, bench.file(f"{mix}-distinct"), "-n", "1", "-q", "50")
        if bench.authority.queries() == before:
            return


def measure_load(bench: Bench, peer: Peer, server: Server, mix: str, probed: str) -> None:
    """As many queries as the server takes, then a paced client; notes the figures of one mix."""
    name, _, _ = mix.partition("_")
    once = ("-n", "1") if name == "miss" else ()
    upstream = bench.authority.queries()
    start, cpu, busy = time.monotonic(), server.cpu_us(), cpu_busy_us(SERVER_CPU)
    load = dnsperf(server.port, bench.file(name), "-l", f"{bench.seconds:g}", *IN_FLIGHT, *once)
    busy, cpu, wall = cpu_busy_us(SERVER_CPU) - busy, server.cpu_us() - cpu, time.monotonic() - start
    upstream = bench.authority.queries() - upstream
    if not load.completed:
        raise BenchError(f"{mix}: no query of {load.sent} was answered")
    latency = probe(Path(bench.programs["prober"]), server.port, PROBE_RATE, PROBE_SECONDS, bench.file(probed))
    values = {
        "cpu": cpu / load.completed,
        "qps": load.completed / load.seconds,
        "lost": load.lost,
        "failed": load.failed,
        "p50": latency.p50_us,
        "p99": latency.p99_us,
        "upstream": upstream / load.completed,
        "others": max(0.0, busy - cpu) / (wall * 1_000_000),
    }
    bench.note(peer, **{f"{mix}.{figure}": value for figure, value in values.items()})


def measure_storm(bench: Bench, peer: Peer, server: Server) -> None:
    """p99 of hits of a paced client, alone and beside a stream of unique misses."""

    def hit_p99() -> float:
        prober = Path(bench.programs["prober"])
        return probe(prober, server.port, STORM_PROBE_RATE, bench.seconds / 2, bench.file("seed")).p99_us

    warm(bench, server, "seed")
    quiet = hit_p99()
    length = f"{bench.seconds / 2 + 0.5:g}"
    with Dnsperf(server.port, bench.file("storm"), "-Q", str(STORM_RATE), "-l", length, *IN_FLIGHT) as storm:
        loud = hit_p99()
        misses = storm.result()
    rate = misses.completed / misses.seconds
    bench.note(peer, **{"storm.quiet": quiet, "storm.loud": loud, "storm.added": loud - quiet, "storm.rate": rate})


def live(bench: Bench, peer: Peer, transport: str, label: str) -> None:
    """One server's life: start, the mixes its upstream transport is asked for, stop."""
    port = free_port()
    command = peer.render(bench.home / label, port, bench.authority.port, transport, bench.programs)
    with Server(command, bench.home / label, port, SERVER_CPU, peer.env) as server:
        ready = server.await_answer(START_DEADLINE)
        if transport == "udp":
            bench.note(peer, **{"start.ms": ready * 1000})
            for mix in [mix for mix in ("seed", "zipf") if mix in bench.mixes]:
                warm(bench, server, mix)
                measure_load(bench, peer, server, mix, mix)
            memory = server.memory()
            kib = {"memory.rss": memory.rss, "memory.pss": memory.pss, "memory.parent": memory.parent}
            bench.note(peer, **{figure: size / 1024 for figure, size in kib.items()})
        if peer.caches and transport == "udp" and "storm" in bench.mixes:
            measure_storm(bench, peer, server)
        if peer.caches and "miss" in bench.mixes:
            measure_load(bench, peer, server, f"miss_{transport}", "miss-probe")


def play_round(bench: Bench, number: int, chosen: list[Peer]) -> None:
    """Every chosen server once. One that fails is named with its reason and left out from then on."""
    for peer in chosen:
        if peer.name in bench.failures:
            continue
        for transport in ("udp", "tcp"):
            if transport == "tcp" and (transport not in peer.transports or "miss" not in bench.mixes):
                continue
            print(f"round {number}: {peer.name} ({transport})", file=sys.stderr, flush=True)
            try:
                live(bench, peer, transport, f"{number}-{peer.name.replace(' ', '-')}-{transport}")
            except (BenchError, subprocess.CalledProcessError) as error:
                print(f"{peer.name} ({transport}): {error}", file=sys.stderr)
                bench.failures[peer.name] = f"{transport}: {error}"
                break


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; usage errors end the process with status 2."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.run", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured (default 3)")
    parser.add_argument("--seconds", type=float, default=4, help="length of one dnsperf run (default 4)")
    parser.add_argument("--only", default="", help="servers, by name, separated by commas; the echo always runs")
    parser.add_argument("--mixes", default=",".join(MIXES), help=f"any of {','.join(MIXES)} (default: all)")
    parser.add_argument("--nodedns", help="command that starts nodedns, before `run --config FILE`")
    parser.add_argument("--out", type=Path, help="directory for benchmark.md and benchmark.png")
    arguments = parser.parse_args(argv)
    arguments.only = [name for name in arguments.only.split(",") if name]
    arguments.mixes = tuple(arguments.mixes.split(","))
    known = {peer.name for peer in PEERS}
    if unknown := [name for name in arguments.only if name not in known]:
        parser.error(f"--only: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    if unknown := [mix for mix in arguments.mixes if mix not in MIXES]:
        parser.error(f"--mixes: unknown {', '.join(unknown)}; known: {', '.join(MIXES)}")
    return arguments


def run(arguments: argparse.Namespace, home: Path) -> Bench:
    """All rounds, in a scratch directory."""
    here = Path(__file__).parent
    programs = {name: str(compile_c(here / f"{name}.c", home / name)) for name in ("echo", "prober")}
    programs["nodedns"] = own_command(arguments.nodedns)
    chosen = [p for p in PEERS if p.found() and (p is ECHO or not arguments.only or p.name in arguments.only)]
    with Authority(home / "authority", CLIENT_CPU) as authority:
        bench = Bench(home, authority, programs, arguments.mixes, arguments.seconds)
        write_files(bench)
        for number in range(1, arguments.rounds + 1):
            play_round(bench, number, chosen)
    return bench


def publish(found: report.Run, out: Path | None) -> None:
    """Write benchmark.md and benchmark.png into `out`, or the Markdown to standard output."""
    if out is None:
        print(report.document(found))
        return
    from tests.bench import chart

    out.mkdir(parents=True, exist_ok=True)
    (out / "benchmark.md").write_text(report.document(found))
    chart.draw(found.figures, out / "benchmark.png")
    print(f"wrote {out / 'benchmark.md'} and {out / 'benchmark.png'}", file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    """The command. 0: measured; 1: something the bench needs is missing; 2: usage."""
    arguments = parse_arguments(argv)
    if not {SERVER_CPU, CLIENT_CPU} <= os.sched_getaffinity(0):
        print("bench: needs CPUs 0 and 1: one for the server, one for the client", file=sys.stderr)
        return 1
    if arguments.out and not importlib.util.find_spec("matplotlib"):
        print("bench: --out draws a chart and needs matplotlib: pip install '.[bench]'", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, {CLIENT_CPU})
    os.environ["PATH"] += SYSTEM_PROGRAMS
    try:
        with tempfile.TemporaryDirectory(prefix="nodedns-bench-") as home:
            bench = run(arguments, Path(home))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    command = shlex.join(["python", "-m", "tests.bench.run", *(sys.argv[1:] if argv is None else argv)])
    names = {name for name, _ in bench.figures}
    found = report.Run(bench.figures, bench.failures, versions(names), command, arguments.rounds, arguments.seconds)
    publish(found, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
