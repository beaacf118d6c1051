"""A heap of timers, each with an owner: what is due next, and what is due now."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["TimerHeap"]

STALE_MAX = 64  # entries without a timer that are always put up with

Owner = TypeVar("Owner", bound=Hashable)


class TimerHeap(Generic[Owner]):
    """One timer for each owner; setting, cancelling and expiring one cost O(log n)."""

    __slots__ = ("_heap", "_numbers", "_valid")

    def __init__(self) -> None:
        # (due in ns, number, owner); an entry counts only while
        # _valid has its number.
        self._heap: list[tuple[int, int, Owner]] = []
        self._valid: dict[Owner, int] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._valid)

    def set(self, owner: Owner, due: int) -> None:
        """Sets the owner's one timer, in place of an earlier one."""
        number = self._valid[owner] = next(self._numbers)
        heapq.heappush(self._heap, (due, number, owner))
        # A timer that is set anew with each message must not fill memory with its former selves.
        if len(self._heap) > 2 * len(self._valid) + STALE_MAX:
            self._heap = [entry for entry in self._heap if self._valid.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def cancel(self, owner: Owner) -> None:
        """Takes the owner's timer away, if there is one."""
        self._valid.pop(owner, None)

    def next_due(self) -> int | None:
        """When the earliest timer is due, in ns of the monotonic clock."""
        heap = self._heap
        while heap and self._valid.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def take_due(self, now: int) -> list[Owner]:
        """Takes away the timers that are due, and returns their owners, earliest first."""
        owners = []
        while (due := self.next_due()) is not None and due <= now:
            owner = heapq.heappop(self._heap)[2]
            del self._valid[owner]
            owners.append(owner)
        return owners
