"""The miss: equal questions joined, an upstream asked, its reply checked and stored, every waiter answered.

A question in flight stands in `asking` under its key, so that an equal one joins it, and in one of `waiting`, which
is in the order of deadlines. Transports take it by send() and call back: reply() with what came, refused() when the
network said no. Whatever is queued in a turn of the loop leaves at its end, by flush(): a batch a socket.
"""

import asyncio
from random import SystemRandom

from nodedns import journal, native
from nodedns.core import local, stale
from nodedns.core.failures import Failures
from nodedns.core.upstreams import BUDGET
from nodedns.core.zones import FAILURE_TTL, policy, zone_tag
from nodedns.worker.elsewhere import Elsewhere
from nodedns.worker.follow import LEAST, follow
from nodedns.worker.job import Job
from nodedns.worker.meter import Meter
from nodedns.worker.pace import Pace
from nodedns.worker.patience import Patience
from nodedns.worker.probes import Probes
from nodedns.worker.question import NETWORK_ERROR, OTHER_ERROR, Answer, Carrier, Question, Transport
from nodedns.worker.route import Route
from nodedns.worker.udp import Port

SERVFAIL, REFUSED = 2, 5
UNWILLING = frozenset({1, 4})  # FORMERR, NOTIMP
FORGED = -1  # beside native's verdicts


class Forwarder:
    """All questions in flight of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: native.Server, job: Job, seed: int) -> None:
        config = job.config
        self.loop = loop
        self.server = server
        self.meter = Meter(server, job.rows)
        self.seed = seed
        self.chance = SystemRandom().random
        self.pace = Pace(loop)
        self.asking: dict[bytes, Question] = {}
        self.waiting: dict[float, dict[Question, None]] = {}  # by how long an attempt may take
        self.patience = Patience(self)
        self.elsewhere = Elsewhere(loop, server, self.found)
        self.alone = config.node.workers == 1
        self.transports: dict[object, Transport] = {}  # by kind, server and what TLS needs
        self.dirty: set[Transport] = set()  # those with something queued
        self.local = local.Local(config.hosts, config.node.records, config.zones)
        self.probes = Probes(self)
        self.failures = Failures()
        zones = config.zones
        tags = [zone_tag(zone, zones, config.hosts, config.node.records) for zone in zones]
        self.routes = [Route(zone, policy(zone, tags[row], row), self) for row, zone in enumerate(zones)]

    def ask(self, key: bytes, zone: int, taken: int, ref: int) -> None:
        """A UDP client's miss; `taken` is when it came, ms of CLOCK_BOOTTIME."""
        question = self.asking.get(key)
        if question is not None:
            question.refs.append(ref)
            self.server.add("joined")
            return
        left = BUDGET - (native.now() - taken) / 1000
        question = self.asking[key] = Question(key, zone, self.loop.time() + left)
        question.refs.append(ref)
        self.begin(question)

    def ask_tcp(self, key: bytes, zone: int, answer: Answer) -> None:
        """A TCP client's miss; `answer` is called once, with an entry."""
        question = self.asking.get(key)
        if question is not None:
            question.clients.append(answer)
            self.server.add("joined")
            return
        question = self.asking[key] = Question(key, zone, self.loop.time() + BUDGET)
        question.clients.append(answer)
        self.begin(question)

    def begin(self, question: Question) -> None:
        """A new question's first attempt, if it needs one."""
        route = self.routes[question.zone]
        route.flying += 1
        if target := self.local.alias(question.key):
            follow(self, question, *target)
            return
        known = self.local.reply(question.key) or self.probes.reply(question.key)
        if known and self.reply(question, known, None):
            return
        if route.most and route.flying > route.most:
            self.reject(question)
            return
        if route.stale.max:
            self.patience.waiting[question] = None
            if route.stale.immediate:
                self.patience.appease(question, at_once=True)
        if self.alone or self.elsewhere.claim(question):
            self.attempt(question)

    def found(self, question: Question, entry: bytes | None) -> None:
        """Another worker is done with the question: with its entry, or it is to be asked here."""
        if self.asking.get(question.key) is not question:
            return  # a late reply, or its time was over
        if entry is None:
            self.attempt(question)
        else:
            self.settle(question, entry)
        self.flush()

    def reject(self, question: Question) -> None:
        """Too many questions are in flight: nothing is asked, and the refusal is not kept."""
        self.server.add("rejected")
        self.settle(question, self.patience.entry(question) or self.failure(question, REFUSED, OTHER_ERROR))

    def attempt(self, question: Question) -> None:
        """Asks the next upstream, or gives up."""
        number = len(question.tried)
        now = self.loop.time()
        route = self.routes[question.zone]
        if not route.ways:
            self.give_up(question)
            return
        health = route.health
        if health.down and len(health.down) == len(route.ways):
            self.server.add("all_down")
        upstream = route.picker.pick(question.tried, self.chance(), health.down)
        if number == 0:
            question.attempts = route.hedged if health.is_quick(upstream) else route.attempts
        if number == len(question.attempts) or question.ends - now < LEAST or upstream in health.looped:
            self.give_up(question)
            return
        seconds, way, waiting = question.attempts[number]
        question.tried.append(upstream)
        question.since = now
        question.deadline = min(now + seconds, question.ends)
        question.waiting = waiting
        waiting[question] = None
        self.send(route.ways[upstream][way], question)

    def send(self, transport: Transport, question: Question) -> None:
        """Queues a question on a transport."""
        self.dirty.add(transport)
        transport.send(question)

    def reply(self, question: Question, reply: bytes, carrier: Carrier | None) -> bool:
        """What came under a question's id. False when it is not its reply: the true one may be behind it."""
        if question.probe:
            return self.probes.heard(question, reply)
        route = self.routes[question.zone]
        wanted = route.stale
        entry = self.entry(question, reply, carrier)
        if isinstance(entry, bytes):
            if carrier is not None:
                upstream, since = question.sent_by(carrier)
                route.health.heard(upstream, self.loop.time() - since)
                self.meter.heard(route.rows[upstream], reply[3] & 15, self.loop.time() - since)
                if stale.is_failure(entry) and stale.rcode(entry) in UNWILLING and self.cross(question, carrier):
                    return True
            if wanted.max:
                worse = stale.is_failure(entry) or (wanted.prefer_positive and stale.is_denial(entry))
                if worse and (better := self.patience.entry(question, stale.is_denial(entry))):
                    self.settle(question, better)
                    return True
                entry = stale.kept(entry, wanted.max)
            self.finish(question, route.shaped(entry))
            return True
        if entry in (native.TRUNCATED, FORGED) and question.carrier is carrier:
            self.send(route.streams[question.tried[-1]], question)
            return True
        self.server.add("upstream_strays" if entry == native.MISMATCH else "upstream_malformed")
        return False

    def entry(self, question: Question, reply: bytes, carrier: Carrier | None) -> bytes | int:
        """native.make_entry. FORGED when a reply over UDP does not repeat the name's case."""
        policy_ = self.routes[question.zone].policy
        if question.case and isinstance(carrier, Port) and not reply.startswith(question.case, 12):
            return FORGED
        return native.make_entry(question.key, reply, self.seed, policy_, native.now())

    def cross(self, question: Question, carrier: Carrier) -> bool:
        """Asks the same upstream the other way, once: some take neither EDNS nor long names over one of them."""
        route, upstream = self.routes[question.zone], question.tried[-1]
        if question.crossed or route.kind == "tls" or question.carrier is not carrier:
            return False
        question.crossed = True
        over_udp = isinstance(carrier, Port)
        self.send(route.streams[upstream] if over_udp else route.ways[upstream][route.kind == "tcp"], question)
        return True

    def refused(self, question: Question, carrier: Carrier | None) -> None:
        """The network refused what `carrier` carried: the next attempt need not wait."""
        if question.probe or question.carrier is not carrier or self.asking.get(question.key) is not question:
            return  # it has moved on
        question.ede = NETWORK_ERROR
        self.server.add("upstream_errors")
        route, upstream = self.routes[question.zone], question.tried[-1]
        self.meter.refused(route.rows[upstream])
        route.health.silent(upstream, self.loop.time())
        question.waiting.pop(question, None)
        self.attempt(question)

    def give_up(self, question: Question) -> None:
        """No upstream answered: a stale answer or SERVFAIL, kept so that the same question does not ask them all again
        at once."""
        self.server.add("exhausted")
        route = self.routes[question.zone]
        if old := self.patience.entry(question):
            self.settle(question, old)
        else:
            if route.ways:
                text = f"no server of zone {route.name} answered a question: SERVFAIL"
                journal.log("no_answer", text, zone=route.name)
            self.finish(question, self.failure(question, SERVFAIL, question.ede))

    def failure(self, question: Question, rcode: int, ede: bytes) -> bytes:
        """An entry of ours that says no."""
        *_, tag, row = self.routes[question.zone].policy
        return native.failure_entry(question.key, self.seed, rcode, ede, FAILURE_TTL, row, tag, native.now())

    def finish(self, question: Question, entry: bytes) -> None:
        """Stores a new entry and answers everyone who waits."""
        if not stale.is_failure(entry):
            self.failures.over(question.key)
        elif not self.routes[question.zone].health.down:
            entry = stale.lasting(entry, self.failures.life(question.key, self.loop.time()))
        self.server.store(entry)
        self.settle(question, entry)

    def settle(self, question: Question, entry: bytes) -> None:
        """The question is in flight no more, and everyone who waits is answered."""
        del self.asking[question.key]
        self.routes[question.zone].flying -= 1
        self.patience.waiting.pop(question, None)
        question.waiting.pop(question, None)
        question.release()
        self.answer(question, entry)

    def answer(self, question: Question, entry: bytes) -> None:
        """Everyone who waits."""
        if question.refs:
            self.server.answer(question.refs, entry)
        for answer in question.clients:
            answer(entry)

    def flush(self) -> None:
        """Ends a turn: everything queued in it goes out. A refusal may queue again, on another transport."""
        while self.dirty:
            self.dirty.pop().flush()
        self.server.flush()
        self.pace.note()

    def tick(self, now: float) -> None:
        """Attempts whose time is over; clients who have waited long enough; the transports' own clocks."""
        for waiting in self.waiting.values():
            late = []
            for question in waiting:
                if question.deadline > now:
                    break
                late.append(question)
            for question in late:
                waiting.pop(question, None)
                if self.asking.get(question.key) is question:
                    self.late(question)
        self.patience.tick(now)
        self.elsewhere.tick()
        self.probes.tick(now)
        self.meter.tick(now, self.routes)
        journal.take_time(now)
        for transport in tuple(self.transports.values()):
            transport.tick(now)
        self.flush()

    def late(self, question: Question) -> None:
        """An attempt's time is over. What carried it keeps it: a late reply is welcome while the next attempt runs."""
        route = self.routes[question.zone]
        if not question.tried:
            self.give_up(question)  # an alias whose target has no answer
            return
        hedged = len(question.tried) == 1 and question.attempts is route.hedged is not route.attempts
        self.server.add("hedged" if hedged else "upstream_timeouts")
        if not hedged:
            self.meter.late(route.rows[question.tried[-1]])
        route.health.silent(question.tried[-1], self.loop.time())
        if question.carrier is not None:
            question.carrier.silent(question)
        self.attempt(question)

    def close(self) -> None:
        """Closes every socket towards upstreams."""
        for transport in self.transports.values():
            transport.close()
