"""How often something happens, from a count that is looked at now and then."""

import time
from collections import deque

#: s that the frequency is a mean over.
SPAN = 2.0


class Frequency:
    """The rate at which a count grows.

    Attributes:
        last: 1/s, as of the last look.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self.last = 0.0

    def of(self, count: int) -> float:
        """Looks at the count; returns by how much it grew a second, on average over the last SPAN."""
        now = time.monotonic()
        self._seen.append((now, count))
        while self._seen[0][0] < now - SPAN:
            self._seen.popleft()
        began, first = self._seen[0]
        if now - began > SPAN / 10:
            self.last = (count - first) / (now - began)
        return self.last
