"""Whose socket of a shared address and port gets a packet: programs for SO_ATTACH_REUSEPORT_CBPF (socket(7)).

The kernel keeps an SO_REUSEPORT group as a row: who binds is put at its end, and the last one moves into the place of
one that is closed (net/core/sock_reuseport.c). A program says a place; for one that is not there the kernel falls back
to its hash. So a program that is wrong, since somebody came or went, spreads queries otherwise and loses none.
"""

import struct
from collections.abc import Sequence
from itertools import groupby

# linux/filter.h and linux/bpf_common.h: BPF_LD|W|ABS, BPF_LD|B|ABS, BPF_JMP|JEQ|K, BPF_ALU|MOD|K, BPF_ALU|ADD|K,
# BPF_RET|A; a negative offset reads from the network header (SKF_NET_OFF), or something that the kernel knows
# (SKF_AD_OFF).
_WORD, _BYTE, _EQUAL, _MODULO, _ADD, _RETURN = 0x20, 0x30, 0x15, 0x94, 0x04, 0x16
_NETWORK = 0x100000000 - 0x100000
_RANDOM = 0x100000000 - 0x1000 + 56


def _op(code: int, value: int, skip: int = 0) -> bytes:
    """One instruction; `skip`: how many are passed over when a comparison fails."""
    return struct.pack("=HBBI", code, 0, skip, value)


def _one_of(first: int, count: int) -> list[bytes]:
    return [_op(_WORD, _RANDOM), _op(_MODULO, count), _op(_ADD, first), _op(_RETURN, 0)]


def places(row: Sequence[bool]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The longest run of ours and of others' in a row of sockets, oldest first, True for ours: (first, count) each."""
    runs, at = {True: (0, 0), False: (0, 0)}, 0
    for ours, members in groupby(row):
        count = len(list(members))
        if count > runs[ours][1]:
            runs[ours] = at, count
        at += count
    return runs[True], runs[False]


def program(row: Sequence[bool], version: int, taking: bool) -> bytes | None:
    """All packets to us when `taking`, else only those from loopback: our own probes. None when nobody else is there.

    `version` is the IP version, 4 or 6.
    """
    ours, others = places(row)
    if not others[1]:
        return None
    if taking:
        return b"".join(_one_of(*ours))
    to_others, to_us = _one_of(*others), _one_of(*ours)
    if version == 4:  # the source's first octet
        checks = [_op(_BYTE, _NETWORK + 12), _op(_EQUAL, 127, len(to_us))]
    else:  # the source is ::1
        words = ((8, 0), (12, 0), (16, 0), (20, 1))
        checks = []
        for left, (offset, word) in zip((3, 2, 1, 0), words, strict=True):
            checks += [_op(_WORD, _NETWORK + offset), _op(_EQUAL, word, 2 * left + len(to_us))]
    return b"".join([*checks, *to_us, *to_others])
