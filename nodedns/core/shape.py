"""What a zone may want of its answers beyond what its servers said: nothing but the answer, addresses in turn. Pure."""

from dataclasses import replace

from nodedns.core.entries import SUCCESS, Entry

_KIND, _ROTATE = 52, 60  # offsets in struct entry


def minimal(blob: bytes) -> bytes:
    """An answer without its authority and additional sections (CoreDNS's `minimal`); a denial needs its SOA."""
    if blob[_KIND] != SUCCESS:
        return blob
    entry = Entry.unpack(blob)
    count = entry.section[0]
    if not count or count == len(entry.ttl_at):
        return blob
    last = entry.ttl_at[count - 1]
    end = last + 6 + int.from_bytes(entry.wire[last + 4 : last + 6])
    wire = entry.wire[:8] + bytes(4) + entry.wire[12:end]
    return replace(entry, wire=wire, ttl_at=entry.ttl_at[:count], section=(count, 0, 0)).pack()


def rotating(blob: bytes) -> bytes:
    """An entry whose addresses come in another order with each answer (native/render.c)."""
    return blob[:_ROTATE] + b"\1" + blob[_ROTATE + 1 :] if blob[_KIND] == SUCCESS else blob
