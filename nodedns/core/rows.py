"""Which row of the counters is whose. Rows go by name: a reload that adds or moves zones leaves counts where they were.

A row of a zone is one of our servers (a listen address) and the zone; one more for each server takes what no zone took.
An upstream has a row by its address. A name that is given up keeps its row until another name needs it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nodedns.config import Config, Endpoint

DROPPED = "dropped"
"""The zone of what no zone took, as in CoreDNS: refused, malformed."""
NO_ROW = 0xFFFF  # native.NO_ROW

Name = tuple[str, ...]
Place = tuple[Name | None, ...]


def server_name(listen: Endpoint) -> str:
    """As CoreDNS labels its servers."""
    return f"dns://{listen}"


def upstream_name(server: Endpoint) -> str:
    """As CoreDNS labels them (`to`)."""
    return str(Endpoint(server.address, server.port))


def upstream_of(text: str) -> str:
    """The same, of a server as it is written in a config or in status.json."""
    return text.removeprefix("tls://").partition("#")[0]


@dataclass(frozen=True, slots=True)
class Rows:
    """By number: (server, zone) of a row, (to,) of an upstream; None is free."""

    rows: Place = ()
    upstreams: Place = ()

    def row(self, listen: Endpoint, zone: str) -> int:
        """NO_ROW where there was no room."""
        name = server_name(listen), zone
        return self.rows.index(name) if name in self.rows else NO_ROW

    def upstream(self, server: Endpoint) -> int | None:
        """None where there was no room."""
        name = (upstream_name(server),)
        return self.upstreams.index(name) if name in self.upstreams else None


def wanted(config: Config) -> tuple[list[Name], list[Name]]:
    """The names that a config needs, of rows and of upstreams."""
    zones = [*(zone.name for zone in config.zones), DROPPED]
    rows: list[Name] = [(server_name(listen), zone) for listen in config.node.listen for zone in zones]
    upstreams: dict[Name, None] = {(upstream_name(at),): None for zone in config.zones for at in zone.forward}
    return rows, list(upstreams)


def placed(held: Place, names: Sequence[Name], keep: Collection[Name], size: int) -> tuple[Place, list[int]]:
    """Places for `names` among `size`, and the numbers whose name is new there: they begin with 0.

    What is held stays; free places go first, then those of names that are neither wanted nor to be kept. Names beyond
    that have none.
    """
    places = [*held[:size], *[None] * (size - len(held))]
    bound = {*names, *keep}
    free = [number for number, name in enumerate(places) if name is None]
    free += [number for number, name in enumerate(places) if name is not None and name not in bound]
    fresh = []
    for name in names:
        if name not in places and free:
            number = free.pop(0)
            places[number] = name
            fresh.append(number)
    return tuple(places), fresh
