"""Where one regime ends and the next begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isnan
from typing import Any

from lazyrich._errors import InputError
from lazyrich.vocabulary.regimes import LAZY_BELOW, RICH_FROM, Regime, regimes_of_change


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where one regime ends and the next begins; every number may be changed.

    Attributes:
        lazy_below: relative change of the NTK, ‖ΔΘ‖/‖Θ₀‖, below which training is lazy. Over ten
            families of networks the linearisation misses 7 % of the change of the output there, in
            the median; 16 to 33 % above, and 62 to 85 % from `rich_from` on.
        rich_from: the same from which training is rich, and below which it is intermediate.
        turned_from: distance 1 − cos of the sample-centred kernels from which the kernel is said to
            have turned and not only grown or shrunk. It names what happened and decides nothing.
        frozen_below: change of the output, in units of the distance to the fit, below
            which nothing was learned (and nothing counts as lazy). Where that distance is not known
            the loss decides: by twice this share it falls on such a way, if it is quadratic.
        unstable_above: ratio of the last to the first loss above which training is unstable.
        alignment: total rise or fall of a layer's alignment A from which it aligns or disaligns.
        rescaling: total variation of ln‖W‖ from which a layer rescales.

    Raises:
        InputError: a threshold that is not a positive number, or lazy training beyond rich one.
    """

    lazy_below: float = LAZY_BELOW
    rich_from: float = RICH_FROM
    turned_from: float = 0.05
    frozen_below: float = 0.05
    unstable_above: float = 2.0
    alignment: float = 0.1
    rescaling: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise InputError(f"`{field.name}` must be a positive number, got {value!r}.")
        if not self.lazy_below < self.rich_from:
            raise InputError(
                f"`lazy_below` must be below `rich_from`, got {self.lazy_below:g} and "
                f"{self.rich_from:g}. Between them training is intermediate."
            )

    @classmethod
    def recorded(cls, setting: Mapping[str, Any]) -> Thresholds:
        """Those that a history was saved with.

        Where one threshold parted lazy from rich, as in version 0.2, lazy ends there, and rich
        begins as many times higher as by default.

        Args:
            setting: the setting as `dataclasses.asdict` gave it.

        Raises:
            InputError: a number out of its range.
            TypeError: names that no version had.

        Example:
            >>> old = Thresholds.recorded({"rich_from": 0.1, "turned_from": 0.05})
            >>> old.lazy_below, old.rich_from
            (0.1, 1.0)
        """
        if has_one_threshold(setting):
            once = setting["rich_from"]
            setting = {
                **setting,
                "lazy_below": once,
                "rich_from": once * (RICH_FROM / LAZY_BELOW),
            }
        return cls(**setting)

    def is_frozen(self, change: float, output_change: float, loss_ratio: float) -> bool:
        """Whether training learned too little to say more.

        Args:
            change: the most that ‖ΔΘ‖/‖Θ₀‖ may be.
            output_change: ‖Δf‖ in units of the distance to the fit; NaN if not known.
            loss_ratio: the last loss over the first; NaN if not known.

        Example:
            >>> Thresholds().is_frozen(0.02, 0.01, 0.98)
            True
        """
        moved = abs(loss_ratio - 1) / 2 if isnan(output_change) else output_change
        return moved < self.frozen_below and change < self.lazy_below

    def regimes(self, low: float, high: float) -> tuple[Regime, ...]:
        """The regimes that a change of the kernel between two numbers may belong to.

        Args:
            low: lower end of what is known of ‖ΔΘ‖/‖Θ₀‖.
            high: upper end.
        """
        return regimes_of_change(low, high, lazy_below=self.lazy_below, rich_from=self.rich_from)


def has_one_threshold(setting: Mapping[str, Any]) -> bool:
    """Whether a history was saved when one threshold parted lazy from rich.

    Args:
        setting: its thresholds.
    """
    return "rich_from" in setting and "lazy_below" not in setting
