"""How far a study is: a bar on a terminal, a line now and then anywhere else; all on stderr."""

from __future__ import annotations

import sys
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

LINE_EVERY = 60.0  # seconds between lines where there is no terminal


class Meter:
    """Shows points done, failed, their rate and the time left.

    Args:
        name: name of the study.
        points: points of the study.
        done: points that are stored already.
        shown: False for silence.

    Example:
        >>> with Meter("scales", points=10, done=4, shown=False) as meter:
        ...     meter.advance(2, failed=1)
        ...     meter.text(seconds=4.0)
        '6 of 10 points, 1 failed, 0.5 a second, 8 s left'
    """

    def __init__(self, name: str, *, points: int, done: int, shown: bool = True) -> None:
        self.name, self.points, self.done = name, points, done
        self.failed = self._new = 0
        terminal = sys.stderr.isatty()
        self._lines = shown and not terminal
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
        )
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, disable=not (shown and terminal))
        self._task = self._bar.add_task(name, total=points, completed=done, text=self.text(0.0))

    def __enter__(self) -> Self:
        self._start = self._told = monotonic()
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if not self._bar.disable:
            self._bar.stop()

    def advance(self, points: int, *, failed: int = 0) -> None:
        """Count points that were run, and how many of them failed."""
        self.done += points
        self.failed += failed
        self._new += points
        now = monotonic()
        text = self.text(now - self._start)
        self._bar.update(self._task, completed=self.done, text=text)
        if self._lines and now - self._told > LINE_EVERY:
            self._told = now
            self.say(text)

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self._bar.console.print(
            f"{self.name}: {text}", markup=False, highlight=False, soft_wrap=True
        )

    def text(self, seconds: float) -> str:
        """The state after so many seconds."""
        parts = [f"{self.done} of {self.points} points", f"{self.failed} failed"]
        if self._new and seconds:
            rate = self._new / seconds
            left = max(0, self.points - self.done) / rate
            parts += [f"{rate:.3g} a second", f"{duration(left)} left"]
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """A time in its two largest units.

    Example:
        >>> duration(8.4), duration(125), duration(3 * 86400 + 7200)
        ('8 s', '2 min 5 s', '3 d 2 h')
    """
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
