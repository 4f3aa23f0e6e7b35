"""The result of one point of a study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import xarray as xr

from lazyrich._errors import InputError

Status = Literal["fitted", "finished", "diverged", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
OUTCOME = ("status", "sentence", "seconds", "computed_on")  # that results have beside their data


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What came out of a point: how it ended, and small labelled arrays.

    A run that diverged or failed is a result too. Results are compared by identity.

    Attributes:
        status: "fitted" (the loss level was reached), "finished" (the steps are over), "diverged",
            or "failed" (an exception).
        sentence: how it ended, in words.
        data: measured arrays, with dimensions such as `step` and `layer`. Labels of a dimension
            differ from each other; a variable has the same dimensions and kind in every point.
        traceback: traceback of the exception, where there was one.
        seconds: the seconds that the point took.
        computed_on: device and precision, where the experiment has a choice of them; "" if not.

    Raises:
        InputError: if the status is not one of the four, or a field has another type.

    Example:
        >>> data = xr.Dataset({"loss": ("step", [1.0, 0.25])}, {"step": [0, 100]})
        >>> Result(status="finished", sentence="100 steps", data=data).data.loss.values
        array([1.  , 0.25])
    """

    status: Status
    sentence: str
    data: xr.Dataset = field(default_factory=xr.Dataset)
    traceback: str = ""
    seconds: float = 0.0
    computed_on: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise InputError(
                f"`status` must be one of {', '.join(STATUSES)}, got {self.status!r}. "
                "Say how the run ended."
            )
        if not isinstance(self.data, xr.Dataset):
            raise InputError(
                f"`data` must be an xarray.Dataset, got {type(self.data).__name__}. "
                "Put the arrays of the result into one."
            )
        for name in ("sentence", "traceback", "computed_on"):
            text = getattr(self, name)
            if not isinstance(text, str):
                raise InputError(f"`{name}` must be text, got {text!r}. Use str(…).")
