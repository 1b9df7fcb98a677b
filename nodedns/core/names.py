"""Owner names (RFC 1035 3.1, 4.1.4): read, expand, compress. The slow twin of native/names.c and put_name() in entry.c.

A name is bytes in wire form: length octet and label, ..., zero. `bytes.lower()` is the case rule of DNS (RFC 4343): it
changes A-Z only, and a length octet is below 64, hence below "A".
"""

from dataclasses import dataclass, field

NAME_MAX = 255  # RFC 1035 2.3.4
HEADER = 12  # RFC 1035 4.1.1
MESSAGE_MAX = 65535  # what TCP's length prefix can say (RFC 1035 4.2.2)

_LABEL_MAX = 63
_POINTER = 0xC0
_POINTER_END = 0x4000  # a pointer has 14 bits
_JUMPS_MAX = 127  # a name has at most 127 labels, and a compressor puts at least one label between two pointers
_SUFFIXES_MAX = 384  # native/entry.c remembers as many; a fixed number there, because it allocates nothing


def plain_length(packet: bytes, at: int) -> int:
    """Octets of the uncompressed name at packet[at:]; 0 when it is compressed, cut or longer than 255."""
    start = at
    while at < len(packet):
        length = packet[at]
        if length > _LABEL_MAX or at + 1 + length - start > NAME_MAX:
            return 0
        at += 1 + length
        if length == 0:
            return at - start
    return 0


def expand(packet: bytes, at: int, stop: int) -> tuple[bytes, int] | None:
    """(name, offset behind it) of the name at packet[at:stop], pointers followed; None when malformed.

    A pointer must lead strictly below the lowest offset seen, so no chain loops.
    """
    name = bytearray()
    lowest, behind, jumps = at, 0, 0
    while at < stop:
        length = packet[at]
        if length <= _LABEL_MAX:
            end = at + 1 + length
            if len(name) + 1 + length > NAME_MAX or end > stop:
                return None
            name += packet[at:end]
            at = end
            if length == 0:
                return bytes(name), behind or at
            continue
        if length < _POINTER or at + 2 > stop:
            return None
        behind = behind or at + 2
        target = int.from_bytes(packet[at : at + 2], "big") & (_POINTER_END - 1)
        jumps += 1
        if target >= lowest or target < HEADER or jumps > _JUMPS_MAX:
            return None
        lowest = at = target
    return None


class TooLong(Exception):
    """The message being written would pass 65535 octets."""


@dataclass
class Writer:
    """A message being written, names compressed against those already in it."""

    out: bytearray = field(default_factory=bytearray)
    _suffixes: dict[bytes, int] = field(default_factory=dict)  # lower case -> where it stands in out

    def put(self, octets: bytes) -> None:
        """Appends octets. TooLong beyond 65535."""
        if len(self.out) + len(octets) > MESSAGE_MAX:
            raise TooLong
        self.out += octets

    def put_name(self, name: bytes, compress: bool) -> None:
        """Appends a name: as labels and a pointer where `compress` allows one. Its suffixes are remembered either way.

        TooLong when the name would not fit uncompressed: what a name takes must not depend on luck.
        """
        if len(self.out) + len(name) > MESSAGE_MAX:
            raise TooLong
        lower, at = name.lower(), 0
        while name[at]:
            known = self._suffixes.get(lower[at:])
            if known is not None and compress:
                self.out += (_POINTER << 8 | known).to_bytes(2, "big")
                return
            if known is None and len(self._suffixes) < _SUFFIXES_MAX and len(self.out) < _POINTER_END:
                self._suffixes[lower[at:]] = len(self.out)
            end = at + 1 + name[at]
            self.out += name[at:end]
            at = end
        self.out.append(0)
