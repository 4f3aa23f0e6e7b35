"""A centred network at an output scale under planned learning rates, and what it measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan

from torch.optim import SGD, Adam, AdamW, Optimizer

from lazyrich._errors import ConvergenceError, InputError, NoDescentError
from lazyrich.capture.directions import Directions, random_count
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.losses import Loss
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.forecast.first_step import (
    DIRECTION_COST,
    Start,
    checked,
    measured_richness,
    start_of_training,
)
from lazyrich.probe.forecast.forecast import forecast
from lazyrich.probe.forecast.rehearsal import Ended, Goal, Progress, Rehearsal
from lazyrich.probe.forecast.result import Forecast
from lazyrich.probe.forecast.stages import RehearsalPlan, goal_of, network_alone
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.vocabulary.numerals import in_words

RISEN = 0.2  # how far the loss may rise in a rehearsal, in units of the loss at the start
SLOWEST = 2.0**-40  # times the rates that follow the scale
SLOWER = 0.5

Schedule = Callable[[int], float]
"""What multiplies the learning rates after so many steps."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How far rehearsals go; the words are those of `forecast`.

    Attributes:
        to_loss: where training will stop.
        steps: the steps that training will make.
        max_steps: steps of each rehearsal.
        max_seconds: seconds that may pass in all rehearsals of the search.
    """

    to_loss: float | None
    steps: int | None
    max_steps: int
    max_seconds: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One rehearsal.

    Attributes:
        output_scale: γ.
        slowed: what multiplies the rates that follow the scale, ≤ 1.
        course: the course of the rehearsal.
        ntk_change: ‖Θ − Θ₀‖/‖Θ₀‖ where it ended; NaN if it diverged.
    """

    output_scale: float
    slowed: float
    course: Rehearsal
    ntk_change: float

    @property
    def trains(self) -> bool:
        """Whether the loss falls."""
        return isfinite(self.ntk_change) and self.course.losses[-1] < self.course.losses[0]

    @property
    def stands_still(self) -> bool:
        """Whether no rate would help."""
        return self.course.ended != Ended.DIVERGED and len(set(self.course.losses)) == 1

    @property
    def is_whole(self) -> bool:
        """Whether it came to its goal, or made all its steps."""
        return self.course.ended in (Ended.FITTED, Ended.ALL_STEPS)


class Ruler:
    """Sets output scale and planned rates together, and measures, always by the same directions.

    At output scale γ the rates are `slowed` times those that keep the time to fit of the base:
    ∝ 1/γ² for SGD, ∝ 1/γ for Adam, whose step does not see the gradient's scale, and for any
    other optimiser by measuring the time to fit.

    Args:
        centred: the network; its output scale is set in place.
        plan: the optimiser with the planned rates, which are set in place.
        batch: inputs and targets.
        loss: the same as in `forecast`.
        schedule: schedule of the rates.
        progress: the same as in `Progress`.
        directions: random output directions.
        seed: seed of these.

    Attributes:
        gradients: what measuring has cost so far.
    """

    def __init__(
        self,
        *,
        centred: CentredOutput,
        plan: Optimizer,
        batch: LabelledBatch,
        loss: Loss,
        schedule: Schedule | None,
        progress: Progress | None,
        directions: Directions,
        seed: int,
    ) -> None:
        self.centred, self.plan, self.batch, self.loss = centred, plan, batch, loss
        self.schedule, self.progress = schedule, progress
        self.directions, self.seed = directions, seed
        self.gradients = 0.0
        self.rebase()

    @property
    def output_scale(self) -> float:
        """γ."""
        return self.centred.output_scale.item()

    @property
    def rule(self) -> str:
        """How the rates follow the output scale, in words."""
        return {2: "η/γ²", 1: "η/γ", None: "keeping the time to fit"}[self._power]

    @property
    def _power(self) -> int | None:
        """Of 1/γ in the rates; None where they keep the time to fit.

        Where there is none, as of a loss without curvature, they go as for Adam, to begin with.
        """
        known = {SGD: 2, Adam: 1, AdamW: 1}.get(type(self.plan))
        return 1 if known is None and self._time is not None and isnan(self._time) else known

    def rebase(self) -> None:
        """Let the rates follow the scale from here on."""
        self._scale = self.output_scale
        self._rates = [group["lr"] for group in self.plan.param_groups]
        self._time: float | None = None

    def set(self, output_scale: float, slowed: float = 1.0) -> None:
        """Set γ and the rates.

        Args:
            output_scale: γ.
            slowed: what multiplies the rates that follow it.
        """
        if self._power is None and self._time is None:
            self._time = self._time_if_any()
        power = self._power
        self.centred.set_output_scale(output_scale)
        ratio = self._scale / output_scale
        if power is not None:
            self._set_rates(slowed * ratio**power)
        elif self._time is not None:
            self._set_rates(1.0)
            self._set_rates(slowed * self.start().time_to_fit / self._time)

    def _time_if_any(self) -> float:
        try:
            return self.start().time_to_fit
        except NoDescentError:
            return nan

    def _set_rates(self, factor: float) -> None:
        for group, lr in zip(self.plan.param_groups, self._rates, strict=True):
            group["lr"] = factor * lr

    def start(self) -> Start:
        """The first step, without its norms."""
        self.gradients += DIRECTION_COST
        return start_of_training(self.centred, self.batch, self.loss, self.plan, self.directions)

    def richness(self) -> float:
        """ρ.

        Raises:
            InputError: ρ is 0.
            NoDescentError: the first step leads to no minimum.
        """
        rho = self._richness()
        if rho == 0:
            raise nothing_to_dial()
        return rho

    def richness_if_any(self) -> float:
        """ρ; NaN if the first step leads to no minimum, or cannot be differentiated twice."""
        try:
            return self._richness()
        except (NoDescentError, RuntimeError, NotImplementedError):
            return nan

    def _richness(self) -> float:
        start = self.start()
        with undisturbed(self.centred, twice=True):
            count = random_count(self.directions, start.outputs.numel())
            rho: float = measured_richness(start, count, self.seed)[0]
        self.gradients += DIRECTION_COST * (count or start.outputs.numel())
        return rho

    def goal(self, budget: Budget) -> Goal:
        """Where rehearsals stop; the same at every scale, as the output starts at 0.

        Args:
            budget: what the user allows.
        """
        _, value, outputs = checked(self.centred, self.batch, self.loss, self.directions)
        goal = goal_of(
            self.loss, value, outputs, inputs_and_targets(self.batch)[1],
            to_loss=budget.to_loss, steps=budget.steps,
            max_steps=budget.max_steps, max_seconds=budget.max_seconds,
        )  # fmt: skip
        return replace(goal, blown_up=RISEN)

    def forecast(self, budget: Budget) -> Forecast:
        """At the scale and the rates that are set.

        Args:
            budget: what the user allows; the time is not counted, since the steps are known.

        Raises:
            KeyboardInterrupt: as it came.
        """
        told = forecast(
            self.centred, self.batch, self.loss, optimizer=self.plan,
            to_loss=budget.to_loss, steps=budget.steps, max_steps=budget.max_steps,
            schedule=self.schedule, progress=self._said(),
            directions=self.directions, seed=self.seed,
        )  # fmt: skip
        for course in (told.network, told.linear):
            _pass_on(course)
        return told

    def rehearsed(self, output_scale: float, goal: Goal, slowed: float = 1.0) -> Trial:
        """Rehearse at an output scale, ever slower until the loss falls; scale and rates stay set.

        Args:
            output_scale: γ.
            goal: the goal of the rehearsal.
            slowed: what multiplies the rates at first.

        Raises:
            ConvergenceError: the loss does not fall, or time is out.
            KeyboardInterrupt: as it came.
        """
        while slowed >= SLOWEST:
            self.set(output_scale, slowed)
            trial = self._trial(goal, slowed)
            if trial.trains:
                return trial
            if trial.stands_still:
                break
            slowed *= SLOWER
        raise ConvergenceError(
            f"the loss must fall in a rehearsal, got none that falls at output scale "
            f"{in_words(output_scale, 3)}, with learning rates down to {in_words(slowed)} of those "
            "that keep the time to fit. Nothing was changed. Look at the loss and the batch."
        )

    def _trial(self, goal: Goal, slowed: float) -> Trial:
        network, loss, outputs = checked(self.centred, self.batch, self.loss, self.directions)
        course, outlook = network_alone(
            RehearsalPlan(
                network=network, loss=loss, optimizer=self.plan, schedule=self.schedule,
                goal=goal, progress=self._said(),
                count=random_count(self.directions, outputs.numel()), seed=self.seed,
            )
        )  # fmt: skip
        self.gradients += course.gradients + (outlook.gradients if outlook else 0)
        _pass_on(course)
        if course.ended == Ended.OUT_OF_TIME:
            raise ConvergenceError(
                "the dial must be done within `max_seconds`, got no end of its rehearsals. Nothing "
                "was changed. Give more time, a higher `to_loss`, or larger learning rates."
            )
        if outlook is not None and outlook.ntk_change == 0:
            raise nothing_to_dial()
        return Trial(
            output_scale=self.output_scale,
            slowed=slowed,
            course=course,
            ntk_change=outlook.ntk_change if outlook else nan,
        )

    def _said(self) -> Progress | None:
        """The user's `progress`, with the scale in its words."""
        say = self.progress
        if say is None:
            return None
        scale = f" at output scale {in_words(self.output_scale, 3)}"
        return lambda what, step, loss: say(what + scale, step, loss)


def _pass_on(course: Rehearsal | None) -> None:
    """Ctrl-C ends a forecast early, which says what it has so far; a dial it ends."""
    if course is not None and course.ended == Ended.INTERRUPTED:
        raise KeyboardInterrupt


def nothing_to_dial() -> InputError:
    """What a model without feature learning is refused with."""
    return InputError(
        "a model that is linear in its trainable parameters cannot be dialled: its tangent "
        "features never move, ρ is 0 at every scale. Train a layer below the readout, too."
    )
