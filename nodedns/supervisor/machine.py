"""The machine as the parent sees it: link and rules, made, looked after and given back by the host room's children."""

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from nodedns.config import Config, Endpoint
from nodedns.core.plan import ENDPOINTS, only_ours, plan, stays_open
from nodedns.core.repair import Repair
from nodedns.core.service import Event
from nodedns.journal import log
from nodedns.supervisor import memo, systemd, task
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.netlink import Ears, SignOfLife
from nodedns.supervisor.poller import Poller
from nodedns.supervisor.sockets import SlotSockets, spread
from nodedns.supervisor.status import boottime_ms
from nodedns.supervisor.tally import Tally

if TYPE_CHECKING:
    from nodedns.supervisor.neighbour import Neighbour

NOBODY = "nobody answers at a link-local address; apply that Service (docs/kubernetes.md), or set node.fallback"
SLOW = 10.0
"""Seconds between looks that nothing has given a reason for: legacy iptables sends no event."""


def _ears(link: str) -> Ears:
    try:
        return Ears(link)
    except OSError as error:
        hint = "CAP_NET_ADMIN is needed" if error.errno == errno.EPERM else "does the kernel have nf_tables?"
        raise HostError(f"netlink: {error.strerror}; {hint}") from error


class Machine:
    """`fire` tells the service that rules are in place (STEERED), gone (RELEASED), or cannot be had (FAILED)."""

    def __init__(self, config: Config, poller: Poller, fire: Callable[[Event], None], tally: Tally) -> None:
        self._poller, self._fire, self._tally = poller, fire, tally
        self._fallback = memo.load()
        self._config, self.plan = config, plan(config, self._fallback)
        self._running: task.Task | None = None
        self._waiting: tuple[str, task.Done] | None = None
        self._then: Callable[[], None] | None = None
        self._sign: SignOfLife | None = None
        self._ears: Ears | None = None
        self.repair = Repair(SLOW, float("inf"))
        self.alive = False  # packets are steered to us
        self._made = self._let_go = False
        self._repaired_at = self._failed_open_at = 0  # ms of CLOCK_BOOTTIME, 0 for never
        self._stop_keeps: bool | None = None  # known once a stop has begun
        self._neighbour: Neighbour | None = None
        self._warned = False  # of having no fallback

    def set_up(self) -> None:
        """What the sockets and the first question need. HostError when it cannot be had."""
        if self.plan.addresses or self.plan.steered:
            self._ears = _ears(self.plan.link)
            changes = task.run("set_up", self.plan)
            self._heed()
            for fd in self._ears.fds:
                self._poller.watch(fd, self._hear)
            self._made = any(change.startswith(("added link", "wrote nftables table")) for change in changes)

    def share(self, slots: Sequence[SlotSockets]) -> None:
        """The sockets are open: until we have answered, a node-cache beside us gets all queries."""
        if self.plan.beside:
            from nodedns.supervisor.neighbour import Neighbour  # which few need, and the parent is small

            self._neighbour = Neighbour(self._config.node.listen, slots)
            self._neighbour.turn(taking=False)
        else:
            for fd in (*slots[0].udp, *slots[0].tcp):
                with suppress(OSError):  # such a kernel spreads worse, no more
                    spread(fd)

    def undo(self) -> None:
        """After a start that failed: where link or table were not there before, all goes again. What a former life has
        left stays: it is what clients are served by."""
        if self._made:
            task.run("unsteer", self.plan)
            task.run("lower_link", self.plan)

    def tear_down(self) -> bool:
        """At the very end: the link goes, unless who comes next needs it. Does anything stay?"""
        if self._keeps():
            return True
        if self._neighbour and self._neighbour.here:
            self._neighbour.leave()
        if self.plan.addresses and not self._open():
            task.run("lower_link", self.plan)
        return False

    def _keeps(self) -> bool:
        """A restart leaves all as it is. systemd is asked once: its job may be over the next time."""
        if self._stop_keeps is None:
            self._stop_keeps = systemd.restarting()
        return self._stop_keeps

    def _open(self) -> bool:
        """A node-cache beside us serves on; the fallback would only stand in its way."""
        return not (self._neighbour and self._neighbour.here) and stays_open(self._config, self.plan)

    def steer(self) -> None:
        """Begins to send packets here: everything answers now."""
        if self._neighbour:
            self._neighbour.turn(taking=True)
        if self._ears is None:  # nothing on this machine is ours
            self._fire(Event.STEERED)
            return
        self._give_sign()
        self._begin("steer", self._steered)

    def _steered(self, _changes: list[str], problem: str) -> None:
        if problem:
            log("setup_error", problem)
            self._tally.problem(problem)
            self._fire(Event.FAILED)
            return
        self._give_sign()
        self._heed()
        self.repair.done(time.monotonic(), changed=False)
        self._fire(Event.STEERED)

    def _heed(self) -> None:
        """What others do is heard from now on; what was heard until now was of our own doing."""
        if self._ears:
            self._ears.learn()
            self._ears.ours()

    def good(self) -> None:
        """Every listen address has just answered."""
        if not self._stopping:
            self._give_sign()
            if self._let_go:
                self._let_go = False
                log("fail_open_over", "every address answers again: queries come to us")

    def _give_sign(self) -> None:
        if not self.plan.steered:
            return
        self._sign = self._sign or SignOfLife(self.plan.steered, self.plan.hold)
        self.alive = True
        if problem := self._sign.give():
            log("sign_refused", f"the sign of life was not taken: {problem}; the rules are looked after")
            self.repair.hint(time.monotonic())

    def report(self) -> dict[str, object]:
        """For status.json. `alive`: queries are steered to us."""
        return {
            "link": self.plan.link or None,
            "rules": {
                "netfilter": self.plan.netfilter,
                "steered": [str(at) for at in self.plan.steered],
                "alive": self.alive,
                "fallback": [str(at) for at in self.plan.fallback],
            },
            "repairs": self.repair.count,
            "repaired_at": self._repaired_at,
            "failed_open_at": self._failed_open_at,
        }

    def gauges(self) -> dict[str, int]:
        """For the metrics."""
        return {"fail_open": bool(self.plan.steered) and not self.alive, "fallback": len(self.plan.fallback)}

    def bad(self) -> None:
        """One has not. Packets go to the fallback when that has lasted for `fail_open_after`."""
        self._tally.add("probe_failures")
        if self.alive and self.plan.steered:
            self._tally.add("fail_opens")
            self._let_go = True
            where = ", ".join(map(str, self.plan.fallback)) or "nobody: there is no fallback"
            log("fail_open", f"an address does not answer: in {self.plan.hold} s queries go to {where}")
            self._failed_open_at = boottime_ms()
        self.alive = False

    def follow(self, config: Config) -> None:
        """A reload's config is in force."""
        self._config = config
        self._replan()

    def know(self, fallback: tuple[Endpoint, ...]) -> None:
        """What kube-dns's endpoints are now."""
        if not fallback and not self._warned and only_ours(self.plan):
            log("fallback_missing", f"{ENDPOINTS} names nobody: while nodedns is down, {NOBODY}")
        self._warned = not fallback
        if fallback != self._fallback:
            self._fallback = fallback
            memo.save(fallback)
            self._replan()

    def _replan(self) -> None:
        wanted = plan(self._config, self._fallback)
        if wanted == self.plan:
            return
        if self._sign and wanted.hold != self.plan.hold:
            self._sign.close()
            self._sign = SignOfLife(wanted.steered, wanted.hold)
        self.plan = wanted
        if self._ears:
            self.repair.hint(time.monotonic())

    @property
    def _stopping(self) -> bool:
        return self._stop_keeps is not None

    @property
    def deadline(self) -> float | None:
        """When there is something to do, in seconds of the monotonic clock."""
        return self._running.deadline if self._running else None if self._stopping else self.repair.due

    def take_time(self, now: float) -> None:
        """Looks after what is ours, when it is time; ends a look that takes too long."""
        if self.deadline is None or self.deadline > now:
            return
        if self._running:
            self._running.deadline = float("inf")
            self._running.kill()
        elif self._ears:
            if self._neighbour:
                self._neighbour.look()
            self._begin("repair", self._repaired)

    def _hear(self) -> None:
        if self._ears and self._ears.ours() and not self._running:
            self.repair.hint(time.monotonic())

    def _repaired(self, changes: list[str], problem: str) -> None:
        if problem:
            log("repair_failed", problem)
            self._tally.problem(problem)
        before = self.repair.streak
        if changes:
            self._tally.add("repairs")
            log("repair", "link or rules were put right:", *changes)
            self._repaired_at = boottime_ms()
        self.repair.done(time.monotonic(), changed=bool(changes or problem))
        if self.repair.streak > before >= 5:
            times = self.repair.streak
            log(
                "repair_contested",
                f"another agent keeps undoing our link or rules: put right {times} times in a row",
                times=times,
            )
        self._heed()

    def release(self) -> None:
        """Before the workers leave: packets go elsewhere from now on, in one step. A restart leaves all as it is."""
        if self._neighbour:
            self._neighbour.turn(taking=False)
        if self._keeps() or not self.plan.steered:
            self._when_idle(lambda: self._released([], ""))
        else:
            self._begin("let_go" if self._open() else "unsteer", self._released)

    def _released(self, _changes: list[str], problem: str) -> None:
        if problem:
            log("repair_failed", problem)
        self._fire(Event.RELEASED)

    def _when_idle(self, then: Callable[[], None]) -> None:
        """Once no change is under way: systemd kills whom we leave behind, in the midst of it."""
        if self._running:
            self._then = then
        else:
            then()

    def _begin(self, verb: str, done: task.Done) -> None:
        """One at a time: two would undo each other."""
        if self._running:
            self._waiting = (verb, done)
            return

        def over(changes: list[str], problem: str) -> None:
            self._running = None
            done(changes, problem)
            if self._waiting and not self._running:
                following, self._waiting = self._waiting, None
                self._begin(*following)
            if self._then and not self._running:
                then, self._then = self._then, None
                then()

        try:
            self._running = task.start(self._poller, verb, self.plan, self.alive, over)
        except OSError as error:
            over([], f"{verb}: cannot fork: {error.strerror}")
