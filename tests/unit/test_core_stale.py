"""core.stale: the entry that is given after its end."""

import pytest

from nodedns import native
from nodedns.core.entries import DENIAL, FAILURE, SUCCESS, Entry
from nodedns.core.stale import RECHECK, is_failure, is_over, kept, revived

WIRE = bytes(12) + b"\1a\0\0\1\0\1"
RECORD = b"\1a\0\0\1\0\1" + (7).to_bytes(4) + b"\0\4\xc0\0\2\1"
NOW = 1_000_000


def entry(kind: int = SUCCESS, rcode: int = 0, expires: int = NOW) -> bytes:
    """One A record, TTL 7."""
    made = Entry(1, NOW - 9000, expires, expires, 5, 0, 7, kind, 0, rcode, WIRE + RECORD, (len(WIRE) + 7,), (1, 0, 0))
    return made.pack()


@pytest.mark.parametrize(("kind", "until"), [(SUCCESS, NOW + 60_000), (DENIAL, NOW + 60_000), (FAILURE, NOW)])
def test_kept(kind: int, until: int) -> None:
    """Only its last hour changes, and a failure's never."""
    before = Entry.unpack(entry(kind))
    after = Entry.unpack(kept(entry(kind), 60))
    assert after.stale_until == until
    assert is_failure(entry(kind)) == (kind == FAILURE)
    after.stale_until = before.stale_until
    assert after == before


@pytest.mark.parametrize(
    ("rcode", "ede", "stale_for", "life"),
    [(0, 3, 3600, RECHECK), (3, 19, 3600, RECHECK), (0, 3, 10, 10), (0, 3, 0.001, 1)],
)
def test_revived(rcode: int, ede: int, stale_for: float, life: int) -> None:
    """TTLs of 30 s, an Extended DNS Error, and a life that ends with the last second it may be given."""
    now = NOW + 500
    old = Entry.unpack(entry(rcode=rcode))
    old.stale_until = now + int(stale_for * 1000)
    new = Entry.unpack(revived(old.pack(), now))
    assert (new.inserted, new.expires, new.stale_until) == (now, now + 1000 * life, old.stale_until)
    assert new.ede == ede.to_bytes(2)
    at = new.ttl_at[0]
    assert int.from_bytes(new.wire[at : at + 4]) == RECHECK
    assert native.render(new.pack(), client(), now, 512)  # well-formed: ValueError else


def client() -> bytes:
    """A client's record with the same question."""
    return native.parse_query(b"\0\1\1\0\0\1\0\0\0\0\0\0" + WIRE[12:])[2]


def test_a_living_entry_is_given_as_it_is() -> None:
    """Another worker may have fetched it meanwhile."""
    assert not is_over(entry(expires=NOW + 1), NOW)
    assert is_over(entry(expires=NOW), NOW)
