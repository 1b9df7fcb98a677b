"""What the parent hands to a worker, and to the monitor: the one thing the rooms both know."""

from dataclasses import dataclass

from nodedns.config import Config
from nodedns.core.rows import Rows
from nodedns.native import Memory


@dataclass(frozen=True, slots=True)
class Shared:
    """The mappings of one service. `wires` only where somebody wants whole answers (dnstap)."""

    table: Memory
    counters: Memory
    slots: Memory
    samples: Memory
    wires: Memory | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One worker's share.

    `slot` is its number in all mappings but the table, where it is its writer number. `udp` and `tcp` hold one bound,
    non-blocking descriptor a listen address each (a canary has one UDP socket and no TCP). The worker writes b"w" to
    `ready_fd` when it is warm and has touched nothing, waits for one octet on `go_fd`, takes over the slot, and writes
    b"s" when it serves. EOF on `life_fd` means that the parent is gone. `rows` names the rows of the counters; without
    a row an answer is counted in the totals alone.
    """

    slot: int
    config: Config
    shared: Shared
    udp: tuple[int, ...]
    tcp: tuple[int, ...]
    ready_fd: int
    go_fd: int
    life_fd: int
    rows: Rows


@dataclass(frozen=True, slots=True)
class MonitorJob:
    """What the monitor gets. It speaks as a worker does by its pipes, and says lines to `say_fd`.

    `listener` is the bound socket of its HTTP, None for none. `steered`: kube-dns's endpoints are of interest. `slots`
    counts the canary's. `since`: what was answered before that, in ns of CLOCK_BOOTTIME, is not for its logs.
    """

    config: Config
    shared: Shared
    slots: int
    rows: Rows
    listener: int | None
    steered: bool
    say_fd: int
    ready_fd: int
    go_fd: int
    life_fd: int
    since: int = 0
