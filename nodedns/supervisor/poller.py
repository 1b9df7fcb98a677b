"""The parent's one wait: descriptors and what to call when they are readable, signals among them."""

import math
import os
import select
import signal
from collections.abc import Callable, Iterable


class Poller:
    """poll(2) with a handler for each descriptor.

    Handlers must not block and must bear being called for nothing: one handler may close a descriptor whose number
    another takes over within the same wake-up.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._poll.register(fd, select.POLLIN)

    def unwatch(self, fd: int) -> None:
        """Forgets `fd`; well when it was not watched."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def close(self, fd: int) -> None:
        """Forgets and closes `fd`."""
        self.unwatch(fd)
        os.close(fd)

    def wait(self, seconds: float | None) -> None:
        """Waits for at least one descriptor or `seconds` (None or infinity: for ever), then calls the handlers."""
        # Rounded up: woken a little early, a timer would be found not due and the loop would spin until it is.
        timeout = None if seconds is None or seconds == math.inf else max(0, int(seconds * 1000) + 1)
        for fd, _ in self._poll.poll(timeout):
            handler = self._handlers.get(fd)
            if handler:
                handler()


class Signals:
    """Signals as bytes in a pipe. The handlers themselves do nothing: what a signal means is decided in the loop."""

    def __init__(self, signals: Iterable[int]) -> None:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in signals}

    def take(self) -> bytes:
        """The signals that came, one octet each; b"" for none."""
        try:
            return os.read(self.fd, 4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Puts the handlers back."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._write)
        os.close(self.fd)
