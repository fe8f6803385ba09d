"""How many images may be on their way to one page: as many as keep it busy, no more than it can draw."""

from collections import deque
from dataclasses import dataclass, field

#: Images on their way: to begin with, and at most.
FIRST_WINDOW, LARGEST_WINDOW = 2, 4
#: Round trips that are compared before the window changes, and by what factor their smallest may grow.
ROUND_TRIPS, GROWTH = 12, 1.25
#: s after which a page that acknowledges nothing is given up.
PATIENCE = 10.0


@dataclass
class Flow:
    """The images on their way to one page.

    A page acknowledges an image when it is drawn, or when a newer one took its place. The window opens by one while the
    smallest round trip stays what it was: then the way there was idle part of the time. It closes by one where round
    trips grow: then images wait somewhere on the way, and are late (the idea of BBR: Cardwell et al., Queue 14 (2016)
    20).

    Attributes:
        window: how many may be on their way; `most` is the largest window.
        sent, drawn, dropped: how many images were sent, drawn, and overtaken by a newer one before they were drawn.
    """

    window: int = FIRST_WINDOW
    most: int = LARGEST_WINDOW
    sent: int = 0
    drawn: int = 0
    dropped: int = 0
    _on_way: dict[int, float] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=ROUND_TRIPS))
    _smallest: float = float("inf")
    _since_change: int = 0

    def __post_init__(self) -> None:
        self.window = min(self.window, self.most)

    @property
    def open(self) -> bool:
        """Whether another image may be sent."""
        return len(self._on_way) < self.window

    def send(self, now: float) -> int:
        """Notes that an image is sent; returns its serial number."""
        self.sent += 1
        self._on_way[self.sent] = now
        return self.sent

    def acknowledge(self, serial: int, drawn: bool, now: float) -> None:
        """Notes that the page has drawn an image, or dropped it; what was never sent is ignored."""
        began = self._on_way.pop(serial, None)
        if began is None:
            return
        self.drawn += drawn
        self.dropped += not drawn
        self._recent.append(now - began)
        self._since_change += 1
        if self._since_change >= ROUND_TRIPS:
            self._choose_window()

    def overdue(self, now: float) -> bool:
        """Whether the page has left an image unacknowledged for too long."""
        return bool(self._on_way) and now - min(self._on_way.values()) > PATIENCE

    def _choose_window(self) -> None:
        smallest = min(self._recent)
        self._smallest = min(self._smallest, smallest)
        self._since_change = 0
        if smallest <= GROWTH * self._smallest:
            self.window = min(self.window + 1, self.most)
        else:
            self.window = max(self.window - 1, min(FIRST_WINDOW, self.most))
