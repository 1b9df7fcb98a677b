"""A terminal with somebody at it: tmux, with its own server, a shell, keys and captures. Nothing sleeps: what is
awaited is looked for until it is there."""

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.service.service import DEADLINE, ROOT


class Terminal:
    """Of `width` columns and `height` lines."""

    def __init__(self, home: Path, width: int = 80, height: int = 24) -> None:
        self._socket = str(home / "tmux")
        env = os.environ | {"LC_ALL": "C.UTF-8", "TMUX": ""}
        size = ("-x", str(width), "-y", str(height))
        command = ["tmux", "-u", "-S", self._socket, "-f", "/dev/null", "new-session", "-d", *size, "sh"]
        subprocess.run(command, cwd=ROOT, env=env, check=True)
        try:
            self.await_(str.strip, "prompt")
        except AssertionError:
            self.close()
            raise

    def tmux(self, *words: str) -> str:
        """What a tmux command says."""
        command = ["tmux", "-u", "-S", self._socket, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def run(self, *words: object) -> None:
        """Types a command line; when it has ended, its exit code is shown."""
        self.tmux("send-keys", "-l", " ".join(map(str, words)) + "; echo ended with $?")
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """By tmux's names."""
        self.tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        """Of the window."""
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """What is on it, without blanks at the end of lines."""
        return self.tmux("capture-pane", "-p")

    def await_(self, there: Callable[[str], object], what: str) -> str:
        """Looks until `there` holds; the screen it held for."""
        ends = time.monotonic() + DEADLINE
        while True:
            screen = self.screen()
            if there(screen):
                return screen
            assert time.monotonic() < ends, f"no {what} on the screen:\n{screen}"

    def line(self, text: str) -> str:
        """The first line with `text`, once there is one."""
        screen = self.await_(lambda screen: text in screen, text)
        return next(line for line in screen.splitlines() if text in line)

    @property
    def as_before(self) -> bool:
        """Is it as a program found it: its usual screen and cursor, and what is typed is echoed, a line at a time?"""
        modes = self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{pane_tty}").split()
        settings = subprocess.run(["stty", "-aF", modes[2]], capture_output=True, text=True, check=True).stdout.split()
        return modes[:2] == ["0", "1"] and {"icanon", "echo", "isig", "icrnl", "opost"} <= set(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """It goes, and what runs in it is told so."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False)
