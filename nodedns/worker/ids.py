"""Message ids no one can foresee (RFC 5452 9.2), cheaply: drawn from the kernel's generator 1,024 at a time."""

import os
from array import array
from collections.abc import Container

_ids = array("H")


def random_id() -> int:
    """A uniform 16-bit number from getrandom(2)."""
    if not _ids:
        _ids.frombytes(os.urandom(2048))
    return _ids.pop()


def free_id(held: Container[int]) -> int:
    """A random id that is not among `held`; the caller keeps `held` well below 65,536."""
    while (id_ := random_id()) in held:
        pass
    return id_
