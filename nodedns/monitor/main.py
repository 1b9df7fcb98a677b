"""The monitor's life: a beat for the parent, a question to ourselves each second, kube-dns's endpoints now and then,
HTTP for whoever scrapes.

It says lines: "beat", "well", "failed WHO: WHY", "fallback IP:PORT ...". What follows is the parent's business.
"""

import asyncio
import os
import select
import signal
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from nodedns import journal
from nodedns.config import Config, Endpoint
from nodedns.core.plan import ENDPOINTS
from nodedns.monitor import samples
from nodedns.monitor.pages import Pages
from nodedns.monitor.resolver import NoAnswer, NotThere, SaysNo, ask
from nodedns.monitor.upstreams import Upstreams
from nodedns.monitor.web import Web
from nodedns.worker.job import MonitorJob

BEAT = 0.3
"""Seconds: three are missed before the parent takes us for hung (core/beats.py)."""
EVERY = 1.0
PATIENCE = 0.5
"""Seconds for an answer that needs nobody else; it takes a millisecond."""
LOOK = 30.0
"""Seconds between looks for kube-dns's endpoints: pods that are moved leave a moment in which both answer."""
LOOK_AGAIN = 5.0
"""Seconds after a look without an answer."""
NAME = "nodedns.invalid"
"""Answered by ourselves, NXDOMAIN, whatever upstreams do (RFC 6761 section 6.4)."""
DNS_PORT = 53
LEAVING = 0.5
"""Seconds for scrapes in hand when we are told to leave, half of what a child promises (core/slots.py)."""

Say = Callable[[str], object]
Work = Callable[[], Awaitable[float]]
"""Something to do again and again: returns the seconds until the next time."""


def run(job: MonitorJob) -> int:
    """Until the parent is gone or says so; the exit code."""
    succeeds = not select.select([job.go_fd], [], [], 0)[0]
    os.write(job.ready_fd, b"w")
    ready = {fd for fd, _ in _poll(job.go_fd, job.life_fd)}
    if job.life_fd in ready or os.read(job.go_fd, 1) == b"":
        return 0
    os.set_blocking(job.say_fd, False)

    def say(line: str) -> None:
        with suppress(BlockingIOError):  # a parent that does not read stands still itself
            os.write(job.say_fd, f"{line}\n".encode())

    # A predecessor that was told to leave has seen everything; one that died has not. Taken before "s": whoever has
    # waited for that finds in the log what he asks.
    since = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if succeeds else job.since
    os.write(job.ready_fd, b"s")
    asyncio.run(_live(job, say, since))
    return 0


def _poll(*fds: int) -> list[tuple[int, int]]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return poll.poll()


async def _live(job: MonitorJob, say: Say, since: int) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(job.life_fd, over.set)
    loop.add_signal_handler(signal.SIGTERM, over.set)
    pages = Pages(job)
    web = Web(pages.pages)
    sampled, taps = samples.opened(job, since)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_again(work)) for work in (*_works(job, say, pages), *taps)]
        if job.listener is not None:
            await web.listen(job.listener)
        await over.wait()
        if sampled:
            await sampled.look()
        await web.close(LEAVING)
        for task in tasks:
            task.cancel()


def _works(job: MonitorJob, say: Say, pages: Pages) -> list[Work]:
    """What is done from the first moment on, each by itself."""

    async def beat() -> float:
        say("beat")
        return BEAT

    async def probe() -> float:
        verdicts = await probe_all(job.config.node.listen)
        silent = [why for why, _ in verdicts if why]
        pages.judge(silent, [seconds for _, seconds in verdicts])
        say(f"failed {'; '.join(silent)}" if silent else "well")
        return EVERY

    async def look() -> float:
        found = await endpoints(job.config)
        if found is not None:
            say(f"fallback {' '.join(map(str, found))}")
        return LOOK if found else LOOK_AGAIN

    async def sweep() -> float:
        pages.sweep()
        return EVERY

    async def tidy() -> float:
        journal.take_time(time.monotonic())
        return EVERY

    works: list[Work] = [beat, probe, tidy, Upstreams(job).look]
    if job.listener is not None:
        works.append(sweep)
    if job.steered and job.config.node.fallback is None:
        works.append(look)
    return works


async def _again(work: Work) -> None:
    """Works, waits for as long as it says, and so on."""
    while True:  # noqa: ASYNC110 (there is nothing to wait for but time)
        await asyncio.sleep(await work())


async def probe_all(listen: Iterable[Endpoint]) -> list[tuple[str, float]]:
    """Asks every address over UDP and TCP, all at once. Of each question: why there was no answer ("": there was one),
    and the seconds it took."""
    asked = [(at, tcp) for at in listen for tcp in (False, True)]
    return await asyncio.gather(*(_timed(at, tcp) for at, tcp in asked))


async def _timed(at: Endpoint, tcp: bool) -> tuple[str, float]:
    began = time.monotonic()
    verdict = await _probe(at, tcp)
    return verdict, time.monotonic() - began


async def _probe(at: Endpoint, tcp: bool) -> str:
    # from loopback: our rules send that to nobody else
    source = "::1" if ":" in at.address else "127.0.0.1"
    try:
        await ask(NAME, "A", at, tcp=tcp, source=source, seconds=PATIENCE)
    except (NotThere, SaysNo):
        return ""
    except NoAnswer as error:
        return f"{at} over {'TCP' if tcp else 'UDP'}: {error}"
    return ""


async def endpoints(config: Config) -> tuple[Endpoint, ...] | None:
    """What the headless Service names, IPv4 and IPv6; () when there is none; None when nobody can tell: a server in
    trouble says SERVFAIL, and that is when what is known is needed."""
    zone = next(zone for zone in config.zones if zone.name == config.domain)
    name = f"{ENDPOINTS}.{config.domain}"
    for server in (at for at in zone.forward if not at.tls and not at.is_name):
        found: list[Endpoint] = []
        try:
            for kind in ("A", "AAAA"):
                with suppress(NotThere):
                    records = await ask(
                        name, kind, server, tcp=zone.transport == "tcp", source="", seconds=PATIENCE * 4
                    )
                    found += [Endpoint(address, DNS_PORT) for address in map(_address, records) if address]
        except (NoAnswer, SaysNo):
            continue
        return tuple(found)
    return None


def _address(record: object) -> str:
    """The address of a record of any aiodns version; "" for a CNAME on the way to it."""
    data = getattr(record, "data", record)
    return str(getattr(data, "addr", getattr(data, "host", "")))
