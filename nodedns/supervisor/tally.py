"""The parent's counters (native/counters.h, PARENT_COUNTERS), which outlive it.

What is counted before the counters are mapped waits here: link and rules come first.
"""

from collections import Counter

from nodedns import native

# The first whose words are in the text.
_PROBLEMS = (
    ("xtables lock", "error_iptables_lock"),
    ("node.interface: ", "error_interface_add"),
    ("node.listen: ", "error_interface_check"),
    ("", "error_iptables"),
)


class Tally:
    """Counts by name; into `counters` from bind() on."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()
        self._counters: native.Memory | None = None

    def bind(self, counters: native.Memory) -> None:
        """The counters are there."""
        self._counters = counters
        for name, n in self._waiting.items():
            native.count_parent(counters, name, n)
        self._waiting.clear()

    def add(self, name: str, n: int = 1) -> None:
        """Adds to one of PARENT_NAMES."""
        if self._counters is None:
            self._waiting[name] += n
        elif n:
            native.count_parent(self._counters, name, n)

    def problem(self, text: str) -> None:
        """A change of the machine that failed, as node-cache's `errortype` tells them apart."""
        self.add(next(name for words, name in _PROBLEMS if words in text))
