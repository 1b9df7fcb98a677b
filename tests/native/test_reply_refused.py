"""An upstream's reply that is not wholly good: it becomes no entry, and the verdict says what to do about it."""

from types import ModuleType

import pytest
from samples import NOW, OPT, POLICY, SEED, TSIG, A, opt, question, record
from samples import packet as raw

from nodedns.core.replies import MALFORMED, MISMATCH, TRUNCATED

RESPONSE = 0x8180  # QR, RD, RA
QUESTION = question(b"\3www\7example\3com\0")
TO_QUESTION = b"\xc0\x0c"
AT = 12 + len(QUESTION)  # where the first record stands
ADDRESS = record(A, b"\1\1\1\1", TO_QUESTION)
ONE = (1, 1, 0, 0)
REFUSED = {
    "short": (b"\0" * 11, MISMATCH),
    "QR=0": (raw(QUESTION, flags=0x0100), MISMATCH),
    "opcode NOTIFY": (raw(QUESTION, flags=RESPONSE | 4 << 11), MISMATCH),
    "no question": (raw(ADDRESS, (0, 1, 0, 0), RESPONSE), MISMATCH),
    "two questions": (raw(QUESTION * 2, (2, 0, 0, 0), RESPONSE), MISMATCH),
    "another name": (raw(question(b"\3wwx\7example\3com\0"), flags=RESPONSE), MISMATCH),
    "a longer name": (raw(question(b"\4wwww\7example\3com\0"), flags=RESPONSE), MISMATCH),
    "another type": (raw(QUESTION[:-3] + b"\x1c\0\1", flags=RESPONSE), MISMATCH),
    "another class": (raw(QUESTION[:-1] + b"\3", flags=RESPONSE), MISMATCH),
    "question cut": (raw(QUESTION[:-1], flags=RESPONSE), MISMATCH),
    "TC": (raw(QUESTION + ADDRESS, ONE, RESPONSE | 0x0200), TRUNCATED),
    "TC, not our question": (raw(question(b"\0"), ONE, RESPONSE | 0x0200), MISMATCH),
    "counts lie high": (raw(QUESTION + ADDRESS, (1, 2, 0, 0), RESPONSE), MALFORMED),
    "counts lie low": (raw(QUESTION + ADDRESS, (1, 0, 0, 0), RESPONSE), MALFORMED),
    "all counts 65535": (raw(QUESTION + ADDRESS, (1, 65535, 65535, 65535), RESPONSE), MALFORMED),
    "trailing octet": (raw(QUESTION + ADDRESS + b"\0", ONE, RESPONSE), MALFORMED),
    "record cut in its head": (raw(QUESTION + ADDRESS[:-5], ONE, RESPONSE), MALFORMED),
    "record cut in its data": (raw(QUESTION + ADDRESS[:-1], ONE, RESPONSE), MALFORMED),
    "A of 5 octets": (raw(QUESTION + record(A, b"12345", TO_QUESTION), ONE, RESPONSE), MALFORMED),
    "A of none": (raw(QUESTION + record(A, b"", TO_QUESTION), ONE, RESPONSE), MALFORMED),
    "AAAA of 4 octets": (raw(QUESTION + record(28, b"1234", TO_QUESTION), ONE, RESPONSE), MALFORMED),
    "CNAME behind its data": (raw(QUESTION + record(5, TO_QUESTION + b"\0", TO_QUESTION), ONE, RESPONSE), MALFORMED),
    "CNAME beyond its data": (raw(QUESTION + record(5, b"\3www", TO_QUESTION), ONE, RESPONSE), MALFORMED),
    "MX of one octet": (raw(QUESTION + record(15, b"\0", TO_QUESTION), ONE, RESPONSE), MALFORMED),
    "SOA without its numbers": (raw(QUESTION + record(6, b"\0\0", TO_QUESTION), ONE, RESPONSE), MALFORMED),
    "NAPTR whose strings lie": (
        raw(QUESTION + record(35, b"\0\1\0\1\1S\xff", TO_QUESTION), ONE, RESPONSE),
        MALFORMED,
    ),
    "pointer to itself": (
        raw(QUESTION + record(A, b"1234", (0xC000 | AT).to_bytes(2, "big")), ONE, RESPONSE),
        MALFORMED,
    ),
    "pointer forward": (raw(QUESTION + record(A, b"1234", (0xC002 | AT).to_bytes(2, "big")), ONE, RESPONSE), MALFORMED),
    "pointer loop": (
        raw(QUESTION + record(A, b"1234", b"\1x" + (0xC000 | AT).to_bytes(2, "big")), ONE, RESPONSE),
        MALFORMED,
    ),
    "pointer into the header": (raw(QUESTION + record(A, b"1234", b"\xc0\x04"), ONE, RESPONSE), MALFORMED),
    "pointer cut": (raw(QUESTION + b"\xc0", ONE, RESPONSE), MALFORMED),
    "label type 01": (raw(QUESTION + record(A, b"1234", b"\x41x\0"), ONE, RESPONSE), MALFORMED),
    "two OPT": (raw(QUESTION + opt() * 2, (1, 0, 0, 2), RESPONSE), MALFORMED),
    "OPT among answers": (raw(QUESTION + opt(), ONE, RESPONSE), MALFORMED),
    "OPT with a name": (raw(QUESTION + record(OPT, owner=TO_QUESTION), (1, 0, 0, 1), RESPONSE), MALFORMED),
    "option longer than OPT": (raw(QUESTION + opt(options=b"\0\x0f\0\3ab"), (1, 0, 0, 1), RESPONSE), MALFORMED),
    "TSIG among authorities": (raw(QUESTION + record(TSIG), (1, 0, 1, 0), RESPONSE), MALFORMED),
    "malformed failure": (raw(QUESTION + ADDRESS[:-1], ONE, RESPONSE | 2), MALFORMED),
}


@pytest.mark.parametrize(("octets", "verdict"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(wire: ModuleType, octets: bytes, verdict: int) -> None:
    """A reply that is not wholly good becomes no entry, and the verdict says what to do about it."""
    assert wire.make_entry(QUESTION + b"\0", octets, SEED, POLICY, NOW) == verdict


def chain(count: int, at: int) -> bytes:
    """`count` pointers, each to the one before, the first to the question's name; the chain starts at offset `at`."""
    targets = [12, *range(at, at + 2 * (count - 1), 2)]
    return b"".join((0xC000 | target).to_bytes(2, "big") for target in targets)


@pytest.mark.parametrize(("pointers", "fit"), [(126, True), (127, False)])
def test_pointer_chain(wire: ModuleType, pointers: int, fit: bool) -> None:
    """A name is followed through 127 pointers and no more: else one reply could cost tens of millions of steps."""
    links = record(65280, chain(pointers, AT + 12), TO_QUESTION)
    last = 0xC000 | AT + 12 + 2 * (pointers - 1)
    body = QUESTION + links + record(A, b"1234", last.to_bytes(2, "big"))
    made = wire.make_entry(QUESTION + b"\0", raw(body, (1, 2, 0, 0), RESPONSE), SEED, POLICY, NOW)
    assert isinstance(made, bytes) is fit
