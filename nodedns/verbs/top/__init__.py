"""`nodedns top`: what is asked, by whom, and how fast it is answered; live, from shared memory alone.

The service knows nothing of it: its files are mapped read-only, so it costs nobody anything, and a dead service is
looked at like a living one.
"""

import json
import shutil
import sys
import time

from nodedns.verbs.files import Source
from nodedns.verbs.top.reading import Reader
from nodedns.verbs.top.screen import ASCII, UNICODE, Look, screen
from nodedns.verbs.top.terminal import TICK, show
from nodedns.verbs.top.watch import Watch


def top(source: Source, interval: float, once: bool, as_json: bool) -> int:
    """Shows it each `interval` seconds; with `once` one interval as text, with `as_json` each as a line of JSON. 0; 1
    when it is asked once and nobody is alive."""
    watch = Watch(Reader(source))
    if not (once or as_json):
        show(watch, interval)
        return 0
    while True:
        _pass(watch, interval)
        _print(watch, interval, as_json)
        if once or not watch.reader.alive:
            return 0 if watch.reader.alive else 1


def _pass(watch: Watch, interval: float) -> None:
    """An interval; a dead service has none."""
    ends = time.monotonic() + interval
    while watch.reader.alive and (left := ends - time.monotonic()) > 0:
        time.sleep(min(TICK, left))
        watch.hear()
    watch.look()


def _print(watch: Watch, interval: float, as_json: bool) -> None:
    if as_json:
        print(json.dumps(watch.report()), flush=True)
        return
    width, height = shutil.get_terminal_size()
    marks = UNICODE if "utf" in (sys.stdout.encoding or "").lower() else ASCII
    lines = screen(watch, Look(interval=interval), width, height, marks)[:-1]
    print("\n".join(line.text.rstrip() for line in lines).rstrip())
