"""What an observable is: quantities that are measured together, and how they are read off a look.

A new observable is one file in this folder with an `Observable` in it: its quantities, their
mathematics, and the function that reads them. Nothing else has to know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lazyrich.capture.look import Look, Reference
from lazyrich.vocabulary.quantity import Quantity, by_name

Row = dict[str, float | dict[str, float]]
"""One measurement: a number a quantity, or one for each layer."""


@dataclass(frozen=True, kw_only=True)
class Observable:
    """Quantities that are measured together.

    Attributes:
        quantities: what is measured; an interval brings `…_low` and `…_high`, an error `…_stderr`.
        measure: reads them off a look and what it is compared with.
        default: whether they are measured unless others are chosen.
        kernel: whether the reference has to keep its kernel.
        centred: whether it has to keep its sample-centred kernel.
    """

    quantities: tuple[Quantity, ...]
    measure: Callable[[Look, Reference], Row]
    default: bool = True
    kernel: bool = False
    centred: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the quantities, and of what comes with them."""
        return tuple(by_name(self.quantities))
