"""Set how rich the training will be: output scale and learning rates, checked by rehearsals."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from lazyrich._arguments import as_number, shown
from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.directions import Directions, checked_seed
from lazyrich.capture.isolation import undisturbed, unwrap
from lazyrich.capture.losses import Loss
from lazyrich.capture.network import DROPOUT, layer_of
from lazyrich.capture.optimizer_step import ScalesGradients, checked_optimizer
from lazyrich.probe.arguments import LabelledBatch, refuse_training
from lazyrich.probe.forecast.rehearsal import Progress
from lazyrich.probe.forecast.result import Forecast
from lazyrich.probe.steer.aim import at_change, at_richness
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.probe.steer.dialled import Aim, Dialled
from lazyrich.probe.steer.feature_speed import own_speeds
from lazyrich.probe.steer.plan import layers_of_tensors, planned, rates_by_layer, set_rates
from lazyrich.probe.steer.ruler import Budget, Ruler, Schedule, Trial
from lazyrich.probe.steer.untouched import refuse_begun
from lazyrich.vocabulary.numerals import in_words

MAX_STEPS: dict[Aim, int] = {"ntk_change": 20_000, "richness": 1000}


@exact_arithmetic()
def dial(
    model: nn.Module,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    optimizer: Optimizer,
    ntk_change: float | None = None,
    richness: float | None = None,
    to_loss: float | None = None,
    steps: int | None = None,
    schedule: Schedule | None = None,
    dry_run: bool = False,
    equal_speed: bool = False,
    max_steps: int | None = None,
    max_seconds: float = inf,
    progress: Progress | None = None,
    directions: Directions = 16,
    seed: int = 0,
) -> Dialled:
    """Set how rich training will be, by output scale and learning rates, checked by rehearsals.

    The output becomes γ(h − h₀), where γ ≪ 1 is rich and γ ≫ 1 lazy. It is found by what comes
    of it: for `ntk_change` γ is looked for until training, rehearsed as `forecast` does, changes
    the kernel by so much; for `richness` until ρ is that.

    Learning rates become η/γ² for SGD, η/γ for Adam, whose step does not see the gradient's
    scale, and for any other optimiser those that keep the time to fit. Far on the rich side
    training would diverge at such rates (it bears about η ∝ γ^(−2/L) at L layers): there they
    are halved until the loss falls in the rehearsal, and a note says so. Weight decay keeps its
    coefficient. Until all is found nothing changes, also when it is not, or on Ctrl-C.

    Args:
        model: the network h, or the result of an earlier dial. Its weights stay as they are.
        batch: `(inputs, targets)` to rehearse on, or a mapping, see `forecast`.
        loss: the same as in `forecast`.
        optimizer: any with learning rates, before its first step; these are set in place.
        ntk_change: the change of the kernel ‖Θ − Θ₀‖/‖Θ₀‖ to set, > 0; < 0.1 is lazy, ≥ 1 rich.
        richness: ρ* > 0 to set instead; ≪ 1 is lazy, ≳ 1 is rich.
        to_loss: the loss at which training will stop, as in `forecast`.
        steps: how many steps training will make, as in `forecast`.
        schedule: what multiplies the learning rates after so many steps.
        dry_run: change nothing, only advise.
        equal_speed: first give every layer the same relative feature speed by its own update
            (`feature_speed.own_speeds`); this splits the parameter groups layer by layer. For
            SGD, Adam and AdamW.
        max_steps: steps of each rehearsal, ≥ 1; by default 20,000 for `ntk_change`, and 1000 for
            `richness`, where it only has to show that the loss falls.
        max_seconds: seconds that may pass in the rehearsals of the search together; a last one,
            with its certificate, follows.
        progress: `(what, steps made, loss)`, called at every step.
        directions: random output directions, as in `forecast`, or `"all"`.
        seed: seed of the random directions.

    Returns:
        What was changed; train `result.model` with the same optimiser.

    Raises:
        InputError: what `forecast` refuses; an optimiser that has made steps or has a scheduler;
            a model that is linear in its parameters.
        ConvergenceError: the change could not be set within a factor of 1.3, or the richness
            within 10 %; rehearsals were out of steps or time, or their loss does not fall.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> net = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 1))
        >>> optimizer, x = SGD(net.parameters(), lr=0.1), torch.randn(8, 3)
        >>> result = dial(net, (x, x[:, :1]), optimizer=optimizer, ntk_change=0.05)
        >>> round(result.predicted_ntk_change, 2), result.regime
        (0.05, 'lazy')
        >>> result.model(x).abs().max().item()  # it starts at zero
        0.0

    Reference:
        The scale of lazy training: Chizat, Oyallon & Bach, arXiv:1812.07956; learning rates at
        the rich end: Atanasov et al., arXiv:2410.04642; the balance of layers: after Chizat &
        Netrapalli, arXiv:2311.18718.
    """
    quantity, target = _asked(ntk_change, richness)
    checked_seed(seed)
    refuse_training(schedule, progress)
    optimizer = _untouched(checked_optimizer(optimizer), dry_run=dry_run, equal_speed=equal_speed)
    given = unwrap(model)
    centred = given if isinstance(given, CentredOutput) else CentredOutput(given)
    first_output_scale = centred.output_scale.item()
    ruler = Ruler(
        centred=centred, plan=planned(optimizer, centred if equal_speed else None),
        batch=batch, loss=loss, schedule=schedule, progress=progress,
        directions=directions, seed=seed,
    )  # fmt: skip
    budget = Budget(
        to_loss=to_loss, steps=steps, max_seconds=max_seconds,
        max_steps=MAX_STEPS[quantity] if max_steps is None else max_steps,
    )  # fmt: skip
    dialled = False
    try:
        found = _found(ruler, quantity, target, budget, equal_speed=equal_speed)
        dialled = not dry_run
        output_scale = ruler.output_scale
    finally:
        if not dialled:
            centred.set_output_scale(first_output_scale)
    rates = rates_by_layer(centred, optimizer, ruler.plan, wrapped=centred is not given)
    if dialled:
        set_rates(ruler.plan, optimizer, split=equal_speed)
    return Dialled(
        model=centred if dialled else model,
        output_scale=output_scale,
        forecast=found.forecast,
        richness=found.forecast.richness,
        richness_before=found.richness_before,
        quantity=quantity,
        target=target,
        learning_rates=rates,
        applied=dialled,
        gradients=ruler.gradients + found.forecast.gradients,
        notes=(*_notes(model, centred, optimizer), *found.notes),
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What the search came to; scale and rates are set.

    Attributes:
        forecast: the forecast made there.
        richness_before: ρ at the scale and the rates that came.
        notes: what else to know, in sentences.
    """

    forecast: Forecast
    richness_before: float
    notes: tuple[str, ...]


def _found(
    ruler: Ruler, quantity: Aim, target: float, budget: Budget, *, equal_speed: bool
) -> _Found:
    by_richness = quantity == "richness"
    before = ruler.richness() if by_richness else ruler.richness_if_any()
    notes = _balance(ruler) if equal_speed else ()
    ruler.rebase()
    goal = ruler.goal(budget)
    if by_richness:
        at_richness(ruler, target)
        trial = ruler.rehearsed(ruler.output_scale, goal)
    else:
        trial = at_change(ruler, target, before, goal)
    return _Found(
        forecast=ruler.forecast(budget),
        richness_before=before,
        notes=(*notes, *_on_rates(ruler, trial)),
    )


def _on_rates(ruler: Ruler, trial: Trial) -> tuple[str, ...]:
    """Where the rates come from."""
    if trial.slowed == 1:
        return ()
    return (
        f"At learning rates that follow the output scale ({ruler.rule}) the loss would not fall in "
        f"the rehearsal: they are divided by {in_words(1 / trial.slowed)}, where it does.",
    )


def _balance(ruler: Ruler) -> tuple[str, ...]:
    """Give all layers the same own feature speed, and the network its time to fit back."""
    start = ruler.start()
    with undisturbed(ruler.centred, twice=True):
        speeds = own_speeds(start.network, start.step)
    mean = exp(sum(log(s) for s in speeds.values()) / max(len(speeds), 1))
    layer_of_tensor = layers_of_tensors(ruler.centred)
    for group in ruler.plan.param_groups:
        layer = layer_of_tensor.get(id(group["params"][0]))
        group["lr"] *= mean / speeds.get(layer or "", mean)
    slower = ruler.start().time_to_fit / start.time_to_fit
    for group in ruler.plan.param_groups:
        group["lr"] *= slower
    layers = dict.fromkeys(layer_of(name) for name in start.network.theta)
    still = [layer.removeprefix("network.") for layer in layers if layer not in speeds]
    notes = ["Parameter groups were split layer by layer, for equal feature speed."]
    if still:
        notes.append(f"Without a feature speed of their own, not balanced: {', '.join(still)}.")
    return tuple(notes)


def _asked(ntk_change: float | None, richness: float | None) -> tuple[Aim, float]:
    if (ntk_change is None) == (richness is None):
        raise InputError(
            f"`dial` must be given one of `ntk_change` and `richness`, got "
            f"{'none' if richness is None else 'both'}. Say the change of the kernel that training "
            "is to make, as ntk_change=0.1."
        )
    quantity: Aim = "richness" if ntk_change is None else "ntk_change"
    asked = richness if ntk_change is None else ntk_change
    target = as_number(asked)
    if target is None or not 0 < target < inf:
        raise InputError(
            f"`{quantity}` must be a positive number, got {shown(asked)}. Small is lazy, large is "
            "rich: pass 0.05 or 2."
        )
    return quantity, target


def _untouched(optimizer: Optimizer, *, dry_run: bool, equal_speed: bool) -> Optimizer:
    """An optimiser whose rates can be set, and that has not begun."""
    if isinstance(optimizer, ScalesGradients):
        raise InputError(
            f"`dial` must have the optimiser that holds the learning rates, got a "
            f"{type(optimizer).__name__} around it. Pass its `optimizer`, and wrap that afterwards."
        )
    if any("lr" not in group for group in optimizer.param_groups):
        raise InputError(
            f"`dial` must have an optimiser whose groups have a learning rate `lr`, got a "
            f"{type(optimizer).__name__} without. Dial with another one."
        )
    if equal_speed and type(optimizer) not in (SGD, Adam, AdamW):
        raise InputError(
            f"`equal_speed` must have SGD, Adam or AdamW, whose rates can be given layer by layer, "
            f"got {type(optimizer).__name__}. Leave it out."
        )
    refuse_begun(optimizer, "dial", scheduler=not dry_run)
    return optimizer


def _notes(model: nn.Module, centred: CentredOutput, optimizer: Optimizer) -> tuple[str, ...]:
    notes = [
        "The initial function is taken away, so that the output starts at zero; a forward pass "
        "costs two of the network's."
    ]
    if unwrap(model) is not model:
        notes.append("The compiled or parallel wrapper was taken off: wrap the result again.")
    if any(isinstance(m, DROPOUT) and m.p > 0 for m in centred.network.modules()):
        notes.append("In train mode dropout makes the output differ from zero by its noise.")
    if any(group.get("weight_decay") for group in optimizer.param_groups):
        notes.append("Weight decay keeps its coefficient; its pull follows the learning rate.")
    return tuple(notes)
