"""What the first step alone shows: the order parameter of the solvable network, for any network.

    ρ = 4 τ ‖dJ̃/dt‖_F / ‖J̃‖_F

the relative displacement of the tangent features that fitting the data asks for along the first
step. On the two-layer linear network with zero initial output ρ is the order parameter F of its
phase diagram.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lazyrich._errors import InputError, NoDescentError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.directions import Directions, checked_directions, random_count
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.losses import (
    Descent,
    Loss,
    OutputLoss,
    descent_along,
    output_loss,
)
from lazyrich.capture.network import Network, as_network, gradient
from lazyrich.capture.optimizer_step import (
    Step,
    checked_optimizer,
    gradient_step,
    next_step,
)
from lazyrich.capture.ownership import Ownership, by_module, ownership
from lazyrich.capture.padding import asked_outputs, counted_outputs, counted_positions
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.forecast.result import FirstStep, LayerShare
from lazyrich.probe.forecast.settled_step import adapts, settled_step
from lazyrich.probe.forecast.tangent import (
    motion_by_layer,
    output_directions,
    root_of_ratio,
    velocity_of_outputs,
)
from lazyrich.vocabulary.numerals import in_words

DIRECTION_COST = 4.0  # gradients
STABLE_FROM = 0.5  # steps to the fit
NOTICEABLE = 0.1  # relative to the loss
NEGLIGIBLE_OUTPUT = 1e-4  # relative to the distance to the fit


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
        distance_to_fit: ‖τḟ‖, how far the outputs that count have to travel.
    """

    network: Network
    loss: OutputLoss
    step: Step
    outputs: Tensor
    descent: Descent
    time_to_fit: float
    distance_to_fit: float


@exact_arithmetic()
def first_step(
    model: nn.Module,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    optimizer: Optimizer | None = None,
    directions: Directions = 16,
    seed: int = 0,
) -> FirstStep:
    """What the first step alone shows: richness ρ and time to fit τ, in some tens of gradients.

    ρ = 4 τ ‖dJ̃/dt‖_F / ‖J̃‖_F, with the tangent features J̃ = J·diag(√η), moving along the
    optimiser's own step v, and the time to fit τ = −⟨r, ḟ⟩/⟨Hḟ, ḟ⟩ (r, H: first and second
    derivative of the loss by the outputs; ḟ = Jv), at most −2L/⟨r, ḟ⟩ for the losses that have a
    name: they cannot fall below 0. A factor on the loss or on all learning rates cancels; only
    ratios of learning rates matter. For SGD v and η are those of the very first step; for
    optimisers that adapt their rates they are taken over the first few steps, of a copy.

    ρ is exact on the solvable network, and goes as one over the output scale of any network. It
    does not compare widths, depths or learning rates; `forecast` does.

    Args:
        model: the same as in `forecast`.
        batch: the same as in `forecast`.
        loss: the same as in `forecast`.
        optimizer: the same as in `forecast`.
        directions: the same as in `forecast`; each costs some four gradients.
        seed: seed of the random directions.

    Raises:
        NoDescentError: the step leads to no minimum of the loss.
        InputError: see `forecast`.

    Example:
        >>> import torch
        >>> u = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
        >>> w = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False)).double()
        >>> net[0].weight.data, net[1].weight.data = w, u
        >>> x = torch.ones(1, 1, dtype=torch.float64)
        >>> first_step(net, (x, 3 * x)).richness  # F = B/(A ½(P + Q)) = 12/(4 · 1)
        3.0

    Reference:
        The order parameter of Xu & Ziyin, arXiv:2401.07085, carried over to any network.
    """
    optimizer = None if optimizer is None else checked_optimizer(optimizer)
    network, value, outputs = checked(model, batch, loss, directions)
    return first_step_of(network, value, optimizer, random_count(directions, outputs.numel()), seed)


def first_step_of(
    network: Network,
    loss: OutputLoss,
    optimizer: Optimizer | None,
    count: int | None,
    seed: int,
) -> FirstStep:
    """The same, of a network and a loss that are checked.

    Args:
        network: the model on the batch.
        loss: the loss as a function of the outputs.
        optimizer: the user's own.
        count: number of random directions; None for all.
        seed: seed of these.
    """
    owners = ownership(network)
    with undisturbed(network.module, twice=True):
        start = _start(network, loss, optimizer)
        rho, error, layers = measured_richness(start, count, seed, owners)
    return FirstStep(
        richness=rho,
        richness_stderr=error,
        time_to_fit=start.time_to_fit,
        layers=layers,
        initial_loss=start.descent.loss,
        gradients=DIRECTION_COST * (count or start.outputs.numel()),
        notes=(
            *network.notes,
            *start.step.notes,
            *_remarks(start),
            *(overshoot(start.time_to_fit) if optimizer is not None else ()),
        ),
    )


def richness(
    model: nn.Module,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    optimizer: Optimizer | None = None,
    directions: Directions = 16,
    seed: int = 0,
) -> float:
    """The richness number ρ alone; see `first_step` for its meaning and the arguments.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 1))
        >>> x = torch.randn(8, 3)
        >>> 0.01 < richness(net, (x, x[:, :1])) < 1
        True
    """
    return first_step(
        model, batch, loss, optimizer=optimizer, directions=directions, seed=seed
    ).richness


def start_of_training(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - checked here
    loss: Loss,
    optimizer: Optimizer | None,
    directions: Directions,
) -> Start:
    """Check everything that the user gave, and take the first step's measures.

    Raises:
        InputError: see `forecast`.
    """
    optimizer = None if optimizer is None else checked_optimizer(optimizer)
    network, value, _ = checked(model, batch, loss, directions)
    with undisturbed(network.module, twice=True):
        return _start(network, value, optimizer)


def checked(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - checked here
    loss: Loss,
    directions: Directions,
) -> tuple[Network, OutputLoss, Tensor]:
    """Check everything that the user gave.

    Returns:
        The network, the loss and the outputs.

    Raises:
        InputError: see `forecast`.
    """
    x, y = inputs_and_targets(batch)
    checked_directions(directions)
    network = as_network(model, x)
    with undisturbed(network.module, twice=True):
        outputs = network(network.theta)
        if not outputs.isfinite().all():
            raise InputError(
                "the model's outputs must be finite, got NaN or infinity on finite inputs. "
                "Look for a division by zero or weights that are too large."
            )
        value = output_loss(loss, outputs, y)
        network = replace(network, counted=_counted(network, value, outputs.detach()))
        return network, value, outputs.detach()


def _counted(network: Network, loss: OutputLoss, outputs: Tensor) -> Tensor | None:
    """The outputs that are neither padded nor ignored by the loss, in their shape."""
    counted = counted_outputs(tuple(outputs.shape), counted_positions(network.inputs))
    if loss.ignoring:
        counted = asked_outputs(gradient(loss, torch.zeros_like(outputs)), counted)
    return None if counted is None else counted.view(outputs.shape)


def _start(network: Network, loss: OutputLoss, optimizer: Optimizer | None) -> Start:
    slope = gradient(lambda theta: loss(network(theta)), network.theta)
    if optimizer is None:
        step = gradient_step(slope)
    elif adapts(optimizer):
        step = settled_step(network, loss, optimizer)
    else:
        step = next_step(optimizer, network.module, network.theta, slope)
    if not any(eta.any() for eta in step.rates.values()):
        raise InputError(
            "at least one learning rate must be > 0, got 0 for every parameter: nothing will be "
            "learned. Give the rates that training will have."
        )
    outputs, f_dot = velocity_of_outputs(network, step.velocity)
    fall = descent_along(loss, outputs, f_dot)
    tau = fall.time_to_fit
    if isnan(tau):
        raise NoDescentError(
            f"the first step must lead towards a minimum of the loss, got slope "
            f"{in_words(fall.slope, 3)} and curvature {in_words(fall.curvature, 3)} of the loss "
            "along it. The data may be fitted already, the loss may be linear in the outputs, or "
            "weight decay may outweigh the gradient."
        )
    return Start(
        network=network,
        loss=loss,
        step=step,
        outputs=outputs,
        descent=fall,
        time_to_fit=tau,
        distance_to_fit=tau * network.counting(f_dot).double().norm().item(),
    )


def measured_richness(
    start: Start, count: int | None, seed: int, owners: Ownership | None = None
) -> tuple[float, float, dict[str, LayerShare]]:
    """ρ, its standard error, and every layer's share.

    Args:
        start: the network at the start of its training; call this inside `undisturbed`.
        count: number of random output directions; None for exact norms.
        seed: seed of the random directions.
        owners: the layers of the parameters; None for the modules that own them.
    """
    owners = owners or by_module(list(start.network.theta))
    es, step = output_directions(start.outputs, count, seed), start.step
    still, moving = motion_by_layer(start.network, step.velocity, step.rates, es, owners)
    b = [sum(column) for column in zip(*still.values(), strict=True)]
    a = [sum(column) for column in zip(*moving.values(), strict=True)]
    value, error = root_of_ratio(a, b, exact=count is None)
    layers = {
        layer: LayerShare(
            motion=sum(moving[layer]) / sum(a) if sum(a) else 0.0,
            kernel=sum(still[layer]) / sum(b),
        )
        for layer in still
    }
    return 4 * start.time_to_fit * value, 4 * start.time_to_fit * error, layers


def _remarks(start: Start) -> tuple[str, ...]:
    size = start.outputs.double().norm().item() / start.distance_to_fit
    remarks = []
    if size > NEGLIGIBLE_OUTPUT:
        remarks.append(
            f"The initial output is not zero ({in_words(size)} of the distance to the fit): "
            "ρ counts the distance from there."
        )
    fall = start.descent
    if fall.least < -NOTICEABLE * abs(fall.loss):
        remarks.append(
            f"By its curvature at the start the loss would fall to {in_words(fall.least, 3)} along "
            "the first step. "
            + (
                "It cannot be negative: τ is the time at which a quadratic model touches 0."
                if fall.nonnegative
                else "If it cannot be negative, τ and ρ are too large; the losses that have a "
                "name know that they cannot."
            )
        )
    return tuple(remarks)


def overshoot(time_to_fit: float) -> tuple[str, ...]:
    """A note if gradient descent on a quadratic loss would diverge along its first step: τ < ½.

    Args:
        time_to_fit: the time to fit, in steps of the optimiser.
    """
    if time_to_fit >= STABLE_FROM:
        return ()
    return (
        f"One step of the optimiser goes {in_words(1 / time_to_fit, 3)} times as far as the fit, "
        f"and training may diverge. Divide the learning rates by {in_words(10 / time_to_fit)} to "
        "fit in ten steps.",
    )
