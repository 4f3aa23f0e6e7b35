"""The step of an optimiser that adapts its rates, after a few steps.

On its first step Adam divides a gradient by its own size: a parameter without a gradient gets the
rate η/ε, which says something about ε alone. A few steps later most have a gradient, as those
below a readout that began at 0. So the rate of a layer is what its gradients were multiplied by
over these steps, and the velocity the mean of them. For any optimiser.
"""

from __future__ import annotations

from math import isfinite, log

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from lazyrich._errors import InputError
from lazyrich.capture.losses import OutputLoss, descent_along
from lazyrich.capture.network import Network, Parameters, layer_of
from lazyrich.capture.optimizer_step import ScalesGradients, Step, rates_of_groups
from lazyrich.probe.forecast.rehearsal import of_network
from lazyrich.probe.forecast.tangent import velocity_of_outputs
from lazyrich.probe.forecast.training import Apprentice

FEW_STEPS = 5
SHARE_OF_THE_WAY = 0.05  # to the fit, that they cover
ROUNDS = 8  # of finding the rates with which they do
CLOSE = 0.1  # in ln of these rates
SLOWER = 1e-2  # when the steps are too large to tell anything
FASTER = 1e4  # when they are lost in the rounding of the weights


def adapts(optimizer: Optimizer) -> bool:
    """Whether the rates follow the gradients, so that the first step does not show them."""
    if isinstance(optimizer, ScalesGradients):
        return adapts(optimizer.optimizer)
    return type(optimizer) is not SGD


def settled_step(network: Network, loss: OutputLoss, optimizer: Optimizer) -> Step:
    """Velocity and rates of any optimiser, over its next few steps from here.

    v = (θ_K − θ₀)/K, and for each layer η = ‖θ_K − θ₀‖/‖Σ g_k‖, K = 5. The learning rates of
    these steps are scaled so that they cover 5 % of the way to the fit, and v and η scaled back: a
    factor on all rates cancels in ρ.

    Args:
        network: the model on a batch; call this inside `undisturbed`.
        loss: the loss as a function of the outputs.
        optimizer: the optimiser, which is only read.

    Raises:
        InputError: it owns none of the parameters, or moves none.
    """
    factor, settled = 1.0, None
    for _ in range(ROUNDS):
        step, is_finite = _few_steps(network, loss, optimizer, factor)
        if not _moves(step):
            if settled is not None:  # no slower steps can be seen, as no time to fit was
                break
            factor *= FASTER
            continue
        settled = step
        outputs, f_dot = velocity_of_outputs(network, step.velocity)
        tau = descent_along(loss, outputs, f_dot).time_to_fit
        if not is_finite or not isfinite(tau):
            factor *= SLOWER
        elif abs(log(factor * FEW_STEPS / (tau * SHARE_OF_THE_WAY))) < CLOSE:
            break
        else:
            factor = tau * SHARE_OF_THE_WAY / FEW_STEPS
    if settled is None:
        raise InputError(
            "at least one learning rate must be > 0, got an optimiser that moves no parameter. "
            "Give the rates that training will have."
        )
    return settled


def _moves(step: Step) -> bool:
    return any(bool(d.any()) for d in step.velocity.values())


def _few_steps(
    network: Network, loss: OutputLoss, optimizer: Optimizer, factor: float
) -> tuple[Step, bool]:
    """The step with all rates times a factor, scaled back; and whether it is finite."""
    evaluate = of_network(network, loss)
    apprentice = Apprentice(optimizer, network.module, network.theta)
    apprentice.train_at([factor * rate for rate in rates_of_groups(optimizer)])
    total = {name: torch.zeros_like(p) for name, p in network.theta.items()}

    def again() -> Tensor:
        value, gradient = evaluate(apprentice.leaves)
        apprentice.set_gradient(gradient)
        return value

    for _ in range(FEW_STEPS):
        value, gradient = evaluate(apprentice.leaves)
        total = {name: g + gradient[name] for name, g in total.items()}
        apprentice.step(value.item(), gradient, again)
    moved = {n: p.detach() - network.theta[n] for n, p in apprentice.leaves.items()}
    step = Step(
        velocity={name: d / (FEW_STEPS * factor) for name, d in moved.items()},
        rates=_rates(moved, total, factor),
        notes=apprentice.notes,
    )
    return step, all(bool(d.isfinite().all()) for d in moved.values())


def _rates(moved: Parameters, total: Parameters, factor: float) -> Parameters:
    way: dict[str, float] = {}
    pull: dict[str, float] = {}
    for name, d in moved.items():
        layer = layer_of(name)
        way[layer] = way.get(layer, 0.0) + d.double().square().sum().item()
        pull[layer] = pull.get(layer, 0.0) + total[name].double().square().sum().item()
    rate = {x: (way[x] / pull[x]) ** 0.5 / factor if pull[x] else 0.0 for x in way}
    return {
        name: d.new_tensor(rate[layer_of(name)] if d.any() else 0.0) for name, d in moved.items()
    }
