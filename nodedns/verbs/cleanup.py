"""`nodedns cleanup`: takes whatever a service has left on this machine away, read from the machine itself."""

import contextlib
import os
from pathlib import Path

from nodedns.config_model import NODE_CACHE, NODE_CACHE_LINK
from nodedns.host import apply, node_cache
from nodedns.host.errors import ChangeError
from nodedns.supervisor import memory
from nodedns.supervisor.errors import HostError
from nodedns.supervisor.owner import named
from nodedns.verbs.errors import Failed
from nodedns.verbs.files import Source

STATE_DIR = Path("/var/lib/nodedns")
"""The unit's StateDirectory."""
STATE_FILES = ("failopen.nft", "fallback")


def of_node_cache(source: Source) -> int:
    """Link and rules that a node-cache has left, also beside a service that runs. Failed while a node-cache runs: it
    would put them back."""
    if running := next(named(NODE_CACHE), None):
        raise Failed(f"{running} runs, and would put back what it has made; delete its DaemonSet from this node first")
    try:
        node_cache.remove(source.load().node.interface == NODE_CACHE_LINK, print)
    except ChangeError as error:
        raise Failed(str(error)) from None
    return 0


def cleanup(source: Source, force: bool) -> int:
    """Rules, links, run and state files. Failed while a service runs, unless `force`d: it would put them back."""
    run_dir = Path(source.run_dir())
    there = run_dir.exists()
    try:
        if not force:
            memory.lock(str(run_dir))  # held until we end: nobody starts meanwhile
        apply.clean_up(print)
    except HostError as error:
        raise Failed(f"{error}, then clean up (--force does not ask)") from None
    except ChangeError as error:
        raise Failed(str(error)) from None
    memory.remove(str(run_dir))
    with contextlib.suppress(OSError):  # systemd's, or somebody's file is in it
        run_dir.rmdir()
    if there and not run_dir.exists():
        print(f"removed {run_dir}")
    for path in (STATE_DIR / name for name in STATE_FILES):
        if path.exists():
            os.unlink(path)
            print(f"removed {path}")
    return 0
