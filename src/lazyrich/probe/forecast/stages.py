"""The stages of a forecast: the linearised network, the network itself, a look at the kernel."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from math import inf, isfinite, nan

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from lazyrich._errors import InputError, NoDescentError
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.losses import Loss, OutputLoss, distance_to_fit
from lazyrich.capture.network import DROPOUT, Network, Parameters, gradient, pull_back
from lazyrich.capture.optimizer_step import relative_rates
from lazyrich.capture.ownership import Ownership, by_module, ownership
from lazyrich.capture.statistics import is_derived
from lazyrich.probe.arguments import refuse_horizon
from lazyrich.probe.forecast.linearised import Function, Linearisation
from lazyrich.probe.forecast.outlook import Outlook, kernel_outlook
from lazyrich.probe.forecast.rehearsal import (
    LEFT_BEHIND,
    Ended,
    Goal,
    Progress,
    Rehearsal,
    least_loss,
    of_linearisation,
    of_network,
    rehearse,
)
from lazyrich.probe.forecast.training import Apprentice, Rates
from lazyrich.vocabulary.numerals import in_words

LINEAR_COST = 2.0  # gradients of the network in one of its linearisation: Jv and Jᵀu
SHARE_LEFT = 0.2  # of the loss above the least possible one, where training stops
PATIENCE = 4  # times the steps of the network, for its linearisation
CUT_SHORT = (Ended.INTERRUPTED, Ended.OUT_OF_TIME, Ended.DIVERGED)
SHARPNESS_STEPS = 10  # of the power iteration


@dataclass(frozen=True, kw_only=True)
class RehearsalPlan:
    """What is rehearsed, and how far.

    Attributes:
        network: at the start.
        loss: the loss as a function of the outputs.
        optimizer: the user's own.
        schedule: schedule of its learning rates.
        goal: where to stop; its `until` is that of both rehearsals.
        progress: the same as in `Progress`.
        count: number of random output directions; None for all.
        seed: seed of these.
    """

    network: Network
    loss: OutputLoss
    optimizer: Optimizer
    schedule: Rates | None
    goal: Goal
    progress: Progress | None
    count: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What came of it.

    Attributes:
        network: the rehearsal of the network itself.
        linear: the rehearsal of the linearised network, if there was one.
        gap: distance between network and linearisation, the larger one at the ends of the two.
        outlook: the kernel where the network ended.
        output_change: ‖f − f₀‖ there, in units of the distance to the fit; NaN if not known.
        gradients: the cost of all.
        notes: what else to know, in sentences.
    """

    network: Rehearsal
    linear: Rehearsal | None
    gap: float
    outlook: Outlook
    output_change: float
    gradients: float
    notes: tuple[str, ...]


def stages(plan: RehearsalPlan) -> Stages:
    """Rehearse; the network, the optimiser and all random generators stay as they are.

    The network comes first, so that a forecast which is cut short has an answer. It is rehearsed
    even where it is close to its linearisation: below a readout that begins at 0, as in LoRA, the
    kernel does not change at first order, and what the linearisation leaves out changes it as
    much as what it has.
    """
    owners = ownership(plan.network)
    with undisturbed(plan.network.module, twice=True):
        function = plan.network.trained
        course, apprentice = _network(plan)
        end = _detached(apprentice.leaves)
        linear = Linearisation(function, plan.network.theta)
        gap, beside = _gap(function, linear, end), None
        if gap <= LEFT_BEHIND and course.ended not in CUT_SHORT:
            beside, gap_beside = _linear(plan, function, linear, course.steps)
            gap = max(gap, gap_beside)
        outlook, way = (
            _outlook(plan, end, owners),
            _output_change(plan, function(end), linear.outputs),
        )
    cost = course.gradients + (beside.gradients if beside else 0) + outlook.gradients
    return Stages(
        network=course,
        linear=beside,
        gap=gap,
        outlook=outlook,
        output_change=way,
        gradients=cost,
        notes=(*apprentice.notes, *_remarks(plan.network, beside)),
    )


def network_alone(plan: RehearsalPlan) -> tuple[Rehearsal, Outlook | None]:
    """The rehearsal of the network, and the kernel where it ended, without a certificate.

    Args:
        plan: the same as for `stages`.

    Returns:
        No look at the kernel where training diverged.
    """
    owners = by_module(list(plan.network.theta))
    with undisturbed(plan.network.module, twice=True):
        course, apprentice = _network(plan)
        diverged = course.ended == Ended.DIVERGED
        return course, None if diverged else _outlook(plan, _detached(apprentice.leaves), owners)


def _network(plan: RehearsalPlan) -> tuple[Rehearsal, Apprentice]:
    apprentice = _apprentice(plan)
    evaluate = of_network(plan.network.trained, plan.loss)
    course = rehearse("the network", evaluate, apprentice, plan.goal, progress=plan.progress)
    return course, apprentice


def _apprentice(plan: RehearsalPlan) -> Apprentice:
    network = plan.network
    return Apprentice(plan.optimizer, network.module, network.theta, plan.schedule)


def _linear(
    plan: RehearsalPlan, function: Function, linear: Linearisation, steps: int
) -> tuple[Rehearsal, float]:
    """The linearised network's rehearsal, and the gap where it ended."""
    apprentice = _apprentice(plan)
    patience = min(plan.goal.most_steps, PATIENCE * steps)

    def left(leaves: Parameters) -> bool:
        return _gap(function, linear, leaves) > LEFT_BEHIND

    course = rehearse(
        "the linearised network",
        of_linearisation(linear, plan.loss),
        apprentice,
        replace(plan.goal, most_steps=patience),
        cost=LINEAR_COST,
        left=left,
        progress=plan.progress,
    )
    return course, _gap(function, linear, apprentice.leaves)


def _detached(leaves: Parameters) -> Parameters:
    return {name: leaf.detach() for name, leaf in leaves.items()}


def _gap(function: Function, linear: Linearisation, theta: Parameters) -> float:
    """‖f − f_lin‖/‖f_lin − f₀‖ at θ; NaN if neither has moved."""
    f = function(_detached(theta)).detach().double()
    f_lin = linear.at_displaced(_detached(theta)).double()
    apart, way = (f - f_lin).norm().item(), (f_lin - linear.outputs).norm().item()
    if not (isfinite(apart) and isfinite(way)):
        return inf
    return apart / way if way else (inf if apart else nan)


def _output_change(plan: RehearsalPlan, f: Tensor, f_0: Tensor) -> float:
    """‖f − f₀‖/‖τ ∂L/∂f‖, as a probe measures it."""
    way, moved = distance_to_fit(plan.loss, f_0), (f.detach().double() - f_0.double()).norm().item()
    return moved / way if way and isfinite(moved) else nan


def _outlook(plan: RehearsalPlan, end: Parameters, owners: Ownership) -> Outlook:
    network, theta = plan.network, plan.network.theta
    if not all(p.isfinite().all() for p in end.values()):
        return Outlook(
            ntk_change=nan,
            ntk_change_stderr=nan,
            kernel_distance=nan,
            centred_kernel_distance=nan,
            layer_ntk_change=dict.fromkeys(sorted(owners.parts), nan),
            layer_share={},
            gradients=0.0,
        )
    later = network.at(end)
    shares = relative_rates(plan.optimizer, network.module)
    rates = {n: p.new_tensor(1.0 if shares is None else shares[n]) for n, p in theta.items()}
    return kernel_outlook(
        Linearisation(network.of_counted, theta),
        Linearisation(later.of_counted, end),
        rates,
        owners,
        (plan.count, plan.seed + 1),
    )


def _remarks(network: Network, linear: Rehearsal | None) -> tuple[str, ...]:
    remarks = []
    held = network.conditions
    if held.functional or any(map(is_derived, held.settles.values())):
        remarks.append(
            "The rehearsals train through the statistics of the batch, as training does."
        )
    if any(isinstance(m, DROPOUT) and m.p > 0 and m.training for m in network.module.modules()):
        remarks.append(
            "The rehearsals train without dropout: with its noise it takes more steps, which can "
            "change the kernel further."
        )
    if linear is not None and linear.ended == Ended.DIVERGED:
        remarks.append(
            "With these learning rates the linearised network diverges: they are beyond what the "
            "kernel at the start can bear."
        )
    return tuple(remarks)


def goal_of(
    loss: Loss,
    value: OutputLoss,
    outputs: Tensor,
    targets: object,
    *,
    to_loss: float | None,
    steps: int | None,
    max_steps: int,
    max_seconds: float,
) -> Goal:
    """Where rehearsals stop, from what the user said.

    Without a word at L* + 0.2 (L₀ − L*), L* being the least possible loss.

    Raises:
        InputError: numbers out of range, or a loss that is reached already.
        NoDescentError: nothing can be won.
    """
    refuse_horizon(to_loss, steps, max_steps, max_seconds)
    first = value(outputs).item()
    with torch.enable_grad(), torch.inference_mode(False):
        least = least_loss(loss, value, outputs, targets)
    if to_loss is None and steps is None:
        if least == -inf:
            raise InputError(
                "the loss must have a least value for the forecast to know where training will "
                "stop, got one that falls without end. Give `to_loss` or `steps`."
            )
        to_loss = least + SHARE_LEFT * (first - least)
        if not to_loss < first:
            raise NoDescentError(
                f"the loss must be above its least value, got {in_words(first, 4)} and nothing to "
                "win. The data may be fitted already."
            )
    elif to_loss is not None and not to_loss < first:
        raise InputError(
            f"`to_loss` must be below the loss before training, {in_words(first, 4)}, got "
            f"{to_loss}. Where will training stop?"
        )
    elif isinstance(loss, str) and steps is None and to_loss is not None and to_loss < least:
        raise InputError(
            f"`to_loss` must not be below the least possible loss of any outputs, "
            f"{in_words(least, 4)}, got {to_loss}. Training will never come there."
        )
    return Goal(
        loss=None if to_loss is None else float(to_loss),
        least=least,
        steps=None if steps is None else int(steps),
        most_steps=int(max_steps),
        until=time.monotonic() + max_seconds,
    )


def gradient_descent(network: Network, loss: OutputLoss, richness: float) -> Optimizer:
    """Gradient descent with equal rates that a network can bear.

    η = 1/(λ √(1 + ρ²/4)), λ being the largest eigenvalue of JᵀHJ at the start and the root the
    growth of the kernel that the richness ρ means on the two-layer linear network.

    Args:
        network: the model; call this inside `undisturbed`.
        loss: the loss as a function of the outputs.
        richness: ρ; NaN counts as 0.
    """
    linear = Linearisation(network, network.theta)
    v = linear.transposed(gradient(loss, linear.outputs))
    size = 0.0
    for _ in range(SHARPNESS_STEPS):
        norm = _norm(v)
        if not norm:
            break
        along = linear.times({n: t / norm for n, t in v.items()})
        v = linear.transposed(pull_back(lambda f: gradient(loss, f), linear.outputs, along))
        size = _norm(v)
    growth = (1 + (richness if isfinite(richness) else 0.0) ** 2 / 4) ** 0.5
    trained = [p for n, p in network.module.named_parameters() if n in network.theta]
    return SGD(trained, lr=1 / (size * growth) if size else 1.0)


def _norm(v: Parameters) -> float:
    return sum(t.double().square().sum().item() for t in v.values()) ** 0.5
