"""A reload, step by step, as a generator: the loop resumes it after every wake-up, and it yields while it has to wait.

No effect before everything about the new config is known: it parses, it needs no restart, and a canary, a whole worker
on a socket of its own, has answered a question on it. Then the slots are replaced one at a time. The first failure
puts the slots that were done back in the same way, and the old config stays.
"""

import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from nodedns.config import Config, ConfigError, Endpoint, restart_needed
from nodedns.core.slots import Event, State
from nodedns.supervisor.probe import Probe
from nodedns.supervisor.sockets import SlotSockets, open_private
from nodedns.supervisor.workers import Worker

QUESTIONS = 10
"""A canary that serves and has not answered after ten questions, which is 5 s, does not answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`config` is the new one when it is in force; else `problems` says why it is not, a line each."""

    config: Config | None
    problems: tuple[str, ...] = ()


Steps = Generator[None, None, Outcome]


def reload(
    load: Callable[[], Config],
    old: Config,
    workers: Sequence[Worker],
    canary: Worker,
    ask: Callable[[Endpoint], Probe],
) -> Steps:
    """From `old` to what `load` gives. `ask` begins a probe of one address."""
    try:
        new = load()
    except ConfigError as error:
        return Outcome(None, tuple(map(str, error.problems)))
    except Exception as error:  # whatever a file can do to load(), it must not end a service that runs
        return Outcome(None, (f"the config could not be read: {type(error).__name__}: {error}",))
    restart = restart_needed(old, new)
    if restart:
        return Outcome(None, tuple(f"{key}: changing it needs a restart" for key in restart))
    problem = yield from _try(canary, new, ask)
    if problem:
        return Outcome(None, (problem,))
    done: list[Worker] = []
    for worker in workers:
        if not (yield from _replace(worker, new, old)):
            for former in reversed(done):
                yield from _replace(former, old, old)
            return Outcome(None, (f"{worker.name} did not start on the new config: {worker.last_death}",))
        done.append(worker)
    return Outcome(new)


def _try(canary: Worker, new: Config, ask: Callable[[Endpoint], Probe]) -> Generator[None, None, str]:
    """Has a canary answer one question on the new config. Returns what went wrong, "" for nothing."""
    try:
        fd, endpoint = open_private()
    except OSError as error:
        return f"no socket for a canary: {error.strerror}"
    try:
        canary.config, canary.sockets = new, SlotSockets((fd,), ())
        canary.fire(Event.START)
        while not canary.settled:
            yield
        problem = f"a worker did not start on the new config: {canary.last_death}"
        if canary.state is State.SERVING:
            problem = yield from _question(endpoint, ask)
        canary.fire(Event.STOP)
        while canary.state is not State.EMPTY:
            yield
    finally:
        os.close(fd)
    return problem


def _question(endpoint: Endpoint, ask: Callable[[Endpoint], Probe]) -> Generator[None, None, str]:
    try:
        probe = ask(endpoint)
    except OSError as error:
        return f"no socket to ask a canary: {error.strerror}"
    try:
        while not probe.answered and probe.asked <= QUESTIONS:
            yield
        return "" if probe.answered else f"a worker on the new config did not answer {QUESTIONS} questions"
    finally:
        probe.close()


def _replace(worker: Worker, config: Config, keep: Config) -> Generator[None, None, bool]:
    """Puts a new process on `config` into the slot. False when that failed: the slot's next one is then on `keep`."""
    while not worker.settled:
        yield
    before = worker.holder
    worker.config = config
    worker.fire(Event.REPLACE)
    while not worker.settled:
        yield
    if worker.state is State.SERVING and worker.holder is not before:
        return True
    worker.config = keep
    return False
