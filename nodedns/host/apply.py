"""What the parent asks for, a verb each; every change is said aloud in a line, so no line means no change.

Where a state is wanted, it is compared with what is there and only the difference is carried out; where nothing is
wanted, what is there is read from the machine, never from a memory of what was done.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from nodedns.core.plan import Plan
from nodedns.host.commands import there
from nodedns.host.errors import ChangeError
from nodedns.host.netfilter import firewall, iptables, steering
from nodedns.host.netfilter.detect import detect
from nodedns.host.netfilter.steering import Log

FAILOPEN = "failopen.nft"
"""In the state directory: what nodedns-failopen.service loads before us, in case we do not come up."""


def set_up(plan: Plan, alive: bool, log: Log) -> None:
    """What serving needs: link and addresses, and the table, by which self-probes reach us before clients do."""
    _raise_link(plan, log)
    if plan.steered:
        # Until we have answered once, a node-cache that serves is not to be overridden.
        first = plan.beside and steering.found() is None
        try:
            steering.converge(replace(plan, beside=False) if first else plan, alive, log)
        except ChangeError:
            lower_link(plan, alive, log)
            raise


def steer(plan: Plan, alive: bool, log: Log) -> None:
    """The rules, and what is loaded at the next boot."""
    if not plan.steered:
        return
    steering.converge(plan, alive, log)
    backend, why = detect() if plan.netfilter == "auto" else (plan.netfilter, "the config says so")
    firewall.converge(plan, log)
    if backend in iptables.BACKENDS and iptables.converge(backend, plan, log):
        log(f"netfilter backend: {backend}, because {why}")
    _remember(plan)


def repair(plan: Plan, alive: bool, log: Log) -> None:
    """All of it. The rules first: they need no library, and without them a Service IP is not ours."""
    steer(plan, alive, log)
    _raise_link(plan, log)


def _raise_link(plan: Plan, log: Log) -> None:
    if plan.addresses:
        from nodedns.host import link  # pyroute2 takes 0.2 s to import; only this needs it

        link.converge(plan.link, plan.addresses, log, plan.beside)


def let_go(_plan: Plan, _alive: bool, log: Log) -> None:
    """A stop that fails open: link and rules stay, and the fallback serves at once."""
    steering.let_go(log)


def unsteer(plan: Plan, _alive: bool, log: Log) -> None:
    """Takes every rule of ours away, and with them what is loaded at the next boot."""
    if plan.steered:
        _remove_rules(log)
        if path := _state(FAILOPEN):
            path.unlink(missing_ok=True)


def lower_link(plan: Plan, _alive: bool, log: Log) -> None:
    """Takes the link away, if it is ours."""
    if plan.addresses:
        from nodedns.host import link  # as above

        link.remove(plan.link, log)


def clean_up(log: Log) -> None:
    """Takes away whatever is ours, with no word from a config: rules, and every link by our alias."""
    from nodedns.host import link  # as above

    _remove_rules(log)
    link.remove_all(log)


def _remove_rules(log: Log) -> None:
    """The steering first, in one transaction: from then on nothing of ours is in a packet's way."""
    if there("nft"):
        steering.remove(log)
        firewall.remove(log)
    for backend in filter(iptables.installed, iptables.BACKENDS):
        iptables.remove(backend, log)


def _state(name: str) -> Path | None:
    directory = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(directory) / name if directory else None


def _remember(plan: Plan) -> None:
    path, text = _state(FAILOPEN), steering.render(plan, alive=False)
    if path is None or (path.exists() and path.read_text(encoding="ascii") == text):
        return
    new = path.with_suffix(".new")
    new.write_text(text, encoding="ascii")
    new.rename(path)


VERBS: dict[str, Callable[[Plan, bool, Log], None]] = {
    verb.__name__: verb for verb in (set_up, steer, repair, let_go, unsteer, lower_link)
}
