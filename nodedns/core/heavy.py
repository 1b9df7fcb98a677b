"""The heaviest of a stream of keys, in bounded memory: whoever asks random names must not make it grow.

Misra and Gries (1982) as merged by Agarwal et al. (Mergeable Summaries, 2012): of more keys than there is room for,
what the first one without room has is taken from all, and the empty go. A weight is then too low by at most total /
(size + 1), never too high. Old weight fades, so that the list follows what happens now.
"""

import heapq
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
_NOTHING = 1e-3  # of an answer: below it a weight has faded away


class Heavy(Generic[Key]):
    """`size` keys and their weights; `total` is the weight of all that was ever added, as faded as they are."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._weights: dict[Key, float] = {}
        self.total = 0.0

    def add(self, batch: Mapping[Key, float]) -> None:
        """Weights by key. For the blink of an eye there is room for `batch`, too."""
        weights = self._weights
        for key, weight in batch.items():
            weights[key] = weights.get(key, 0.0) + weight
            self.total += weight
        if len(weights) > self._size:
            cut = heapq.nlargest(self._size + 1, weights.values())[-1]
            self._weights = {key: weight - cut for key, weight in weights.items() if weight > cut}

    def fade(self, factor: float) -> None:
        """What is there counts for `factor` of itself from now on."""
        self.total *= factor
        faded = {key: weight * factor for key, weight in self._weights.items()}
        self._weights = {key: weight for key, weight in faded.items() if weight > _NOTHING}

    def top(self, count: int) -> list[tuple[Key, float]]:
        """The `count` heaviest, each with its share of everything, heaviest first."""
        heaviest = heapq.nlargest(count, self._weights.items(), key=lambda item: item[1])
        return [(key, weight / self.total) for key, weight in heaviest]

    def __len__(self) -> int:
        return len(self._weights)
