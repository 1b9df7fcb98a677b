"""One worker: takes over its slot, starts the hit thread, runs the miss loop until it is told to leave or the parent is
gone.

The order is what makes a refork quick: hits are served before asyncio is even imported. A successor (a reload) does it
the other way round: it warms up, says so, and takes the slot over only when its predecessor has left.
"""

import gc
import os
import select
import socket
import threading
from array import array
from dataclasses import astuple
from ipaddress import ip_network

from nodedns import native
from nodedns.core.rows import DROPPED
from nodedns.core.zones import wire_name, zone_tag
from nodedns.journal import log
from nodedns.worker.job import Job

WARM = b"w"
SERVING = b"s"
EX_OSERR = 71  # sysexits.h


def mapped_network(cidr: str) -> tuple[bytes, int]:
    """A CIDR as native.Server takes it: 16 octets, v4 mapped into ::ffff:0:0/96, and the prefix length there."""
    network = ip_network(cidr, strict=False)
    if network.version == 4:
        return bytes(10) + b"\xff\xff" + network.network_address.packed, 96 + network.prefixlen
    return network.network_address.packed, network.prefixlen


def open_server(job: Job) -> native.Server:
    """The native server of this slot, predecessor's pending queries included."""
    zones, listen = job.config.zones, job.config.node.listen
    names = [*(zone.name for zone in zones), DROPPED]
    rows = array("H", [job.rows.row(at, zone) for at, _ in zip(listen, job.udp, strict=False) for zone in names])
    return native.Server(
        native.Table(job.shared.table, writer=job.slot),
        job.shared.counters,
        job.shared.slots,
        job.slot,
        job.udp,
        [mapped_network(cidr) for cidr in job.config.node.allow],
        [
            (
                wire_name(zone.name),
                zone_tag(zone, zones, job.config.hosts, job.config.node.records),
                *astuple(zone.prefetch),
            )
            for zone in zones
        ],
        job.config.node.rate_limit,
        rows.tobytes(),
        job.shared.samples,
        job.shared.wires,
    )


def await_go(job: Job) -> bool:
    """Waits for the parent's go; False when the parent is gone instead."""
    poll = select.poll()
    poll.register(job.go_fd, select.POLLIN)
    poll.register(job.life_fd, select.POLLIN)
    ready = {fd for fd, _ in poll.poll()}
    return job.life_fd not in ready and os.read(job.go_fd, 1) != b""


def run_hits(server: native.Server) -> None:
    """The hit thread. A worker that cannot hear any more must not look alive: its successor can."""
    try:
        server.run()
    except OSError as e:
        log("worker_defect", f"the hit loop failed: {e}")
        os._exit(EX_OSERR)


def run(job: Job) -> int:
    """The worker's life; its exit code. The caller has closed what belongs to others and reset the signals."""
    if not any(server.tls for zone in job.config.zones for server in zone.forward):
        import nodedns.worker.lean
    if not select.select([job.go_fd], [], [], 0)[0]:
        import nodedns.worker.loop  # noqa: F401  (warming up is the point)

        os.write(job.ready_fd, WARM)
    if not await_go(job):
        return 0
    server = open_server(job)
    hits = threading.Thread(target=run_hits, args=(server,), name="hits", daemon=True)
    hits.start()
    from nodedns.worker.loop import Loop

    gc.freeze()  # what stands now lives as long as the worker: collections need not walk it
    listeners = [socket.socket(fileno=fd) for fd in job.tcp]

    def still() -> None:
        server.stop()
        hits.join()

    Loop(job, server, listeners).run(lambda: os.write(job.ready_fd, SERVING), still)
    return 0
