"""What a service has before its first child: link, sockets, shared memory."""

from dataclasses import dataclass

from nodedns import native
from nodedns.config import Config
from nodedns.journal import log
from nodedns.supervisor import memory, sockets
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.fdstore import Store
from nodedns.supervisor.machine import Machine
from nodedns.supervisor.rows import RowNames
from nodedns.supervisor.tally import Tally
from nodedns.worker.job import Shared


@dataclass(frozen=True, slots=True)
class Opened:
    """`listening` is each slot's sockets, `scraped` the monitor's (None: there is nothing to scrape)."""

    listening: list[sockets.SlotSockets]
    scraped: int | None
    shared: Shared
    rows: RowNames
    table: native.Table


def open_all(config: Config, machine: Machine, tally: Tally, store: Store, *, count: int, example: bool) -> Opened:
    """For `count` workers. HostError when something cannot be had, and then no new link is left."""
    machine.set_up()
    try:
        if example:
            sockets.check_free(config.zones[0].forward[0], "the example cluster")
        listening = sockets.open_slots(config.node.listen, count, store, config.node.beside)
        machine.share(listening)
        scraped = _metrics(config, store)
        store.remove_rest()
        shared = memory.map_all(config.node.run_dir, config.cache.size, count + 1, config.dnstap.socket is not None)
        rows = RowNames(config.node.run_dir, shared.counters, count + 1)
        rows.place(config, config)
    except HostError:
        machine.undo()
        raise
    native.sample_every(shared.samples, config.every_sample)
    tally.bind(shared.counters)
    tally.add("starts")
    tally.add("error_configmap", config.config_map_failed)
    tally.add("adoptions", store.adopted)
    table = native.Table(shared.table)
    # No worker of a former parent is left, and nobody was there to raise their epochs.
    for number in range(count + 1):
        table.raise_epoch(number)
    return Opened(listening, scraped, shared, rows, table)


def _metrics(config: Config, store: Store) -> int | None:
    """The monitor's socket. A port that is taken costs the metrics until the next start, and no query."""
    if config.metrics.listen is None:
        return None
    try:
        return sockets.open_metrics(config.metrics.listen, store, config.node.beside)
    except HostError as error:
        log("metrics_error", f"{error}; queries are answered, metrics come with a restart")
        return None
