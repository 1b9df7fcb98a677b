"""What worker slots are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from nodedns import native
from nodedns.config import Config
from nodedns.core.rows import Rows
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.rows import RowNames
from nodedns.supervisor.sockets import SlotSockets
from nodedns.supervisor.spawn import run_example
from nodedns.supervisor.tally import Tally
from nodedns.supervisor.workers import Role, Worker
from nodedns.worker.job import Job, Shared

NO_SOCKETS = SlotSockets((), ())


@dataclass(frozen=True, slots=True)
class Kit:
    """Of one service. `worker_main` is what a worker does; children inherit `keep`, of which the first is the life
    pipe."""

    poller: Poller
    shared: Shared
    table: native.Table
    rows: RowNames
    tally: Tally
    keep: tuple[int, ...]
    worker_main: Callable[[Job], int]

    def worker(self, name: str, number: int, config: Config, group: SlotSockets, counted: bool = True) -> Worker:
        """Slot `number`; what it answers is in the rows of its addresses and zones if `counted`."""

        def body(worker: Worker, ready_fd: int, go_fd: int) -> int:
            rows = self.rows.now if counted else Rows()
            pipes = (ready_fd, go_fd, self.keep[0])
            return self.worker_main(Job(number, worker.config, self.shared, *worker.sockets, *pipes, rows))

        role = Role(name, body, partial(self.table.raise_epoch, number), self.tally.add)
        return Worker(role, config, group, self.poller, self.keep)

    def example(self, config: Config) -> Worker:
        """The example cluster's server."""
        server = config.zones[0].forward[0]

        def body(_worker: Worker, ready_fd: int, _go_fd: int) -> int:
            return run_example(server.address, server.port, ready_fd, self.keep[0])

        return Worker(Role("example", body), config, NO_SOCKETS, self.poller, self.keep)
