"""Which solved models describe a network and its data: what they assume, predict, and miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._arguments import as_number
from lazyrich._errors import InputError
from lazyrich.study.matching.case import Case, as_weights, require_shapes
from lazyrich.study.matching.recursion import DescentRun, descend, small_rate
from lazyrich.study.matching.theories import CANDIDATES, SEEN, Candidate, Prediction, Residual
from lazyrich.theory.labels import dataset, real, require_whole
from lazyrich.theory.two_layer_linear.data import MomentData
from lazyrich.theory.two_layer_linear.readout import KNOWN as OF_LINEAR
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name
from lazyrich.vocabulary.regimes import only, regimes_of_change
from lazyrich.vocabulary.shared import NTK_CHANGE

if TYPE_CHECKING:
    from torch import nn

QUANTITIES = (
    Quantity(
        name="loss_error",
        symbol="|ΔL|/L₀",
        meaning="difference of the predicted loss from that of gradient descent, of the first loss",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="ntk_change_error",
        symbol="|Δ(‖ΔΘ‖/‖Θ₀‖)|",
        meaning="difference of the predicted kernel change from that of gradient descent",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="assumption_gap",
        symbol="max r/tol",
        meaning="worst residual of a theory's assumptions, in units of its tolerance",
        low=0.0,
        source=DERIVED,
    ),
)
KNOWN = by_name(QUANTITIES, (NTK_CHANGE,)) | {"loss": OF_LINEAR["loss"]}
UNIT = 1e-12  # tolerance of what is counted, whose unit is one


@dataclass(frozen=True, kw_only=True)
class TheoryMatch:
    """One solved model beside the network.

    Attributes:
        name: name of the model in `lazyrich.theory`.
        residuals: residuals of what it assumes.
        prediction: loss and kernel change after the training; None where an assumption is broken.
        loss_error: error of the loss at the start, from gradient descent; infinite without a
            prediction.
        ntk_change_error: error of the kernel change.
    """

    name: str
    residuals: tuple[Residual, ...]
    prediction: Prediction | None
    loss_error: float = inf
    ntk_change_error: float = inf

    @property
    def holds(self) -> bool:
        """Whether all of its assumptions do."""
        return all(one.holds for one in self.residuals)

    @property
    def regime(self) -> str:
        """By the predicted change of the kernel."""
        change = nan if self.prediction is None else self.prediction.ntk_change
        return str(only(regimes_of_change(change, change)))

    @property
    def sentence(self) -> str:
        """What one has to know."""
        if self.prediction is None:
            broken = "; ".join(
                f"{one.sentence.rstrip('.')} (off by {one.value:.2g})"
                for one in self.residuals
                if not one.holds
            )
            return f"{self.name} does not describe it. Broken: {broken}."
        loss, change = self.prediction.loss, self.prediction.ntk_change
        return (
            f"{self.name} describes it: it predicts a loss of {loss:.4g} and a kernel change of "
            f"{change:.3g} ({self.regime}), off gradient descent by {self.loss_error:.1e} of the "
            f"first loss and by {self.ntk_change_error:.1e}."
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class Match:
    """Solved models beside one network; printed as a table.

    Attributes:
        theories: those that describe it first, the best before the others.
        descent: gradient descent on the network itself; None of one that no theory solves.
        lr: its learning rate, of every layer, on `E‖f − y‖²`.
    """

    theories: tuple[TheoryMatch, ...]
    descent: DescentRun | None
    lr: float

    @property
    def best(self) -> TheoryMatch | None:
        """The theory that describes it with the smallest error; None if none does."""
        return self.theories[0] if self.theories[0].holds else None

    def __repr__(self) -> str:
        return "\n".join([self.headline, *(one.sentence for one in self.theories)])

    @property
    def headline(self) -> str:
        """What gradient descent does."""
        if self.descent is None:
            return "No solved model has a network of this kind, so that it was not trained."
        one = self.descent
        return (
            f"Gradient descent, {one.steps} steps of {self.lr:.3g}: loss {one.first_loss:.4g} to "
            f"{one.loss:.4g}, kernel change {one.ntk_change:.3g} "
            f"({only(regimes_of_change(one.ntk_change, one.ntk_change))})."
        )

    def to_dataset(self) -> xr.Dataset:
        """Predictions and errors over the dim `theory`, with a `regime` and a `sentence` each."""

        def along(values: Sequence[float]) -> xr.DataArray:
            return xr.DataArray(np.array(values, dtype=float), dims="theory")

        every = self.theories
        nothing = Prediction(loss=nan, ntk_change=nan)
        predicted = [one.prediction or nothing for one in every]
        found = dataset(
            {
                "loss": along([one.loss for one in predicted]),
                "ntk_change": along([one.ntk_change for one in predicted]),
                "loss_error": along([one.loss_error if one.holds else nan for one in every]),
                "ntk_change_error": along(
                    [one.ntk_change_error if one.holds else nan for one in every]
                ),
                "assumption_gap": along(
                    [
                        max(part.value / (part.tolerance or UNIT) for part in one.residuals)
                        for one in every
                    ]
                ),
            },
            KNOWN,
        )
        words = {
            "regime": "regime of the network",
            "sentence": "what the theory says of the network",
        }
        for name, said in words.items():
            texts = np.array([getattr(one, name) for one in every])
            found[name] = xr.DataArray(texts, dims="theory", attrs={"long_name": said})
        return found.assign_coords(theory=[one.name for one in every])


def match(
    weights: Sequence[ArrayLike] | nn.Module,
    data: tuple[Any, Any] | MomentData,
    *,
    output_scale: float = 1.0,
    lr: float | None = None,
    steps: int | None = None,
) -> Match:
    """Find the solved models that describe a network: what each assumes, predicts and misses.

    The assumptions are measured on these weights and data. A theory whose assumptions hold is
    evaluated, and its loss and kernel change after a training are set beside gradient descent on
    the very network, `θ ← θ − η ∇E‖f − y‖²`, step by step; its error is that of a step, too.
    A theory with a broken assumption says by how much, and is not evaluated.

    Args:
        weights: matrices (outputs, inputs) from the first layer on; vectors of one length for a
            diagonal network `f = γ Σ u_i w_i x_i`; or a module of linear layers.
        data: `(inputs, targets)`, arrays or tensors; or moments, where weights are given.
        output_scale: γ of given weights; that of a module is seen in its output.
        lr: η; None for one that is close to the flow.
        steps: how many; None until all but a thousandth of the excess loss is gone.

    Returns:
        A `Match`, which prints as one sentence a theory; `to_dataset()` has the numbers.

    Raises:
        InputError: layers that do not follow each other or do not fit the data, a module with
            other parameters, numbers out of range.

    Example:
        >>> found = match([[[0.3, -0.4]], [[0.5]]], (np.eye(2), [[1.0], [0.5]]))
        >>> [one.name for one in found.theories if one.holds]
        ['balanced_linear', 'single_neuron']
        >>> found.best.regime, found.best.loss_error < 1e-3
        ('rich', True)
    """
    case = _case(weights, data, output_scale)
    given = 1.0 if lr is None else as_number(lr)
    if given is None or not 0 < given < np.inf:
        raise InputError(f"`lr` must be a number > 0, got {lr!r}")
    made = None if steps is None else require_whole("steps", steps, 0)
    solvable = min(case.linear_gap, case.power_gap) <= SEEN and not case.biases
    rate = small_rate(case) if lr is None and solvable else given
    case = replace(case, lr=rate)
    descent = descend(case, made) if solvable else None
    theories = [_matched(one, case, descent) for one in CANDIDATES]
    # errors that differ by rounding alone are one, for an order that is the same everywhere
    order = sorted(theories, key=lambda one: (not one.holds, float(f"{one.loss_error:.1e}")))
    return Match(theories=tuple(order), descent=descent, lr=rate)


def _case(
    weights: Sequence[ArrayLike] | nn.Module, data: tuple[Any, Any] | MomentData, scale: float
) -> Case:
    """The network and its data as they are given."""
    gamma = as_number(scale)
    if gamma is None or not np.isfinite(gamma) or gamma == 0:
        raise InputError(f"`output_scale` must be finite and not 0, got {scale!r}")
    inputs = targets = None
    if not isinstance(data, MomentData):
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise InputError(
                f"`data` must be a pair (inputs, targets) or MomentData, got {type(data).__name__}"
            )
        inputs, targets = (_rows(name, of) for name, of in zip(("x", "y"), data, strict=True))
        data = MomentData.from_samples(inputs, targets)
    case = Case(weights=(), data=data, inputs=inputs, targets=targets, output_scale=gamma)
    if not isinstance(
        weights, Sequence | np.ndarray
    ):  # a module; without one PyTorch is not needed
        from lazyrich.study.matching.of_module import case_of_module

        return case_of_module(weights, replace(case, output_scale=1.0))
    case = replace(case, weights=as_weights(weights))
    require_shapes(case)
    return case


def _rows(name: str, values: Any) -> np.ndarray[Any, Any]:  # noqa: ANN401 - an array or a tensor
    """Samples in rows, (n, …)."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    array = real(name, values)
    return array.reshape(len(array), -1) if array.ndim else array


def _matched(candidate: Candidate, case: Case, descent: DescentRun | None) -> TheoryMatch:
    """One theory: measured, and evaluated if it may be."""
    residuals = candidate.residuals(case)
    plain = TheoryMatch(name=candidate.name, residuals=residuals, prediction=None)
    if descent is None or not plain.holds:
        return plain
    prediction = candidate.predict(case, descent.steps)
    return replace(
        plain,
        prediction=prediction,
        loss_error=abs(prediction.loss - descent.loss) / (descent.first_loss or 1.0),
        ntk_change_error=abs(prediction.ntk_change - descent.ntk_change),
    )
