"""aiodns in the versions of Debian 12 to today's, one fresh resolver for each question.

Fresh, since c-ares 1.31 and later keeps answers in a cache that nobody can switch off, and since another source port
reaches another worker's socket.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import aiodns
from aiodns.error import DNSError

from nodedns.config import Endpoint

_USEVC = 0x1  # ARES_FLAG_USEVC: TCP alone
# ares.h
_NOT_THERE = frozenset({1, 4})  # ARES_ENODATA, ENOTFOUND
_SAYS_NO = frozenset({2, 3, 5, 6})  # EFORMERR, ESERVFAIL, ENOTIMP, EREFUSED


class NoAnswer(Exception):
    """Nobody has answered: why."""


class NotThere(Exception):
    """There is an answer: there are no such records."""


class SaysNo(Exception):
    """There is an answer, and it says nothing of the records: SERVFAIL, REFUSED and their like."""


async def ask(name: str, kind: str, server: Endpoint, *, tcp: bool, source: str, seconds: float) -> Sequence[Any]:
    """The records of a name, from one server, from the address `source` ("" for the kernel's choice).

    NotThere when it says that there are none, SaysNo when it cannot tell, NoAnswer when it says nothing in time.
    """
    options: dict[str, Any] = {"local_ip": source} if source else {}
    resolver = aiodns.DNSResolver(
        nameservers=[server.address],
        udp_port=server.port,
        tcp_port=server.port,
        flags=_USEVC if tcp else 0,
        timeout=seconds,
        tries=1,
        **options,
    )
    try:
        async with asyncio.timeout(seconds + 0.1):
            if hasattr(resolver, "query_dns"):
                found = (await resolver.query_dns(name, kind)).answer
            else:
                found = await resolver.query(name, kind)  # aiodns 3
            return list(found)
    except DNSError as error:
        code, text = error.args[:2]
        if code in _NOT_THERE:
            raise NotThere(text) from error
        if code in _SAYS_NO:
            raise SaysNo(text) from error
        raise NoAnswer(text) from error
    except TimeoutError as error:
        raise NoAnswer(f"nothing for {seconds} s") from error
    finally:
        resolver.cancel()
