"""The solved models, each with what it assumes as numbers, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np
import xarray as xr

from lazyrich.numerics.exact import Array
from lazyrich.study.matching.case import Case
from lazyrich.study.matching.recursion import Pair, change_of_kernel
from lazyrich.theory.aligned_modes import OFF, layer_gaps, mode_flow, mode_gap, modes_of
from lazyrich.theory.balanced_linear import balanced_flow, relative_scale
from lazyrich.theory.balanced_linear.start import BALANCED_TOLERANCE
from lazyrich.theory.diagonal_linear import diagonal_limit
from lazyrich.theory.power_neurons import power_data, power_flow
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import LineData, flow
from lazyrich.theory.whitened import TOLERANCE, whiteness

SEEN = 1e-5  # of the outputs, which a module may give in single precision
ON_LINE = 1e-7  # of the inputs' norm, as moments know it
NOTHING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Residual:
    """How far a network or its data are from an assumption.

    Attributes:
        sentence: what is assumed.
        value: 0 where it holds exactly.
        tolerance: up to which it holds.
    """

    sentence: str
    value: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the theory may be used."""
        return bool(self.value <= self.tolerance)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a theory says of the network after training.

    Attributes:
        loss: `E‖f − y‖²`.
        ntk_change: `‖Θ − Θ₀‖/‖Θ₀‖`.
    """

    loss: float
    ntk_change: float


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A theory that may describe a network.

    Attributes:
        name: name of the model in `lazyrich.theory`.
        residuals: residuals of its assumptions.
        predict: what it says after a number of steps, where they hold.
    """

    name: str
    residuals: Callable[[Case], tuple[Residual, ...]]
    predict: Callable[[Case, int], Prediction]


def _count(sentence: str, off: float) -> Residual:
    return Residual(sentence=sentence, value=float(abs(off)), tolerance=0.0)


def _linear(case: Case) -> tuple[Residual, ...]:
    return (
        Residual(
            sentence="The output is linear in the inputs.", value=case.linear_gap, tolerance=SEEN
        ),
        _count("There are no biases.", case.biases),
    )


def _two_layers(case: Case) -> Residual:
    sentence = "There are two layers, of matrices."
    return _count(sentence, 1 if case.diagonal else len(case.weights) - 2)


def _one_output(case: Case) -> Residual:
    return _count("There is one output.", len(case.data.sigma_yx) - 1)


def _on_line(case: Case) -> Residual:
    return Residual(
        sentence="The inputs lie on a line through the origin.",
        value=case.line_gap,
        tolerance=ON_LINE,
    )


def _white(case: Case) -> Residual:
    off = whiteness(case.data)[1]
    return Residual(sentence="The inputs are whitened, Σ_xx = cI.", value=off, tolerance=TOLERANCE)


def _balanced(case: Case) -> tuple[Residual, ...]:
    gap = inf
    if case.two and case.output_scale:
        gap = relative_scale(case.gram, case.linear).relative_scale_residual.item()
    sentence = "The layers are λ-balanced, UᵀU − WWᵀ = λI."
    return (
        *_linear(case),
        _two_layers(case),
        _white(case),
        Residual(sentence=sentence, value=gap, tolerance=BALANCED_TOLERANCE),
    )


def _one_neuron(case: Case) -> tuple[Residual, ...]:
    neurons = 0 if case.diagonal else len(case.weights[0]) - 1
    return (
        *(*_linear(case), _two_layers(case), _one_output(case), _white(case)),
        _count("There is one hidden neuron.", neurons),
    )


def _modes(case: Case) -> tuple[Residual, ...]:
    layers = apart = inf
    if not case.diagonal:
        weights = _scaled(case)
        layers, (_, _, apart) = max(layer_gaps(weights)), mode_gap(weights, case.data)
    return (
        *(*_linear(case), _white(case)),
        _count("The layers are matrices.", case.diagonal),
        Residual(
            sentence="Neighbouring layers are balanced, W₂ᵀW₂ = W₁W₁ᵀ.", value=layers, tolerance=OFF
        ),
        Residual(
            sentence="The network has the singular vectors of its data.", value=apart, tolerance=OFF
        ),
    )


def _factors(case: Case) -> tuple[Residual, ...]:
    map_now, best = np.abs(case.map_now).max(), np.abs(case.data.best_map).max()
    return (
        *_linear(case),
        _count("Each weight multiplies one input.", not case.diagonal),
        _count("A coefficient has two factors.", len(case.weights) - 2),
        Residual(
            sentence="The output is zero at the start.",
            value=float(map_now / (best or 1.0)),
            tolerance=NOTHING,
        ),
    )


def _powers(case: Case) -> tuple[Residual, ...]:
    sentence = "The hidden neurons are a power of their inputs."
    return (
        Residual(sentence=sentence, value=case.power_gap, tolerance=SEEN),
        _count("There are no biases.", case.biases),
        *(_two_layers(case), _one_output(case), _on_line(case)),
    )


def _scaled(case: Case) -> list[Array]:
    """The layers of the network without its output scale, which all of them share."""
    share = abs(case.output_scale) ** (1 / len(case.weights))
    first, *rest = case.weights
    return [share * np.sign(case.output_scale) * first, *(share * w for w in rest)]


def _read(found: xr.Dataset) -> Prediction:
    return Prediction(loss=found.loss.item(), ntk_change=found.ntk_change.item())


def _by_line(case: Case, steps: int) -> Prediction:
    state, data = case.line
    return _read(flow(state, case.linear, data, steps))


def _by_neuron(case: Case, steps: int) -> Prediction:
    w, u = case.weights
    return _read(neuron_flow(float(u[0, 0]), w[0], case.linear, case.data, steps))


def _by_modes(case: Case, steps: int) -> Prediction:
    """All layers of balanced modes are powers of their sizes, and so is the kernel."""
    layers, depth = _scaled(case), len(case.weights)
    modes = modes_of(layers, case.data)
    lr = case.lr * abs(case.output_scale) ** (2 / depth)
    power = whiteness(case.data)[0]
    found = mode_flow(
        *(modes.mode_target, modes.mode_size, steps), depth=depth - 1, lr=lr, mean_aa=power
    )
    sizes = (modes.mode_size.values, found.mode_size.values)
    first, now = (_of_modes(size, depth, case.data.sigma_yx.shape) for size in sizes)
    return Prediction(
        loss=found.excess_loss.item() + case.data.noise, ntk_change=change_of_kernel(first, now)
    )


def _of_modes(size: Array, depth: int, shape: tuple[int, int]) -> list[Pair]:
    """What comes after and before each layer, on the diagonals of the modes."""

    def on(power: float, count: int) -> Array:
        if power == 0:
            return np.ones(count)
        return np.pad(size**power, (0, count - len(size)))

    k, m = shape
    return [(on(2 * (depth - at - 1) / depth, k), on(2 * at / depth, m)) for at in range(depth)]


def _by_factors(case: Case, _: int) -> Prediction:
    """The end of training: `u∘w` with no output is `û² − v̂²` with `α² = |γ||u² − w²|/4`."""
    u, w = case.weights
    alpha = (abs(case.output_scale) * np.abs((u - w) * (u + w))) ** 0.5 / 2
    powers, directions = case.data.spectrum
    rows = (directions * powers**0.5).T[powers > 0]
    found = diagonal_limit(
        *(rows, rows @ case.data.best_map[0]),
        factors=2,
        init_scale=xr.DataArray(alpha, dims="m"),
    )
    return Prediction(
        loss=found.loss.item() * len(rows) + case.data.noise, ntk_change=found.ntk_change.item()
    )


def _by_powers(case: Case, steps: int) -> Prediction:
    w, u = case.weights[0] @ case.direction, case.weights[1][0]
    data: LineData = case.line[1]
    if case.power != 1 and case.inputs is not None and case.targets is not None:
        data = power_data(case.inputs @ case.direction, case.targets[:, 0], power=case.power)
    return _read(power_flow(u, w, case.linear, data, steps, power=case.power))


CANDIDATES = (
    Candidate(
        name="two_layer_linear",
        residuals=lambda case: (
            *(*_linear(case), _two_layers(case), _one_output(case), _on_line(case)),
        ),
        predict=_by_line,
    ),
    Candidate(
        name="balanced_linear",
        residuals=_balanced,
        predict=lambda case, steps: _read(balanced_flow(case.gram, case.linear, case.data, steps)),
    ),
    Candidate(name="single_neuron", residuals=_one_neuron, predict=_by_neuron),
    Candidate(name="aligned_modes", residuals=_modes, predict=_by_modes),
    Candidate(name="diagonal_linear", residuals=_factors, predict=_by_factors),
    Candidate(name="power_neurons", residuals=_powers, predict=_by_powers),
)
