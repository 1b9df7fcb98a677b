"""The host room, from the parent: each change is made by a child that lives as long as the change takes.

pyroute2 costs 22 MB resident; the parent must not keep them for a link that is made once.
"""

import os
import select

from nodedns.config import Config
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.log import INFO, log
from nodedns.supervisor.spawn import fork, run_host

LIMIT_MS = 10_000
"""A link and sixteen addresses take half a second, pyroute2's import most of it."""


def addresses(config: Config) -> tuple[str, ...]:
    """Listen addresses that the link is to carry: loopback has its own, and with "none" the operator sees to it."""
    if config.node.interface == "none":
        return ()
    found = dict.fromkeys(endpoint.address for endpoint in config.node.listen)
    return tuple(address for address in found if address != "::1" and not address.startswith("127."))


def set_up(config: Config) -> None:
    """Makes link and addresses as wanted. HostError when that cannot be; nothing is left half made then."""
    if wanted := addresses(config):
        _run("converge", config.node.interface, wanted)


def tear_down(config: Config) -> None:
    """Takes the link away, if it is ours."""
    if addresses(config):
        _run("remove", config.node.interface, ())


def _run(verb: str, name: str, wanted: tuple[str, ...]) -> None:
    child = fork("host", lambda ready_fd, _go_fd: run_host(verb, name, wanted, ready_fd), (), go=True)
    poll = select.poll()
    poll.register(child.pidfd, select.POLLIN)
    if not poll.poll(LIMIT_MS):
        os.kill(child.pid, 9)
        poll.poll()
    death = child.reap()
    said = os.read(child.ready_fd, 65536).decode(errors="replace").splitlines()
    for fd in (child.pidfd, child.ready_fd, child.go_fd):
        os.close(fd)
    failed = death is None or not death.clean
    for line in said[:-1] if failed else said:
        log(INFO, line)
    if failed:
        raise HostError(
            said[-1] if said else f"the host child of {verb} {name} ended: {death.text if death else 'not'}"
        )
