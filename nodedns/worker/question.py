"""One question in flight, and what transports and the forwarder know of each other."""

from collections.abc import Callable
from typing import Protocol

OTHER_ERROR = bytes(2)  # RFC 8914 4.1
NO_REACHABLE_AUTHORITY = (22).to_bytes(2)  # RFC 8914 4.23
NETWORK_ERROR = (23).to_bytes(2)  # RFC 8914 4.24

Answer = Callable[[bytes], None]
Policy = tuple[int, int, int, int, int, int, int]
Row = tuple[float, int, "dict[Question, None]"]
"""An attempt: seconds, way, and the line its questions wait in, by their deadlines."""


class Carrier(Protocol):
    """A socket or stream that carries questions."""

    def silent(self, question: "Question") -> None:
        """The question's attempt ended without a reply."""


class Transport(Protocol):
    """The way to one upstream: worker.udp, worker.tcp."""

    def send(self, question: "Question") -> None:
        """Queues the question; it leaves with the next flush()."""

    def flush(self) -> None:
        """Sends what is queued."""

    def tick(self, now: float) -> None:
        """What happens by the clock (loop time)."""

    def close(self) -> None:
        """Closes every socket."""


class Question:
    """Who waits (`refs` of UDP queries, `clients` over TCP), where it stands (`tried`, `deadline`, `ends`), who carries
    it.

    `held` lists every place a transport keeps it: a late reply to an earlier attempt is as good as one to the last.
    """

    __slots__ = (
        "attempts",
        "carrier",
        "case",
        "clients",
        "crossed",
        "deadline",
        "ede",
        "ends",
        "held",
        "key",
        "probe",
        "refs",
        "since",
        "tried",
        "waiting",
        "zone",
    )

    def __init__(self, key: bytes, zone: int, ends: float, probe: bool = False) -> None:
        self.key = key
        self.zone = zone
        self.ends = ends
        self.probe = probe
        self.attempts: tuple[Row, ...] = ()
        self.case = b""  # the name as it was sent over UDP, with dns0x20
        self.crossed = False  # it went the other way because of what the reply said
        self.refs: list[int] = []
        self.clients: list[Answer] = []
        self.tried: list[int] = []
        self.held: list[tuple[dict[int, Question], int, Carrier, int, float]] = []
        self.carrier: Carrier | None = None
        self.since = self.deadline = 0.0  # of the attempt, loop time
        self.waiting: dict[Question, None] = {}  # its attempt's, in the order of deadlines
        self.ede = NO_REACHABLE_AUTHORITY

    def carried(self, carrier: Carrier, held: "dict[int, Question]", id_: int) -> None:
        """A transport took it under an id."""
        self.carrier = carrier
        held[id_] = self
        self.held.append((held, id_, carrier, self.tried[-1] if self.tried else 0, self.since))

    def sent_by(self, carrier: Carrier) -> tuple[int, float]:
        """To which upstream, and when."""
        return next((upstream, since) for *_, one, upstream, since in reversed(self.held) if one is carrier)

    def release(self) -> None:
        """Takes it out of every transport; an id that serves another question by now stays."""
        for held, id_, *_ in self.held:
            if held.get(id_) is self:
                del held[id_]
