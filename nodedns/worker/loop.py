"""The miss loop: one asyncio loop that wires the rooms of a worker together and waits for everything but hits."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence

from nodedns import native
from nodedns.worker.clients_tcp import Clients
from nodedns.worker.forward import Forwarder
from nodedns.worker.job import Job

DRAIN = 256  # misses a turn: enough to fill four sendmmsg batches, few enough that replies are read in between
TICK = 0.1  # seconds; attempts last 1 s and more, so a tenth is precise enough, and ten wake-ups a second cost nothing
LEAVE = 0.5  # seconds a leaving worker gives its TCP clients
# Seconds it then gives misses in hand, while new queries wait in the sockets. A successor of this build answers what is
# left (slot.h), one of another build cannot read it: an upgrade must not cost what kube-dns answers within a moment.
FINISH = 0.05


class Loop:
    """One worker's miss loop."""

    def __init__(self, job: Job, server: native.Server, listeners: Sequence[socket.socket]) -> None:
        self.job = job
        self.server = server
        self.listeners = listeners

    def run(self, ready: Callable[[], object], still: Callable[[], object]) -> None:
        """Runs until SIGTERM or the end of the parent; calls `ready` once it answers, and when it leaves `still`, which
        ends the hit thread."""
        with asyncio.Runner() as runner:
            runner.run(self.main(ready, still))

    async def main(self, ready: Callable[[], object], still: Callable[[], object]) -> None:
        """The loop's life, from the first wake-up it can take to the last TCP client."""
        loop = asyncio.get_running_loop()
        self.leaving = asyncio.Event()
        self.forwarder = Forwarder(loop, self.server, self.job, native.Table(self.job.shared.table).seed)
        self.clients = Clients(loop, self.server, self.forwarder)
        for order in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(order, self.leaving.set)
        loop.add_reader(self.job.life_fd, self.leaving.set)
        loop.add_reader(self.server.wake_fd, self.wake)
        loop.call_later(TICK, self.tick)
        for number, listener in enumerate(self.listeners):
            await self.clients.listen(listener, number)
        self.server.beat()  # who serves can be seen to hang
        ready()
        await self.leaving.wait()
        loop.remove_reader(self.job.life_fd)
        await self.clients.leave(LEAVE)
        still()
        self.drain()
        ends = loop.time() + FINISH
        while self.forwarder.asking and loop.time() < ends:
            await asyncio.sleep(FINISH / 50)
            self.forwarder.elsewhere.tick()  # the next tick may be later than our end
        self.forwarder.close()

    def wake(self) -> None:
        """The hit thread has filed misses."""
        os.read(self.server.wake_fd, 8)
        self.drain()

    def drain(self) -> None:
        """Takes filed misses, a limited number a turn."""
        misses = self.server.drain(DRAIN)
        ask = self.forwarder.ask
        for ref, key, zone, taken in misses:
            ask(key, zone, taken, ref)
        self.forwarder.flush()
        if len(misses) == DRAIN:
            asyncio.get_running_loop().call_soon(self.drain)

    def tick(self) -> None:
        """Everything that happens by the clock."""
        loop = asyncio.get_running_loop()
        self.server.beat()
        self.forwarder.tick(loop.time())
        self.clients.tick(loop.time())
        loop.call_later(TICK, self.tick)
