"""Whether a layer lives: a gradient arrives at it, and what it gives tells samples apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot, isnan, nan

from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.capture import Layer, Positions
from lazyrich.capture.look import Look, Reference
from lazyrich.capture.norms import norm
from lazyrich.capture.padding import without_padding
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, Quantity


def _activity(look: Look, _: Reference) -> Row:
    n = len(look.f)
    size, error, spread = {}, {}, {}
    captured, at = look.capture.layers, look.capture.positions
    following = {one.name: after for one, after in pairwise(captured)}
    for layer in look.layers:
        squares = look.kept.squares[layer.name]
        of_samples = squares.mean(1) if look.random else squares.sum(1)
        size[layer.name] = float(of_samples.mean().sqrt())
        error[layer.name] = _error_of_root(of_samples)
        spread[layer.name] = _handed_on(layer, following.get(layer.name), n, at)
    return {"gradient_norm": size, "gradient_norm_stderr": error, "feature_spread": spread}


def _handed_on(layer: Layer, following: Layer | None, n: int, positions: Positions) -> float:
    """The spread of what a layer gives, or of what the next one gets of it, if that is less."""
    given = _spread([without_padding(call.outputs, positions) for call in layer.calls], n)
    if following is None:
        return given
    taken = _spread([without_padding(call.inputs, positions) for call in following.calls], n)
    return given if isnan(taken) else min(given, taken)


def _spread(values: Sequence[Tensor], n: int) -> float:
    """√(Σ(h − h̄)²/Σh²) with the mean over samples; 0 of zeros, NaN of another layout."""
    if n < 2 or any(len(one) != n or not one.is_floating_point() for one in values):
        return nan
    rows = [one.flatten(1) for one in values]
    whole = hypot(*map(norm, rows))
    return hypot(*(norm(one - one.mean(0)) for one in rows)) / whole if whole else 0.0


def _error_of_root(squares: Float[Tensor, " n"]) -> float:
    """Standard error of the root of a mean over samples; 0 of zeros, NaN of one sample."""
    if len(squares) == 1:
        return nan
    mean = squares.mean()
    return float((squares.var() / len(squares)).sqrt() / (2 * mean.sqrt())) if mean else 0.0


ACTIVITY = Observable(
    quantities=(
        Quantity(
            name="gradient_norm",
            stderr=True,
            dims=("layer",),
            symbol="‖∂f/∂z‖",
            meaning="size of the gradient of the outputs at a layer, root mean square over samples",
            units="output/feature",
            low=0.0,
            source=DERIVED,
        ),
        Quantity(
            name="feature_spread",
            dims=("layer",),
            symbol="‖h − h̄‖/‖h‖",
            meaning="share of what a layer hands on that tells samples apart",
            low=0.0,
            high=1.0,
            source=DERIVED,
        ),
    ),
    measure=_activity,
)
