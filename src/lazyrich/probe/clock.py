"""How long measuring takes, beside all the time that passed."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass


@dataclass(kw_only=True)
class Clock:
    """Seconds within `watch` or between measurements, and those of them that went into measuring.

    Attributes:
        measuring: seconds of all measurements together.
        elapsed: seconds since the start, until the last measurement.
        cost: cost of the last measurement.
    """

    measuring: float = 0.0
    elapsed: float = 0.0
    cost: float = 0.0

    def __post_init__(self) -> None:
        self._since: float | None = None

    def start(self) -> None:
        """Count from now on."""
        self._since = time.perf_counter()

    def measured(self, start: float) -> None:
        """Count a measurement that has just ended.

        Args:
            start: `time.perf_counter()` at its beginning.
        """
        now = time.perf_counter()
        self.cost = now - start
        self.measuring += self.cost
        self.elapsed += now - (start if self._since is None else self._since)
        self._since = now

    def affords(self, budget: float | None) -> bool:
        """Whether one more measurement, and the one at the end, fit into the budget.

        Args:
            budget: share of the time that measuring may take; None for any.
        """
        if budget is None or self._since is None:
            return budget is None
        elapsed = self.elapsed + time.perf_counter() - self._since
        return self.measuring + 2 * self.cost <= budget * (elapsed + 2 * self.cost)

    @property
    def share(self) -> float:
        """Share of the time that went into measuring."""
        return self.measuring / self.elapsed if self.elapsed else 0.0

    def seconds(self) -> list[float]:
        """What `Clock` is made of, in its order."""
        return list(astuple(self))
