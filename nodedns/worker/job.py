"""What the parent hands to a worker: the one thing the two rooms both know."""

from dataclasses import dataclass

from nodedns.config import Config
from nodedns.native import Memory


@dataclass(frozen=True, slots=True)
class Job:
    """One worker's share.

    `slot` is its number in the counters and slots mappings and its writer number in the table. `udp` and `tcp` hold one
    bound, non-blocking descriptor a listen address each (a canary has one UDP socket and no TCP). The worker writes
    b"w" to `ready_fd` when it is warm and has touched nothing, waits for one octet on `go_fd`, takes over the slot, and
    writes b"s" when it serves. EOF on `life_fd` means that the parent is gone.
    """

    slot: int
    config: Config
    table: Memory
    counters: Memory
    slots: Memory
    udp: tuple[int, ...]
    tcp: tuple[int, ...]
    ready_fd: int
    go_fd: int
    life_fd: int
