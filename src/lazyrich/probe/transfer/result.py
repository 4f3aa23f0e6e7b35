"""What a transfer found: factors by parameter, at any size, and how to apply them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, gcd, log

import numpy as np
import xarray as xr
from torch import nn
from torch.optim import Optimizer

from lazyrich._arguments import shown, whole
from lazyrich._errors import InputError
from lazyrich.capture.isolation import unwrap
from lazyrich.capture.optimizer_step import checked_optimizer
from lazyrich.probe.one_look import preformatted
from lazyrich.probe.steer.coordinate import CoordinateCheck, coordinate_check
from lazyrich.probe.steer.untouched import refuse_begun
from lazyrich.probe.transfer.family import (
    Anatomy,
    Factors,
    NetworkFamily,
    scale_init,
    split_groups,
)
from lazyrich.probe.transfer.layout import Axis, Layout
from lazyrich.vocabulary.numerals import in_words

Shapes = Mapping[str, tuple[int, ...]]

DONE = "transferred"  # key of a group: over what its learning rates have been transferred


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Factors that make the first steps of a large network do what those of a small one do.

    `print` it; `apply` it.

    Attributes:
        small: size of the network whose hyperparameters are known.
        large: size of the network that they are for.
        data: Dataset over the sizes that were measured, see `transfer`.
        notes: what would not transfer and why, in sentences.
        layout: what the members of the family have in common.
        members: what the networks that were measured consist of, by size.
        family: the networks.

    References:
        Yang et al., arXiv:2203.03466.
    """

    small: int
    large: int
    data: xr.Dataset
    notes: tuple[str, ...]
    layout: Layout = field(repr=False)
    members: Mapping[int, Anatomy] = field(repr=False)
    family: NetworkFamily = field(repr=False)

    @property
    def axis(self) -> Axis:
        """What the size is."""
        return self.layout.axis

    def factors_at(self, size: int) -> tuple[dict[str, float], dict[str, float]]:
        """The factors on learning rates and on initial values, by key of a parameter.

        Between the sizes that were measured they follow a power of the size, and beyond the
        largest one the power that was fitted to all.

        Args:
            size: width or depth.

        Raises:
            InputError: a size that is none.
        """
        lr, init = (
            self._row(name, size, self.data[f"{name}_exponent"].values)
            for name in ("lr_factor", "init_factor")
        )
        return lr, init

    def mup_factors_at(self, size: int) -> tuple[dict[str, float], dict[str, float]]:
        """What the table of muP has in their place; NaN where it has none.

        Args:
            size: width or depth.

        Raises:
            InputError: a size that is none.
        """
        lr, init = (self._row(name, size) for name in ("mup_lr_factor", "mup_init_factor"))
        return lr, init

    def _row(self, name: str, size: int, slopes: np.ndarray | None = None) -> dict[str, float]:
        """A factor at a size, beyond the largest one by these powers; by its own if it is one."""
        if (whole(size) or 0) < 1:
            raise InputError(
                f"`size` must be a whole number ≥ 1, got {shown(size)}. Pass the size of the "
                "network "
                "to train, as `factory` takes it."
            )
        places = np.log(self.data[self.axis].values)
        values = np.log(self.data[name].transpose("parameter", self.axis).values)
        if slopes is None:
            slopes = values[:, -1] / (places[-1] - places[0])  # it was 1 at first
        beyond = max(log(size) - places[-1], 0.0)
        keys = self.data.parameter.values.tolist()
        return {
            key: exp(float(np.interp(log(size), places, row)) + beyond * float(slope))
            for key, row, slope in zip(keys, values, slopes, strict=True)
        }

    def factors(self, model: nn.Module, size: int | None = None) -> Factors:
        """The factors of a network, by parameter name.

        Args:
            model: the model of the family.
            size: its width or depth; by default that of the large network.

        Raises:
            InputError: parameters that the family does not have; a size that is none.
        """
        size = self.large if size is None else size
        lr, init = self.factors_at(size)
        parameters = unwrap(model).named_parameters()
        shapes = {name: tuple(p.shape) for name, p in parameters if p.requires_grad}
        keys = self.layout.keys_of(shapes)
        if missing := [name for name, key in keys.items() if key not in lr]:
            raise InputError(
                f"`model` must be of the family that was measured, got one with "
                f"{shown(missing)}, which it does not have. Make it by the same factory."
            )
        self._refuse_size(size, shapes)
        return Factors(
            lr={name: lr[key] for name, key in keys.items()},
            init={name: init[key] for name, key in keys.items()},
        )

    def _refuse_size(self, size: int, shapes: Shapes) -> None:
        """Refuse the model of another size, where either has been measured."""
        alike = [n for n, one in self.members.items() if self._alike(one.shapes, shapes)]
        others = [n for n in alike if n != size]
        if others or (size in self.members and not alike):
            what = f"of size {others[0]}" if others else "with other parameters or shapes"
            raise InputError(
                f"`model` must be of the size that the factors are for, got {size} and a model "
                f"{what}. Pass its own `size`."
            )

    def _alike(self, one: Shapes, other: Shapes) -> bool:
        """Of one size; networks of one depth may have several widths."""
        if self.axis == Axis.DEPTH:
            return one.keys() == other.keys()
        return all(one.get(name) == shape for name, shape in other.items())

    def apply(
        self,
        model: nn.Module,
        *,
        optimizer: Optimizer | Sequence[Optimizer],
        size: int | None = None,
    ) -> None:
        """Scale a model's init and an optimiser's learning rates, in place.

        The optimiser gets an ordinary parameter group for every factor, and nothing else is left
        behind: schedulers, checkpoints, `torch.compile` and DDP work as ever. Weight decay that
        takes the share η·λ of every weight, as AdamW's and SGD's, is divided by the factor, so that
        it decays as much a step.

        Args:
            model: the model of the family, freshly initialised as the factory does.
            optimizer: the optimiser before its first step and before a scheduler; or several of
                them.
            size: the same as for `factors`.

        Raises:
            InputError: a model of another family; an optimiser that has stepped, that has a
                scheduler, or that has been transferred already. Nothing is changed then.
        """
        given = optimizer if isinstance(optimizer, Sequence) else [optimizer]
        optimizers = [checked_optimizer(one) for one in given]
        for one in optimizers:
            _refuse_second(one, self.axis)
            refuse_begun(one, "Transfer.apply", scheduler=True)
        factors, module = self.factors(model, size), unwrap(model)
        scale_init(module, factors.init)
        for one in optimizers:
            split_groups(one, module, factors.lr)
            for group in one.param_groups:
                group[DONE] = [*group.get(DONE, ()), str(self.axis)]

    def check(
        self, *, steps: int = 10, seeds: int = 3, sizes: Sequence[int] | None = None
    ) -> CoordinateCheck:
        """A coordinate check with the transferred rates and init: the same regime at every width?

        Args:
            steps: the same as in `coordinate_check`.
            seeds: the same as in `coordinate_check`.
            sizes: at least 3 widths; by default those that were measured, or, of two, one between.

        Raises:
            InputError: a family over depths, whose layers differ; several optimisers.
        """
        if self.axis == Axis.DEPTH:
            raise InputError(
                "`check` must have a family over widths, whose layers have the same names, got "
                "one over depths. Compare `own_update` of the sizes in `data`."
            )
        family = self.family
        measured = list(self.members)

        def factory(size: int) -> nn.Module:
            model = family.made(size)
            scale_init(unwrap(model), self.factors(model, size).init)
            return model

        def optimizer(model: nn.Module, size: int) -> Optimizer:
            given = family.optimizer(model, size)
            if isinstance(given, Sequence):
                raise InputError(
                    f"`check` must have one optimiser, got {len(given)}. Compare `own_update` of "
                    "the sizes in `data`."
                )
            one = checked_optimizer(given)
            split_groups(one, unwrap(model), self.factors(model, size).lr)
            return one

        return coordinate_check(
            factory,
            family.batch,
            family.loss,
            widths=_with_one_between(measured) if sizes is None else sizes,
            optimizer=optimizer,
            steps=steps,
            seeds=seeds,
        )

    def __str__(self) -> str:
        measured = int(self.data[self.axis][-1])
        extrapolated = f" Measured up to {self.axis} {measured}." if measured < self.large else ""
        lr, init = self.factors_at(self.large)
        mup_lr, mup_init = self.mup_factors_at(self.large)
        columns = {
            "parameter": list(lr),
            "lr ×": [_factor(value) for value in lr.values()],
            "muP": [_factor(value) for value in mup_lr.values()],
            "init ×": [_factor(value) for value in init.values()],
            "muP ": [_factor(value) for value in mup_init.values()],
        }
        told = {head: column for head, column in columns.items() if any(column)}
        cells = [[head.strip(), *column] for head, column in told.items()]
        widths = [max(map(len, column)) for column in cells]
        lines = zip(*cells, strict=True)
        return "\n".join(
            [
                f"From {self.axis} {self.small} to {self.large}: multiply learning rates and "
                f"initial values by these factors.{extrapolated}",
                *(
                    "   ".join(cell.rjust(n) for cell, n in zip(line, widths, strict=True)).rstrip()
                    for line in lines
                ),
                *self.notes,
            ]
        )

    _repr_html_ = preformatted


def _with_one_between(sizes: Sequence[int]) -> list[int]:
    """Of two sizes one between, which what divides both divides, too, as the size of a head."""
    if len(sizes) > 2:
        return sorted(sizes)
    a, b = sizes
    part = gcd(a, b)
    while (between := part * round((a * b) ** 0.5 / part)) in (a, b) and part > 1:
        part //= 2
    return sorted({a, between, b})


def _factor(value: float) -> str:
    return "" if value != value else in_words(value, 3)


def _refuse_second(optimizer: Optimizer, axis: Axis) -> None:
    if any(axis in group.get(DONE, ()) for group in optimizer.param_groups):
        raise InputError(
            f"`optimizer` must not have been transferred over {axis} yet, got one whose learning "
            "rates have been. Build model and optimiser anew."
        )
