"""kube-dns's endpoints as they were last known, kept over a reboot: with a broken package nobody can ask for them."""

import os
from contextlib import suppress

from nodedns.config import ConfigError, Endpoint
from nodedns.config_servers import MAX_FALLBACK, endpoint
from nodedns.journal import log


def _path() -> str | None:
    directory = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return f"{directory}/fallback" if directory else None


def load() -> tuple[Endpoint, ...]:
    """One endpoint a line. What is not one is passed over: it will be known better soon."""
    path, found = _path(), []
    with suppress(FileNotFoundError), open(path or "", encoding="ascii", errors="replace") as file:
        for line in file.read(4096).splitlines()[:MAX_FALLBACK]:
            with suppress(ConfigError):
                found.append(endpoint(line))
    return tuple(found)


def save(fallback: tuple[Endpoint, ...]) -> None:
    """Without a state directory, nothing. A disk that is full is logged and changes nothing else."""
    if (path := _path()) is None:
        return
    try:
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write("".join(f"{at}\n" for at in fallback))
        os.rename(f"{path}.new", path)
    except OSError as error:
        log("file_error", f"{path}: {error.strerror}", file=path)
