"""The monitor's life: a beat for the parent, a question to ourselves each second, kube-dns's endpoints now and then.

It says lines: "beat", "well", "failed WHO: WHY", "fallback IP:PORT ...". What follows is the parent's business.
"""

import asyncio
import os
import select
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from nodedns.config import Config, Endpoint
from nodedns.core.plan import ENDPOINTS
from nodedns.monitor.resolver import NoAnswer, NotThere, ask

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

Say = Callable[[str], object]


def run(config: Config, say_fd: int, ready_fd: int, go_fd: int, life_fd: int) -> int:
    """Until the parent is gone or says so; the exit code."""
    os.write(ready_fd, b"w")
    ready = {fd for fd, _ in _poll(go_fd, life_fd)}
    if life_fd in ready or os.read(go_fd, 1) == b"":
        return 0
    os.set_blocking(say_fd, False)

    def say(line: str) -> None:
        with suppress(BlockingIOError):  # a parent that does not read stands still itself
            os.write(say_fd, f"{line}\n".encode())

    os.write(ready_fd, b"s")
    asyncio.run(_live(config, say, life_fd))
    return 0


def _poll(*fds: int) -> list[tuple[int, int]]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return poll.poll()


async def _live(config: Config, say: Say, life_fd: int) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(life_fd, over.set)
    loop.add_signal_handler(signal.SIGTERM, over.set)

    async def beat() -> float:
        say("beat")
        return BEAT

    async def probe() -> float:
        failed = await probe_all(config.node.listen)
        say(f"failed {failed}" if failed else "well")
        return EVERY

    async def look() -> float:
        found = await endpoints(config)
        if found is not None:
            say(f"fallback {' '.join(map(str, found))}")
        return LOOK if found else LOOK_AGAIN

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_again(work)) for work in (beat, probe)]
        if config.node.fallback is None:
            tasks.append(group.create_task(_again(look)))
        await over.wait()
        for task in tasks:
            task.cancel()


async def _again(work: Callable[[], Awaitable[float]]) -> None:
    """Works, waits for as long as it says, and so on."""
    while True:  # noqa: ASYNC110 (there is nothing to wait for but time)
        await asyncio.sleep(await work())


async def probe_all(listen: Iterable[Endpoint]) -> str:
    """Asks every address over UDP and TCP, all at once. "" when each has answered, else who has not, and why."""
    asked = [(at, tcp) for at in listen for tcp in (False, True)]
    verdicts = await asyncio.gather(*(_probe(at, tcp) for at, tcp in asked))
    return "; ".join(verdict for verdict in verdicts if verdict)


async def _probe(at: Endpoint, tcp: bool) -> str:
    # from loopback: our rules send that to nobody else
    source = "::1" if ":" in at.address else "127.0.0.1"
    try:
        await ask(NAME, "A", at, tcp=tcp, source=source, seconds=PATIENCE)
    except NotThere:
        return ""
    except NoAnswer as error:
        return f"{at} over {'TCP' if tcp else 'UDP'}: {error}"
    return ""


async def endpoints(config: Config) -> tuple[Endpoint, ...] | None:
    """What the headless Service names, IPv4 and IPv6; () when there is none; None when nobody can tell."""
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
        except NoAnswer:
            continue
        return tuple(found)
    return None


def _address(record: object) -> str:
    """The address of a record of any aiodns version; "" for a CNAME on the way to it."""
    data = getattr(record, "data", record)
    return str(getattr(data, "addr", getattr(data, "host", "")))
