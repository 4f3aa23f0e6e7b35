"""Forecast before the first step: how rich will this network's training be?

    ρ = 4 τ ‖dJ̃/dt‖_F / ‖J̃‖_F

the relative displacement of the tangent features that fitting the data will ask for. On the
two-layer linear network with zero initial output ρ is the order parameter F of its phase diagram.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite, isnan
from typing import Any

from torch import Tensor, nn
from torch.func import grad
from torch.optim import Optimizer

from lazyrich._errors import InputError, NoDescentError
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.losses import Descent, Loss, OutputLoss, descent_along, loss_name, output_loss
from lazyrich.capture.network import Network, as_network
from lazyrich.capture.optimizer_step import Step, gradient_step, next_step
from lazyrich.probe.forecast.tangent import (
    directions,
    how_many,
    kernel_change,
    motion_by_layer,
    root_of_ratio,
    velocity_of_outputs,
)
from lazyrich.vocabulary.losses import meaning_of
from lazyrich.vocabulary.quantity import DERIVED, Quantity
from lazyrich.vocabulary.regimes import Regime

LAZY_BELOW = 0.1  # and at it, which is where a dial is set
RICH_FROM = 1.0
STABLE_FROM = 0.5  # steps to the fit
NOTICEABLE = 0.1  # relative to the loss
NEGLIGIBLE_OUTPUT = 1e-4  # relative to the distance to the fit
MEANINGS = {
    Regime.LAZY: "the network will stay close to its linearisation",
    Regime.INTERMEDIATE: "the features will move somewhat",
    Regime.RICH: "the features will be learned",
}


QUANTITIES = (
    Quantity(
        name="richness",
        symbol="ρ",
        meaning="relative displacement of the tangent features that fitting will ask for",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="time_to_fit",
        symbol="τ",
        meaning="time to fit along the first step, by a quadratic model of the loss",
        units="steps",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="predicted_ntk_change",
        symbol="‖Θ(θ₀ + τv) − Θ₀‖/‖Θ₀‖",
        meaning="relative change of the kernel after one virtual step to the fitted point",
        low=0.0,
        source=DERIVED,
    ),
)


@dataclass(frozen=True, kw_only=True)
class LayerShare:
    """One layer's part in the forecast.

    Attributes:
        motion: its share of ‖dJ̃/dt‖², hence of ρ²; the shares of all layers add up to 1.
        kernel: its share of ‖J̃‖², the trace of the kernel; these add up to 1, too.
    """

    motion: float
    kernel: float


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What training will do to the features, known before the first step. `print` it.

    Attributes:
        richness: ρ ≥ 0; ≪ 1 is lazy, ≳ 1 is rich.
        stderr: its standard error over the random output directions; 0 if the norms are exact.
        time_to_fit: τ, in steps of the optimiser (without one: steps of gradient descent with
            learning rate 1).
        layers: the share of every layer, by its path in `named_modules()`.
        predicted_ntk_change: ‖Θ(θ₀ + τv) − Θ₀‖/‖Θ₀‖ after one virtual step to the fitted point.
            It follows the directions that are learned first; where it is below 1, training was
            measured to change the NTK at least twice as much, in the median 19 times. Far above 1
            it can be too large.
        ntk_change_stderr: its standard error; 0 if exact.
        initial_loss: the loss before training.
        loss: its name.
        notes: what else one has to know, in sentences.
    """

    richness: float
    stderr: float
    time_to_fit: float
    layers: Mapping[str, LayerShare]
    predicted_ntk_change: float
    ntk_change_stderr: float
    initial_loss: float
    loss: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        later = "; directions that are learned later add to that"
        lines = [
            f"Richness ρ = {_with_error(self.richness, self.stderr)}, {self.regime}: "
            f"{MEANINGS[self.regime]}.",
            "The NTK changes by "
            f"{_with_error(self.predicted_ntk_change, self.ntk_change_stderr)} of its size in one "
            "virtual step to the fitted point"
            f"{later if self.predicted_ntk_change < 1 else ''}.",
            f"Time to fit: {self.time_to_fit:.3g} steps. Initial loss: {self.initial_loss:.4g} "
            f"({meaning_of(self.loss)}).",
            f"{'share of':>{self._margin}}   motion   kernel",
        ]
        lines += [
            f"{name or '(the model itself)':>{self._margin}}   {s.motion:6.1%}   {s.kernel:6.1%}"
            for name, s in self.layers.items()
        ]
        return "\n".join([*lines, *self.notes])

    def to_json(self) -> str:
        """As text, for the attributes of a saved history."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Forecast:
        """From the text that `to_json` made.

        Raises:
            InputError: other text.
        """
        try:
            fields = json.loads(text)
            layers = {name: LayerShare(**share) for name, share in fields.pop("layers").items()}
            return cls(**{**fields, "layers": layers, "notes": tuple(fields["notes"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"a forecast must be what `to_json` made, got {text[:80]!r}."
            ) from error

    @property
    def regime(self) -> Regime:
        """Lazy up to ρ = 0.1, rich from ρ = 1, intermediate in between."""
        if float(f"{self.richness:.3g}") <= LAZY_BELOW:  # as it is printed
            return Regime.LAZY
        return Regime.INTERMEDIATE if self.richness < RICH_FROM else Regime.RICH

    @property
    def _margin(self) -> int:
        return max(8, *(len(name or "(the model itself)") for name in self.layers))


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network at the start of its training: everything that ρ is made of, except the norms.

    Attributes:
        network: the model on the batch.
        loss: the loss as a function of the outputs.
        step: velocity v and rates η.
        outputs: f.
        descent: how the loss falls along ḟ.
        time_to_fit: τ, in units of the step.
        distance_to_fit: ‖τḟ‖, how far the outputs have to travel.
    """

    network: Network
    loss: OutputLoss
    step: Step
    outputs: Tensor
    descent: Descent
    time_to_fit: float
    distance_to_fit: float


def forecast(
    model: nn.Module,
    batch: tuple[Any, Any] | list[Any],
    loss: Loss = "mse",
    *,
    optimizer: Optimizer | None = None,
    exact: bool = False,
    probes: int = 16,
    seed: int = 0,
) -> Forecast:
    """Forecast how rich the training of a model will be, before its first step.

    ρ = 4 τ ‖dJ̃/dt‖_F / ‖J̃‖_F, with the tangent features J̃ = J·diag(√η), moving along the
    optimiser's own first step v, and the time to fit τ = −⟨r, ḟ⟩/⟨Hḟ, ḟ⟩ (r, H: first and
    second derivative of the loss by the outputs; ḟ = Jv), at most −2L/⟨r, ḟ⟩ for the losses that
    have a name: they cannot fall below 0. A factor on the loss or on all learning rates cancels;
    only ratios of learning rates matter. The model is left bitwise as it was.

    Args:
        model: any `torch.nn.Module`; measured in eval mode.
        batch: `(inputs, targets)`; inputs are a tensor, a tuple of positional arguments, or a
            dict of keyword arguments. The first dimension of the outputs counts the samples.
        loss: `"mse"` (as `torch.nn.MSELoss`), `"squared_error"` (E‖f − y‖², summed over outputs),
            `"cross_entropy"`, or `(outputs, targets) -> scalar`.
        optimizer: SGD, Adam or AdamW, also inside `SpeedLimited`; None is gradient descent with
            equal learning rates.
        exact: norms by a loop over all outputs instead of random directions.
        probes: number of random output directions, ≥ 2; each costs some four gradients.
        seed: of the random directions.

    Returns:
        The forecast.

    Raises:
        InputError: a batch, loss, model or optimiser that do not fit together; nothing to learn.

    Example:
        >>> import torch
        >>> u = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
        >>> w = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
        >>> net[0].weight.data, net[1].weight.data = w, u
        >>> x = torch.ones(1, 1, dtype=torch.float64)
        >>> forecast(net, (x, 3 * x)).richness  # F = B/(A ½(P + Q)) = 12/(4 · 1)
        3.0

    Reference:
        The order parameter of Xu & Ziyin, arXiv:2401.07085, carried over to any network.
    """
    start = start_of_training(model, batch, loss, optimizer, probes)
    with undisturbed(start.network.module, twice=True):
        number = how_many(start.outputs, probes, exact)
        rho, error, layers = measured_richness(start, number, seed)
        network, step, tau = start.network, start.step, start.time_to_fit
        fitted = {name: p + tau * step.velocity[name] for name, p in network.theta.items()}
        es = directions(start.outputs, number, seed + 1)
        changes = kernel_change(network, network.theta, fitted, step.rates, es)
        change, change_error = root_of_ratio(*changes, exact=number is None)
        return Forecast(
            richness=rho,
            stderr=error,
            time_to_fit=tau,
            layers=layers,
            predicted_ntk_change=change,
            ntk_change_stderr=change_error,
            initial_loss=start.descent.loss,
            loss=loss_name(loss),
            notes=(
                *network.notes,
                *step.notes,
                *_remarks(start, change),
                *(overshoot(tau) if optimizer is not None else ()),
            ),
        )


def richness(
    model: nn.Module,
    batch: tuple[Any, Any] | list[Any],
    loss: Loss = "mse",
    *,
    optimizer: Optimizer | None = None,
    exact: bool = False,
    probes: int = 16,
    seed: int = 0,
) -> float:
    """The richness number ρ alone; see `forecast` for its meaning and the arguments.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1))
        >>> x = torch.randn(8, 3)
        >>> 0.01 < richness(net, (x, x[:, :1])) < 1
        True
    """
    start = start_of_training(model, batch, loss, optimizer, probes)
    with undisturbed(start.network.module, twice=True):
        return measured_richness(start, how_many(start.outputs, probes, exact), seed)[0]


def start_of_training(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - checked here
    loss: Loss,
    optimizer: Optimizer | None,
    probes: int,
) -> Start:
    """Check everything that the user gave, and take the first step's measures.

    Raises:
        InputError: see `forecast`.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(
            f"`batch` must be a pair (inputs, targets), got a {type(batch).__name__}. "
            "Pass the inputs and the targets of one batch."
        )
    if probes < 2:
        raise InputError(f"`probes` must be ≥ 2 to have a standard error, got {probes}.")
    network = as_network(model, batch[0])
    with undisturbed(network.module, twice=True):
        outputs = network(network.theta)
        if not outputs.isfinite().all():
            raise InputError(
                "the model's outputs must be finite, got NaN or infinity on finite inputs. "
                "Look for a division by zero or weights that are too large."
            )
        return _start(network, output_loss(loss, outputs, batch[1]), optimizer)


def _start(network: Network, loss: OutputLoss, optimizer: Optimizer | None) -> Start:
    gradient = grad(lambda theta: loss(network(theta)))(network.theta)
    if optimizer is None:
        step = gradient_step(gradient)
    else:
        step = next_step(optimizer, network.module, network.theta, gradient)
    outputs, f_dot = velocity_of_outputs(network, step.velocity)
    fall = descent_along(loss, outputs, f_dot)
    tau = fall.time_to_fit
    if isnan(tau):
        raise NoDescentError(
            f"the first step must lead towards a minimum of the loss, got slope {fall.slope:.3g} "
            f"and curvature {fall.curvature:.3g} of the loss along it. The data may be fitted "
            "already, the loss may be linear in the outputs, or weight decay may outweigh the "
            "gradient."
        )
    return Start(
        network=network,
        loss=loss,
        step=step,
        outputs=outputs,
        descent=fall,
        time_to_fit=tau,
        distance_to_fit=tau * f_dot.double().norm().item(),
    )


def measured_richness(
    start: Start, number: int | None, seed: int
) -> tuple[float, float, dict[str, LayerShare]]:
    """ρ, its standard error, and every layer's share.

    Args:
        start: the network at the start of its training; call this inside `undisturbed`.
        number: of random output directions; None for exact norms.
        seed: of the random directions.
    """
    es = directions(start.outputs, number, seed)
    still, moving = motion_by_layer(start.network, start.step.velocity, start.step.rates, es)
    b = [sum(column) for column in zip(*still.values(), strict=True)]
    a = [sum(column) for column in zip(*moving.values(), strict=True)]
    value, error = root_of_ratio(a, b, exact=number is None)
    layers = {
        layer: LayerShare(
            motion=sum(moving[layer]) / sum(a) if sum(a) else 0.0,
            kernel=sum(still[layer]) / sum(b),
        )
        for layer in still
    }
    return 4 * start.time_to_fit * value, 4 * start.time_to_fit * error, layers


def _remarks(start: Start, change: float) -> tuple[str, ...]:
    size = start.outputs.double().norm().item() / start.distance_to_fit
    remarks = []
    if size > NEGLIGIBLE_OUTPUT:
        remarks.append(
            f"The initial output is not zero ({size:.2g} of the distance to the fit): "
            "ρ counts the distance from there."
        )
    fall = start.descent
    if fall.least < -NOTICEABLE * abs(fall.loss):
        remarks.append(
            f"By its curvature at the start the loss would fall to {fall.least:.3g} along the "
            "first step. "
            + (
                "It cannot be negative: τ is the time at which a quadratic model touches 0."
                if fall.nonnegative
                else "If it cannot be negative, τ and ρ are too large; the losses that have a "
                "name know that they cannot."
            )
        )
    if not isfinite(change):
        remarks.append("The virtual step to the fitted point overflows: far on the rich side.")
    return tuple(remarks)


def overshoot(time_to_fit: float) -> tuple[str, ...]:
    """A note if gradient descent on a quadratic loss would diverge along its first step: τ < ½.

    Args:
        time_to_fit: in steps of the optimiser.
    """
    if time_to_fit >= STABLE_FROM:
        return ()
    return (
        f"One step of the optimiser goes {1 / time_to_fit:.3g} times as far as the fit, and "
        f"training may diverge. Divide the learning rates by {10 / time_to_fit:.2g} to fit in ten "
        "steps.",
    )


def _with_error(value: float, error: float) -> str:
    return f"{value:.3g} ± {error:.1g}" if error else f"{value:.3g}"
