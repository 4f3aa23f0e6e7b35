"""How far a command is: a bar on a terminal, a line now and then anywhere else; all on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from lazyrich.cli.show import say

LINE_EVERY = 10.0  # seconds between lines where there is no terminal


@contextmanager
def shown(what: str, steps: int) -> Iterator[Callable[[int], None]]:
    """Show how many steps of something are done.

    Args:
        what: is done.
        steps: number of steps in all.

    Yields:
        What to call with the number of steps that are done.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=steps)
            yield lambda done: bar.update(task, completed=done)
        return
    say(f"{what}, {steps:,} steps")
    told = monotonic()

    def tell(done: int) -> None:
        nonlocal told
        if done and monotonic() - told >= LINE_EVERY:
            told = monotonic()
            say(f"{what}, {done:,} of {steps:,} steps")

    yield tell
