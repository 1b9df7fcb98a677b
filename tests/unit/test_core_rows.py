"""Which row of the counters is whose, and that it stays so."""

from pathlib import Path

import pytest

from nodedns import config, native
from nodedns.core.rows import DROPPED, NO_ROW, Name, Place, Rows, placed, wanted
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.memory import counters_mark, map_all
from nodedns.supervisor.rows import RowNames, load

A, B, C, D = ("a",), ("b",), ("c",), ("d",)
SLOTS = 2


@pytest.mark.parametrize(
    ("held", "names", "keep", "places", "fresh"),
    [
        ((), [A, B], [], (A, B, None), [0, 1]),
        ((A, B), [B, C], [A], (A, B, C), [2]),  # what is given up keeps its place while there is another
        ((A, None, C), [B], [], (A, B, C), [1]),
        ((A, B, C), [D], [B, C], (D, B, C), [0]),  # then it goes
        ((A, B, C), [D], [A, B, C], (A, B, C), []),  # but nothing that runs
        ((A, B, C), [C, A], [], (A, B, C), []),  # order is nothing
    ],
)
def test_places(held: Place, names: list[Name], keep: list[Name], places: Place, fresh: list[int]) -> None:
    """Three of them."""
    assert placed(held, names, keep, 3) == (places, fresh)


def parsed(more: str = "") -> config.Config:
    return config.parse(
        f'[cluster]\ndns = "10.96.0.10"\n[[zone]]\nname = "."\nforward = ["192.0.2.1", "tls://x#y"]\n{more}'
    )


def test_wanted() -> None:
    """Each zone at each address and what was dropped there; each server once, as CoreDNS writes them."""
    rows, upstreams = wanted(parsed())
    server = "dns://169.254.20.10:53"
    assert rows == [(server, zone) for zone in (".", "cluster.local.", "in-addr.arpa.", "ip6.arpa.", DROPPED)]
    assert upstreams == [("192.0.2.1:53",), ("x:853",), ("10.96.0.10:53",)]


def test_names_outlive_the_parent(tmp_path: Path) -> None:
    """A reload's zone gets a row that begins with 0; a new parent finds the names, unless the counters are others."""
    shared, run_dir, one = map_all(str(tmp_path), 1 << 20, SLOTS), str(tmp_path), parsed()
    names = RowNames(run_dir, shared.counters, SLOTS)
    names.place(one, one)
    before = names.now
    two = parsed('[[zone]]\nname = "b.test"\nforward = ["192.0.2.2"]\n')
    names.place(two, one)
    assert names.now.rows[: len(wanted(one)[0])] == before.rows[: len(wanted(one)[0])]
    number = names.now.row(one.node.listen[0], "b.test.")
    assert number not in (NO_ROW, before.row(one.node.listen[0], "b.test."))
    assert RowNames(run_dir, shared.counters, SLOTS).now == names.now
    assert load(f"{run_dir}/rows.json", counters_mark(shared.counters)) == names.now
    (tmp_path / "counters").unlink()
    assert RowNames(run_dir, map_all(run_dir, 1 << 20, SLOTS).counters, SLOTS).now == Rows()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mark": 1}', '{"mark": "MARK", "rows": 5, "upstreams": []}'])
def test_damaged_names(tmp_path: Path, text: str) -> None:
    """Are none."""
    counters = map_all(str(tmp_path), 1 << 20, SLOTS).counters
    (tmp_path / "rows.json").write_text(text.replace("MARK", counters_mark(counters)))
    assert RowNames(str(tmp_path), counters, SLOTS).now == Rows()


def test_a_row_that_is_taken_over_begins_with_0(tmp_path: Path) -> None:
    """However many names there were."""
    counters = map_all(str(tmp_path), 1 << 20, SLOTS).counters
    names, last = RowNames(str(tmp_path), counters, SLOTS), parsed()
    for number in range(native.UPSTREAMS + 10):
        new = parsed(f'[[zone]]\nname = "z{number}.test"\nforward = ["192.0.3.{number}"]\n')
        names.place(new, last)
        assert names.now.upstream(new.zones[-1].forward[0]) is not None
        last = new
    assert len(names.now.upstreams) == native.UPSTREAMS


def test_names_that_cannot_be_written(tmp_path: Path) -> None:
    """That is the machine's fault, said as such, and what stands in the file is still what is known."""
    counters = map_all(str(tmp_path), 1 << 20, SLOTS).counters
    names = RowNames(str(tmp_path / "gone"), counters, SLOTS)
    with pytest.raises(HostError, match=r"gone/rows\.json: No such file or directory; check node\.run_dir"):
        names.place(parsed(), parsed())
    assert names.now == Rows()
