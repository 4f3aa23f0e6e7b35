"""Set how rich the training will be: output scale and learning rates, then a check by measuring."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from math import exp, inf, log
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from lazyrich._arguments import number, shown
from lazyrich._errors import ConvergenceError, InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.directions import Directions, checked_seed, random_count
from lazyrich.capture.isolation import undisturbed, unwrap
from lazyrich.capture.losses import Loss
from lazyrich.capture.network import DROPOUT, layer_of
from lazyrich.capture.optimizer_step import ScalesGradients, checked_optimizer
from lazyrich.probe.forecast.first_step import (
    Start,
    measured_richness,
    overshoot,
    start_of_training,
)
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.probe.steer.feature_speed import own_speeds
from lazyrich.vocabulary.numerals import in_words

TOLERANCE = 0.1
AIM = 0.01
MAX_ROUNDS = 8


@dataclass(frozen=True, kw_only=True)
class LearningRate:
    """A layer's learning rate before and after.

    Attributes:
        before: what the optimiser had.
        after: what it has now, or should have (`dry_run`).
    """

    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Dialled:
    """What `dial` changed, or advises to change. `print` it.

    Attributes:
        model: train this one: γ(h − h₀). With `dry_run` the model that was given.
        output_scale: γ.
        richness: ρ of the result, measured.
        richness_before: ρ of the centred network at the output scale and rates it came with.
        target: the ρ to reach.
        learning_rates: of every layer, by its path in the network that was given.
        applied: False for a `dry_run`.
        notes: what else one has to know, in sentences.
    """

    model: nn.Module
    output_scale: float
    richness: float
    richness_before: float
    target: float
    learning_rates: Mapping[str, LearningRate]
    applied: bool
    notes: tuple[str, ...]

    def __str__(self) -> str:
        did = "Dialled" if self.applied else "Advice (nothing was changed): dial"
        margin = max(8, *(len(layer) for layer in self.learning_rates))
        lines = [
            f"{did} the richness to ρ = {in_words(self.richness, 3)} (target: "
            f"{in_words(self.target, 3)}); without its initial function the network had "
            f"{in_words(self.richness_before, 3)}.",
            f"Output: {in_words(self.output_scale, 4)} × (network − its initial function).",
            f"{'layer':>{margin}}   learning rate",
        ]
        lines += [
            f"{layer or '(model)':>{margin}}   {in_words(rate.before, 4)} → "
            f"{in_words(rate.after, 4)}"
            for layer, rate in self.learning_rates.items()
        ]
        return "\n".join([*lines, *self.notes])


@exact_arithmetic()
def dial(
    model: nn.Module,
    batch: tuple[Any, Any] | list[Any],
    loss: Loss = "mse",
    *,
    optimizer: Optimizer,
    richness: float,
    dry_run: bool = False,
    equal_speed: bool = False,
    directions: Directions = 16,
    seed: int = 0,
) -> Dialled:
    """Set how rich training will be, by output scale and learning rates, and check by measuring.

    The output becomes γ(h − h₀), with ρ ∝ 1/γ; learning rates become η/γ² for SGD and η/γ for
    Adam, whose step does not see the gradient's scale, so that the time to fit stays the same
    (under Adam, far on the rich side, about so).
    Weight decay keeps its coefficient.

    Args:
        model: the network h, or the result of an earlier dial. Its weights stay as they are.
        batch: `(inputs, targets)` to measure on.
        loss: as in `forecast`.
        optimizer: SGD, Adam or AdamW, before its first step; its learning rates are set in place.
        richness: ρ* > 0, what to set; ≪ 1 is lazy, ≳ 1 is rich.
        dry_run: change nothing, only advise.
        equal_speed: first give every layer the same relative feature speed by its own update
            (`feature_speed.own_speeds`); this splits the parameter groups layer by layer.
        directions: random output directions, as in `forecast`, or `"all"`; ρ is measured two or
            three times.
        seed: of the random directions.

    Returns:
        What was changed; train `result.model` with the same optimiser.

    Raises:
        InputError: what `forecast` refuses; an optimiser that has made steps or has a scheduler;
            a model that is linear in its parameters.
        ConvergenceError: the richness could not be set within 10 %; nothing was changed.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 1))
        >>> optimizer, x = SGD(net.parameters(), lr=0.1), torch.randn(8, 3)
        >>> result = dial(net, (x, x[:, :1]), optimizer=optimizer, richness=2.0)
        >>> round(result.richness, 3), result.model(x).abs().max().item()
        (2.0, 0.0)

    Reference:
        The scale of lazy training: Chizat, Oyallon & Bach, arXiv:1812.07956; the balance of
        layers: after Chizat & Netrapalli, arXiv:2311.18718.
    """
    target = number(richness)
    if target is None or not 0 < target < inf:
        raise InputError(f"`richness` must be a positive number, got {shown(richness)}.")
    checked_seed(seed)
    _refuse_running(checked_optimizer(optimizer), dry_run)
    given = unwrap(model)
    centred = given if isinstance(given, CentredOutput) else CentredOutput(given)
    first_output_scale = centred.output_scale.item()
    plan = _shadow(optimizer, centred if equal_speed else None)
    measure = _Ruler(
        centred=centred, batch=batch, loss=loss, plan=plan, directions=directions, seed=seed
    )
    dialled = False
    try:
        before, tau = measure.richness(), measure.start().time_to_fit
        speed_notes = _balance(measure, tau) if equal_speed else ()
        reached = _search(measure, richness)
        dialled = not dry_run
        output_scale = centred.output_scale.item()
    finally:
        if not dialled:
            centred.set_output_scale(first_output_scale)
    rates = _rates_by_layer(centred, optimizer, plan, wrapped=centred is not given)
    if dialled:
        _apply(plan, optimizer, split=equal_speed)
    return Dialled(
        model=centred if dialled else model,
        output_scale=output_scale,
        richness=reached,
        richness_before=before,
        target=richness,
        learning_rates=rates,
        applied=dialled,
        notes=(*_notes(model, centred, optimizer), *speed_notes, *overshoot(tau)),
    )


@dataclass(frozen=True, kw_only=True)
class _Ruler:
    """Measures a centred network under planned learning rates, always by the same directions."""

    centred: CentredOutput
    batch: tuple[Any, Any] | list[Any]
    loss: Loss
    plan: Optimizer
    directions: Directions
    seed: int

    def start(self) -> Start:
        return start_of_training(self.centred, self.batch, self.loss, self.plan, self.directions)

    def richness(self) -> float:
        start = self.start()
        with undisturbed(self.centred, twice=True):
            count = random_count(self.directions, start.outputs.numel())
            rho: float = measured_richness(start, count, self.seed)[0]
        if rho == 0:
            raise InputError(
                "a model that is linear in its trainable parameters cannot be dialled: its tangent "
                "features never move, ρ is 0 at every scale. Train a layer below the readout, too."
            )
        return rho

    def rescale(self, output_scale: float) -> None:
        """Set γ, and the learning rates so that the time to fit stays the same."""
        ratio = self.centred.output_scale.item() / output_scale
        self.centred.set_output_scale(output_scale)
        for group in self.plan.param_groups:
            group["lr"] *= ratio**2 if isinstance(self.plan, SGD) else ratio


def _search(measure: _Ruler, target: float) -> float:
    """ρ ∝ 1/γ hits at once, unless weight decay bends it; then it is repeated."""
    rho = measure.richness()
    for _ in range(MAX_ROUNDS):
        measure.rescale(measure.centred.output_scale.item() * rho / target)
        rho = measure.richness()
        if abs(rho / target - 1) <= AIM:
            break
    if abs(rho / target - 1) <= TOLERANCE:
        return rho
    raise ConvergenceError(
        f"the richness could not be set to {target:.3g} within {TOLERANCE:.0%}: after {MAX_ROUNDS} "
        f"rounds it is {rho:.3g} at output scale {measure.centred.output_scale.item():.3g}. "
        "Strong weight decay and noise in the forward pass are the usual reasons: lower them, or "
        "ask for a smaller change."
    )


def _balance(measure: _Ruler, tau: float) -> tuple[str, ...]:
    """Give all layers the same own feature speed, and the network its time to fit back."""
    start = measure.start()
    with undisturbed(measure.centred, twice=True):
        speeds = own_speeds(start.network, start.step)
    mean = exp(sum(log(s) for s in speeds.values()) / max(len(speeds), 1))
    layer_of_tensor = _layers_of_tensors(measure.centred)
    for group in measure.plan.param_groups:
        layer = layer_of_tensor.get(id(group["params"][0]))
        group["lr"] *= mean / speeds.get(layer or "", mean)
    slower = measure.start().time_to_fit / tau
    for group in measure.plan.param_groups:
        group["lr"] *= slower
    layers = dict.fromkeys(layer_of(name) for name in start.network.theta)
    still = [layer.removeprefix("network.") for layer in layers if layer not in speeds]
    notes = ["Parameter groups were split layer by layer, for equal feature speed."]
    if still:
        notes.append(f"Without a feature speed of their own, not balanced: {', '.join(still)}.")
    return tuple(notes)


def _layers_of_tensors(centred: CentredOutput) -> dict[int, str]:
    return {id(p): layer_of(name) for name, p in centred.named_parameters() if p.requires_grad}


def _refuse_running(optimizer: Optimizer, dry_run: bool) -> None:
    if isinstance(optimizer, ScalesGradients):
        raise InputError(
            f"`dial` must have the optimiser that holds the learning rates, got a "
            f"{type(optimizer).__name__} around it. Pass its `optimizer`, and wrap that afterwards."
        )
    if type(optimizer) not in (SGD, Adam, AdamW):
        raise InputError(
            f"`dial` must know how steps follow the output scale, as those of SGD, Adam and AdamW "
            f"do, got {type(optimizer).__name__}. Dial with the one of these whose steps it "
            "resembles, and take over the learning rates."
        )
    if any(optimizer.state.values()):
        raise InputError(
            "`dial` must come before the first step, got an optimiser that has already made "
            "steps. Build a new one."
        )
    if not dry_run and any("initial_lr" in group for group in optimizer.param_groups):
        raise InputError(
            "`dial` must come before the learning-rate scheduler, got an optimiser that has one, "
            "which would set the old rates again. Build the scheduler after the dial."
        )


def _shadow(optimizer: Optimizer, split: CentredOutput | None) -> Optimizer:
    """The optimiser with parameter groups of its own; those of `split` layer by layer."""
    plan = copy(optimizer)
    plan.param_groups = []
    layers = {} if split is None else _layers_of_tensors(split)
    for group in optimizer.param_groups:
        parts: dict[str | None, list[int]] = {}
        for i, p in enumerate(group["params"]):
            parts.setdefault(layers.get(id(p)), []).append(i)
        for rows in parts.values():
            listed: dict[str, Any] = {
                key: [group[key][i] for i in rows]
                for key in ("params", "param_names")
                if key in group
            }
            plan.param_groups.append({**group, **listed, "lr": float(group["lr"])})
    return plan


def _apply(plan: Optimizer, optimizer: Optimizer, split: bool) -> None:
    """Write the planned learning rates into the user's optimiser; tensors stay tensors."""
    if split:
        optimizer.param_groups = plan.param_groups
        return
    for group, planned in zip(optimizer.param_groups, plan.param_groups, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(planned["lr"])
        else:
            group["lr"] = planned["lr"]


def _rates_by_layer(
    centred: CentredOutput, optimizer: Optimizer, plan: Optimizer, wrapped: bool
) -> dict[str, LearningRate]:
    """Rates by layer; by parameter in a layer whose parameters have different ones."""
    before, after = (
        {id(p): float(group["lr"]) for group in o.param_groups for p in group["params"]}
        for o in (optimizer, plan)
    )
    layers: dict[str, dict[str, LearningRate]] = {}
    for name, p in centred.named_parameters():
        if p.requires_grad and id(p) in before:
            path = name.removeprefix("network.") if wrapped else name
            rate = LearningRate(before=before[id(p)], after=after[id(p)])
            layers.setdefault(layer_of(path), {})[path] = rate
    table: dict[str, LearningRate] = {}
    for layer, rates in layers.items():
        same = len(set(rates.values())) == 1
        table |= {layer: next(iter(rates.values()))} if same else rates
    return table


def _notes(model: nn.Module, centred: CentredOutput, optimizer: Optimizer) -> tuple[str, ...]:
    notes = [
        "The initial function is taken away, so that the output starts at zero; a forward pass "
        "costs two of the network's."
    ]
    if unwrap(model) is not model:
        notes.append("The compiled or parallel wrapper was taken off: wrap the result again.")
    if any(isinstance(m, DROPOUT) and m.p > 0 for m in centred.network.modules()):
        notes.append("In train mode dropout makes the output differ from zero by its noise.")
    if any(group["weight_decay"] for group in optimizer.param_groups):
        notes.append("Weight decay keeps its coefficient; its pull follows the learning rate.")
    return tuple(notes)
