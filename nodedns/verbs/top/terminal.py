"""The screen of `nodedns top` on a terminal, by curses; it is as it was before, however this ends."""

import curses
import os
import select
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from nodedns.verbs.errors import Failed
from nodedns.verbs.top.screen import ASCII, BAD, BOLD, KEYS, TITLE, UNICODE, VIEWS, Look, screen
from nodedns.verbs.top.watch import Watch

TICK = 0.1
"""Seconds between looks at samples, keys and size: a ring of a busy thread is soon written over."""
STEPS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Intervals that + and - step through, in seconds."""


def show(watch: Watch, interval: float) -> None:
    """Until q, Ctrl-C, SIGTERM, or the terminal is gone. Failed when there is none that can be drawn on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Failed("expected a terminal, got something else; for scripts: nodedns top --once [--json]")
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
    try:
        with suppress(KeyboardInterrupt):
            curses.wrapper(lambda window: _Terminal(window, watch, interval).run())
    except curses.error as error:
        name = os.environ.get("TERM", "")
        raise Failed(f"TERM={name!r}: {error}; set TERM, or use nodedns top --once") from error


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class _Terminal:
    def __init__(self, window: curses.window, watch: Watch, interval: float) -> None:
        self.window, self.watch = window, watch
        self.look = Look(interval=interval)
        self.marks = UNICODE if "utf" in (sys.stdout.encoding or "").lower() else ASCII
        self.going = True
        self.styles = {BOLD: curses.A_BOLD, TITLE: curses.A_UNDERLINE, BAD: curses.A_REVERSE, KEYS: curses.A_REVERSE}
        window.nodelay(True)
        with suppress(curses.error):  # a terminal that cannot hide its cursor, or has no colours, will do
            curses.curs_set(0)
            curses.use_default_colors()
            curses.init_pair(1, curses.COLOR_RED, -1)
            self.styles[BAD] = curses.A_BOLD | curses.color_pair(1)

    def run(self) -> None:
        due = 0.0
        keys = select.poll()
        keys.register(sys.stdin.fileno(), select.POLLIN)
        while self.going:
            now = time.monotonic()
            changed = self._type()
            if not self.look.paused:
                self.watch.hear()
                if now >= due:
                    self.watch.look()
                    due, changed = now + self.look.interval, True
            if changed:
                self._draw()
            if any(event & ~select.POLLIN for _, event in keys.poll(TICK * 1000)):
                return  # nobody is there any more

    def _type(self) -> bool:
        """Takes what was typed; was it anything?"""
        look, typed = self.look, False
        while (key := self.window.getch()) != curses.ERR:
            typed = True
            if key in (ord("q"), ord("Q"), 3, 4):
                self.going = False
            elif key in (ord("s"), ord("\t")):
                look.view = (look.view + 1) % len(VIEWS)
            elif key in (ord("p"), ord(" ")):
                look.paused = not look.paused
            elif key in (ord("+"), ord("=")):
                look.interval = min((step for step in STEPS if step > look.interval), default=STEPS[-1])
            elif key == ord("-"):
                look.interval = max((step for step in STEPS if step < look.interval), default=STEPS[0])
            elif key == ord("z"):
                self.watch.next_zone()
            elif key in (curses.KEY_RESIZE, ord("\f")):
                self.window.clear()
        return typed

    def _draw(self) -> None:
        height, width = self.window.getmaxyx()
        self.window.erase()
        for row, line in enumerate(screen(self.watch, self.look, width, height, self.marks)):
            style = self.styles.get(line.style, curses.A_NORMAL)
            # Not an error: the last cell of the last line is there, and the cursor cannot go behind it.
            with suppress(curses.error):
                self.window.addnstr(row, 0, line.text.ljust(width), width, style)
        self.window.refresh()
