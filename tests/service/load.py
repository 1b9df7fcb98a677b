"""A steady stream of queries, every answer checked octet by octet and every query accounted for.

python -m tests.service.load PORT RATE UNIQUE [ADDRESS]

Sends RATE queries a second, 200 names in turn, every UNIQUE-th one a name never asked before (0: none). Prints "on"
with the first answer. Ends at the end of stdin: waits for stragglers, prints one line of JSON: sent, answered,
duplicates, wrong, lost, slowest and gap (the longest time without any answer), in seconds; and when the first and the
last that was lost were sent, in seconds since 1970.
"""

import json
import select
import socket
import sys
import time

from nodedns import native
from tests.ports import with_room
from tests.service.authority import TTL, record

SOCKETS = 16  # source ports: enough that SO_REUSEPORT gives every worker some
NAMES = 200
PATIENCE = 6.0  # seconds a straggler is waited for: longer than any answer may take
BATCH = 64


def wire(name: str) -> bytes:
    """A name in wire form."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


class Query:
    """What is sent for a name, without its id, and what must come back, without id and TTL."""

    def __init__(self, name: str) -> None:
        question = wire(name) + b"\0\1\0\1"
        self.packet = b"\1\0\0\1\0\0\0\0\0\0" + question
        answer = record(wire(name))
        self.head = b"\x81\x80\0\1\0\1\0\0\0\0" + question + answer[:6]
        self.tail = answer[10:]

    def right(self, reply: bytes) -> bool:
        """Is this the answer?"""
        at = 2 + len(self.head)
        ttl = int.from_bytes(reply[at : at + 4])
        head = bytes([reply[2] & 0xFB]) + reply[3:at]  # AA or not: kube-dns itself may answer, too
        return head == self.head and reply[at + 4 :] == self.tail and 0 < ttl <= TTL


class Load:
    """One run."""

    def __init__(self, port: int, rate: int, unique: int, address: str = "127.0.0.1") -> None:
        self.rate, self.unique = rate, unique
        self.queries = [Query(f"n{i}.load.test") for i in range(NAMES)]
        self.sockets = [self.open(address, port) for _ in range(SOCKETS)]
        self.waiting: list[dict[bytes, tuple[float, Query]]] = [{} for _ in self.sockets]
        self.answered: list[set[bytes]] = [set() for _ in self.sockets]
        self.sent = self.right = self.duplicates = self.wrong = 0
        self.slowest = self.gap = 0.0
        self.last = 0.0

    def open(self, address: str, port: int) -> socket.socket:
        """A connected socket with room for every answer of a second."""
        sock = with_room(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        sock.connect((address, port))
        return sock

    def send(self, due: int, now: float) -> None:
        """Sends what is due, a batch on one socket."""
        while due > 0:
            which = self.sent // BATCH % SOCKETS
            batch = []
            for n in range(self.sent, self.sent + min(due, BATCH - self.sent % BATCH)):
                query = self.queries[n % NAMES]
                if self.unique and n % self.unique == 0:
                    query = Query(f"u{n}.load.test")
                id_ = (n // SOCKETS // BATCH * BATCH + n % BATCH & 0xFFFF).to_bytes(2)
                self.answered[which].discard(id_)
                self.waiting[which][id_] = now, query
                batch.append(id_ + query.packet)
            try:
                taken = native.udp_send(self.sockets[which].fileno(), batch)
            except ConnectionRefusedError:  # the answer to an earlier one: nobody listens there, which costs that query
                taken = 0
            for packet in batch[taken:]:
                del self.waiting[which][packet[:2]]
            self.sent += taken
            due -= taken
            if taken < len(batch):
                return

    def receive(self) -> None:
        """Takes whatever has come."""
        for which, sock in enumerate(self.sockets):
            try:
                replies = native.udp_recv(sock.fileno())
            except ConnectionRefusedError:
                continue
            if not replies:
                continue
            now = time.monotonic()
            if self.last:
                self.gap = max(self.gap, now - self.last)
            else:
                print("on", flush=True)
            self.last = now
            for reply in replies:
                self.judge(which, reply, now)

    def judge(self, which: int, reply: bytes, now: float) -> None:
        """One reply: right, a duplicate, or wrong."""
        id_ = reply[:2]
        found = self.waiting[which].pop(id_, None)
        if found is None:
            self.duplicates += id_ in self.answered[which]
            self.wrong += id_ not in self.answered[which]
            return
        began, query = found
        self.answered[which].add(id_)
        self.right += query.right(reply)
        self.wrong += not query.right(reply)
        self.slowest = max(self.slowest, now - began)

    def run(self) -> dict[str, float]:
        """Until stdin ends."""
        begin = time.monotonic()
        while not select.select([sys.stdin], [], [], 0.001)[0]:
            now = time.monotonic()
            self.send(int((now - begin) * self.rate) - self.sent, now)
            self.receive()
        ends = time.monotonic() + PATIENCE
        while any(self.waiting) and time.monotonic() < ends:
            select.select(self.sockets, [], [], 0.1)
            self.receive()
        lost = sorted(asked for waiting in self.waiting for asked, _ in waiting.values())
        ago = time.time() - time.monotonic()
        return {
            "sent": self.sent,
            "answered": self.right,
            "duplicates": self.duplicates,
            "wrong": self.wrong,
            "lost": len(lost),
            "slowest": round(self.slowest, 4),
            "gap": round(self.gap, 4),
        } | ({"first_lost_at": ago + lost[0], "last_lost_at": ago + lost[-1]} if lost else {})


if __name__ == "__main__":
    print(json.dumps(Load(*map(int, sys.argv[1:4]), *sys.argv[4:]).run()), flush=True)
