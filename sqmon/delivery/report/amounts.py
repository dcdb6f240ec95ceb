"""Collections of bounded size, for reports of any number of records; what finds no place is counted."""

from __future__ import annotations

import heapq
import itertools
from typing import Any, Callable, Generic, Iterator, NamedTuple, Optional, TypeVar

T = TypeVar("T")


class Largest(Generic[T]):
    """The largest of all that were added."""

    def __init__(self, most: int) -> None:
        self.total = 0
        """How many were added."""
        self._most = most
        self._heap: list[tuple[Any, int, T]] = []
        self._numbers = itertools.count()  # decides between equals, whatever they are

    def add(self, size: Any, item: T) -> None:
        """Take one more; of equals the earlier ones stay."""
        self.total += 1
        entry = (size, -next(self._numbers), item)
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapq.heapreplace(self._heap, entry)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[T]:
        """Yield them, the largest first."""
        return (item for _, _, item in sorted(self._heap, key=lambda each: each[:2], reverse=True))

    @property
    def left_out(self) -> int:
        """How many found no place."""
        return self.total - len(self._heap)


class Groups(Generic[T]):
    """What is known of each key. When there are too many, the smaller half goes and is counted."""

    def __init__(self, most: int, make: Callable[[], T], size: Callable[[T], tuple[float, ...]]) -> None:
        self.left_out = 0
        """How many groups went; one that comes again is a new one."""
        self._most = most
        self._make = make
        self._size = size
        self._groups: dict[Any, T] = {}

    def __getitem__(self, key: Any) -> T:
        """Return the group of a key, which is made when it is new."""
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= self._most:
                kept = heapq.nlargest(self._most // 2, self._groups.items(), key=lambda item: self._size(item[1]))
                self.left_out += len(self._groups) - len(kept)
                self._groups = dict(kept)
            group = self._groups[key] = self._make()
        return group

    def get(self, key: Any) -> Optional[T]:
        """Return the group of a key if there is one."""
        return self._groups.get(key)

    def __len__(self) -> int:
        return len(self._groups)

    def largest(self) -> list[tuple[Any, T]]:
        """Return keys and groups, the largest first."""
        return sorted(self._groups.items(), key=lambda item: self._size(item[1]), reverse=True)


class Bin(NamedTuple):
    """The least and the most of what was seen within a span of time."""

    start_ns: int
    least: float
    most: float


_SECOND_NS = 10**9


class Course:
    """How a number went over the time; the longer the time, the wider the spans of which least and most are kept."""

    def __init__(self, most_bins: int = 480) -> None:
        self.width_ns = _SECOND_NS
        self.peak: Optional[tuple[float, int]] = None
        """The most, and when it was first seen."""
        self._most_bins = most_bins
        self._bins: dict[int, tuple[float, float]] = {}
        self._first = self._last = 0

    def add(self, at_ns: int, value: float) -> None:
        """Take what the number was at an instant."""
        if self.peak is None or value > self.peak[0]:
            self.peak = value, at_ns
        place = at_ns // self.width_ns
        if not self._bins:
            self._first = self._last = place
        self._first, self._last = min(self._first, place), max(self._last, place)
        while self._last - self._first >= self._most_bins:
            self._widen()
            place = at_ns // self.width_ns
        self._put(place, value, value)

    def bins(self) -> list[Bin]:
        """Return the spans in which something was seen, in the order of time."""
        return [Bin(place * self.width_ns, *self._bins[place]) for place in sorted(self._bins)]

    def _put(self, place: int, least: float, most: float) -> None:
        known = self._bins.get(place)
        self._bins[place] = (least, most) if known is None else (min(least, known[0]), max(most, known[1]))

    def _widen(self) -> None:
        narrow, self._bins = self._bins, {}
        self.width_ns *= 2
        for place, (least, most) in narrow.items():
            self._put(place // 2, least, most)
        self._first, self._last = self._first // 2, self._last // 2
