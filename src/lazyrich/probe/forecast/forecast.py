"""Forecast before the first step: how rich will this network's training be?

Training is rehearsed on the probe batch, that of the network itself and that of its linearisation,
both with copies of the user's own optimiser. The kernel's change is read where the network ended;
how far it is from its linearisation certifies whether training is lazy.

The first step alone gives the order parameter of the solvable two-layer network, for any network:

    ρ = 4 τ ‖dJ̃/dt‖_F / ‖J̃‖_F
"""

from __future__ import annotations

from math import inf, nan

from torch import nn
from torch.optim import Optimizer

from lazyrich._errors import NoDescentError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.directions import Directions, checked_seed, random_count
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.losses import (
    Loss,
    OutputLoss,
    loss_name,
)
from lazyrich.capture.network import Network
from lazyrich.capture.optimizer_step import checked_optimizer
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets, refuse_training
from lazyrich.probe.forecast.first_step import checked, first_step_of
from lazyrich.probe.forecast.outlook import Outlook
from lazyrich.probe.forecast.rehearsal import Progress
from lazyrich.probe.forecast.result import FirstStep, Forecast, LayerShare
from lazyrich.probe.forecast.stages import RehearsalPlan, goal_of, gradient_descent, stages
from lazyrich.probe.forecast.training import Rates


@exact_arithmetic()
def forecast(
    model: nn.Module,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    optimizer: Optimizer | None = None,
    to_loss: float | None = None,
    steps: int | None = None,
    schedule: Rates | None = None,
    max_steps: int = 5000,
    max_seconds: float = inf,
    progress: Progress | None = None,
    directions: Directions = 16,
    seed: int = 0,
) -> Forecast:
    """Forecast what the training of a model will do to its features, before its first step.

    Training is rehearsed on the batch, twice, with copies of the optimiser:

    1. the network itself, to θ_net. There the kernel Θ = J diag(η) Jᵀ, with the relative learning
       rates η, is compared with that at θ₀;
    2. the linearised network f(θ₀) + J(θ₀)(θ − θ₀), to θ_lin.

    The certificate is the gap ‖f − f_lin‖/‖f_lin − f₀‖ between network and linearisation, the
    larger one of those at θ_lin and θ_net. Up to 0.1 it *holds*: the network is trained as its
    linearisation is. The model, the optimiser and all random generators are left bitwise as they
    were. Ctrl-C ends a rehearsal, and what was rehearsed so far is told.

    Args:
        model: any `torch.nn.Module`. Dropout is off; batch norms normalise by the batch.
        batch: `(inputs, targets)`; inputs are a tensor, a tuple of positional arguments, or a
            dict of keyword arguments. The first dimension of the outputs counts the samples. Or one
            mapping with both, whose `labels` are the targets and whose other entries the model
            takes by name: a batch of Hugging Face's.
        loss: `"mse"` (as `torch.nn.MSELoss`), `"squared_error"` (E‖f − y‖², summed over outputs),
            `"cross_entropy"`, or `(outputs, targets) -> scalar`.
        optimizer: any `torch.optim.Optimizer` that owns parameters of the model; None is gradient
            descent with equal learning rates, slow enough to be stable.
        to_loss: the loss at which training will stop. By default where 20 % of what could be won
            are left, or nowhere if `steps` is given.
        steps: how many steps training will make, ≥ 1; with `to_loss` what comes first.
        schedule: what multiplies the learning rates after so many steps, or a scheduler of
            `optimizer`, which is copied.
        max_steps: steps of each rehearsal, ≥ 1.
        max_seconds: seconds that may pass in both rehearsals together.
        progress: `(what, steps made, loss)`, called at every step.
        directions: random directions in the space of all outputs of the batch, ≥ 2; each costs
            some ten gradients. Where the outputs are not more, or with `"all"`, the norms are
            exact, by a loop over them.
        seed: seed of the random directions.

    Returns:
        The forecast. Its cost is about three training steps on the batch for each step rehearsed.

    Raises:
        InputError: a batch, loss, model or optimiser that do not fit together; nothing to learn.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 256), nn.Tanh(), nn.Linear(256, 1))
        >>> x = torch.randn(8, 3)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
        >>> before = forecast(net, (x, x[:, :1]), optimizer=optimizer)
        >>> before.regime, before.certificate
        ('lazy', 'holds')

    Reference:
        Lazy training as training of the linearisation: Chizat, Oyallon & Bach, arXiv:1812.07956.
        ρ is the order parameter of Xu & Ziyin, arXiv:2401.07085, carried over to any network.
    """
    checked_seed(seed)
    optimizer = None if optimizer is None else checked_optimizer(optimizer)
    refuse_training(schedule, progress)
    network, value, outputs = checked(model, batch, loss, directions)
    goal = goal_of(
        loss, value, outputs, inputs_and_targets(batch)[1],
        to_loss=to_loss, steps=steps, max_steps=max_steps, max_seconds=max_seconds,
    )  # fmt: skip
    count = random_count(directions, outputs.numel())
    first = _first_step_if_any(network, value, optimizer, count, seed)
    if optimizer is None:
        with undisturbed(network.module, twice=True):
            optimizer = gradient_descent(network, value, first.richness)
    made = stages(
        RehearsalPlan(
            network=network, loss=value, optimizer=optimizer,
            schedule=schedule, goal=goal, progress=progress, count=count, seed=seed,
        )
    )  # fmt: skip
    return Forecast(
        predicted_ntk_change=made.outlook.ntk_change,
        predicted_ntk_change_stderr=made.outlook.ntk_change_stderr,
        predicted_kernel_distance=made.outlook.kernel_distance,
        predicted_centred_kernel_distance=made.outlook.centred_kernel_distance,
        layer_ntk_change=made.outlook.layer_ntk_change,
        output_change=made.output_change,
        linearisation_gap=made.gap,
        linear=made.linear,
        network=made.network,
        goal=goal.loss,
        least_loss=goal.least,
        richness=first.richness,
        richness_stderr=first.richness_stderr,
        time_to_fit=first.time_to_fit,
        layers=_shares(first, made.outlook),
        initial_loss=first.initial_loss,
        loss=loss_name(loss),
        gradients=first.gradients + made.gradients,
        notes=tuple(dict.fromkeys((*first.notes, *made.notes))),
    )


def _shares(first: FirstStep, seen: Outlook) -> dict[str, LayerShare]:
    """Of the motion at the first step, if there is one, and of the kernel whose change is told."""
    layers = dict.fromkeys((*seen.layer_share, *first.layers))
    none = LayerShare(motion=nan, kernel=nan)
    return {
        name: LayerShare(
            motion=first.layers.get(name, none).motion,
            kernel=seen.layer_share.get(name, first.layers.get(name, none).kernel),
        )
        for name in layers
    }


def _first_step_if_any(
    network: Network,
    loss: OutputLoss,
    optimizer: Optimizer | None,
    count: int | None,
    seed: int,
) -> FirstStep:
    """The first step, or the reason why there is none: the rehearsals do without it.

    Among the reasons are operations that `torch.func` does not know.
    """
    try:
        return first_step_of(network, loss, optimizer, count, seed)
    except (NoDescentError, RuntimeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        with undisturbed(network.module):
            first = loss(network(network.theta)).item()
        return FirstStep(
            richness=nan, richness_stderr=nan, time_to_fit=nan, layers={}, initial_loss=first,
            gradients=1.0, notes=(*network.notes, f"No richness ρ: {reason}"),
        )  # fmt: skip
