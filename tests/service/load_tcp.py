"""A steady stream of queries over TCP connections that live as long as the server lets them.

python -m tests.service.load_tcp PORT RATE ADDRESS

CONNECTIONS connections share RATE queries a second, one in flight on each. When one breaks, it is counted in `broken`,
and a new one is made within RECONNECT seconds and asked the same again; whatever fails in that is `lost`. Prints "on"
with the first answer. At the end of stdin it ends, with one line of JSON: sent, answered, wrong, lost, broken, slowest.
"""

import asyncio
import json
import socket
import sys
import time

from tests.service.load import NAMES, Query

CONNECTIONS = 16
RECONNECT = 0.2
PATIENCE = 6.0  # seconds an answer is waited for, as over UDP


class Load:
    """One run."""

    def __init__(self, port: int, rate: int, address: str) -> None:
        self.at, self.pause = (address, port), CONNECTIONS / rate
        self.queries = [Query(f"n{i}.load.test") for i in range(NAMES)]
        self.sent = self.answered = self.wrong = self.lost = self.broken = 0
        self.slowest = 0.0

    async def client(self, number: int, over: asyncio.Event) -> None:
        """One connection after another, until it is over."""
        stream, began, asked = None, time.monotonic(), 0
        while not over.is_set():
            query = self.queries[(number + asked) % NAMES]
            asked, self.sent = asked + 1, self.sent + 1
            sent = time.monotonic()
            stream = await self.ask(stream, query)
            self.slowest = max(self.slowest, time.monotonic() - sent)
            rest = began + asked * self.pause - time.monotonic()
            if rest > 0:
                await asyncio.wait([asyncio.ensure_future(over.wait())], timeout=rest)
        if stream:
            stream[1].close()

    async def ask(self, stream: tuple | None, query: Query) -> tuple | None:
        """Asks on this connection, and if it is broken on a new one."""
        for retry in (False, True):
            try:
                if stream is None:
                    stream = await self.connect()
                async with asyncio.timeout(PATIENCE):
                    self.judge(query, await exchange(*stream, query))
                return stream
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                if stream is not None:
                    stream[1].close()
                self.broken += not retry and stream is not None
                self.lost += retry
                stream = None
        return stream

    async def connect(self) -> tuple:
        """A new connection. OSError (TimeoutError is one)."""
        sock = socket.socket(socket.AF_INET6 if ":" in self.at[0] else socket.AF_INET)
        try:
            sock.setblocking(False)
            try:
                async with asyncio.timeout(RECONNECT):
                    await asyncio.get_running_loop().sock_connect(sock, self.at)
            except TimeoutError:
                sock.getpeername()  # it stands: only we were late
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise

    def judge(self, query: Query, reply: bytes) -> None:
        if self.answered == 0:
            print("on", flush=True)
        self.answered += 1
        self.wrong += not query.right(reply)

    async def run(self) -> dict[str, float]:
        """Until stdin ends."""
        over = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, over.set)
        await asyncio.gather(*(self.client(number, over) for number in range(CONNECTIONS)))
        names = ("sent", "answered", "wrong", "lost", "broken")
        return {name: getattr(self, name) for name in names} | {"slowest": round(self.slowest, 4)}


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, query: Query) -> bytes:
    """One question, one answer."""
    packet = b"\0\1" + query.packet
    writer.write(len(packet).to_bytes(2) + packet)
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Load(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]).run())), flush=True)
