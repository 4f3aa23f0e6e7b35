"""Turn the factors of one network until its first steps do what those of another one do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from math import log, sqrt

import numpy as np
from jaxtyping import Float

from lazyrich.probe.transfer.family import Anatomy, Factors, NetworkFamily
from lazyrich.probe.transfer.layout import Layout
from lazyrich.probe.transfer.spread import misfit, spread_factors
from lazyrich.probe.transfer.updates import Flow, Updates

MATCHED = 0.02  # of every size, as a logarithm

Seeds = Float[np.ndarray, "seed"]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What the first steps of one network do.

    Attributes:
        own: key of a parameter → own update; of several blocks the root mean square.
        flows: what else was asked.
        sizes: place → its outputs at the start, over the seeds.
        inputs: place → its inputs at the start.
    """

    own: Mapping[str, Seeds]
    flows: tuple[Seeds, ...]
    sizes: Mapping[str, float]
    inputs: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The factors of one network, and what its first steps do.

    Attributes:
        size: size of the network.
        lr: key of a parameter → factor on its learning rate.
        init: the factor, for every flow, on the init of what it sets.
        spread: parameter → factor on its init, see `spread_factors`.
        before: sizes with every factor 1.
        after: sizes with the factors.
        residual: how far the worst size is from its goal, as a logarithm.
    """

    size: int
    lr: Mapping[str, float]
    init: tuple[float, ...]
    spread: Mapping[str, float]
    before: Measure
    after: Measure
    residual: float


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A network of a family, on which factors are tried.

    Attributes:
        family: the family that it belongs to.
        layout: layout of the family.
        member: the network.
    """

    family: NetworkFamily
    layout: Layout
    member: Anatomy

    def measure(
        self, lr: Mapping[str, float], init: Sequence[float], spread: Mapping[str, float]
    ) -> Measure:
        """Make the first steps with these factors, with every seed."""
        asked = self.layout.flows(self.member)
        keys = self.layout.keys(self.member)
        factors = Factors(
            lr={name: lr[key] for name, key in keys.items()},
            init=init_factors(asked, init, spread),
        )
        found = self.family.updates(self.member.size, factors, [flow for flow, _ in asked])
        alike = defaultdict(list)
        for name, key in keys.items():
            alike[key].append(name)
        absolute = self.layout.absolute(self.member)
        return Measure(
            own={
                key: np.array([rms([self._own(one, n, absolute) for n in names]) for one in found])
                for key, names in alike.items()
            },
            flows=tuple(np.array([one.flows[i] for one in found]) for i in range(len(asked))),
            sizes={place: rms([one.sizes[place] for one in found]) for place in found[0].sizes},
            inputs={place: rms([one.inputs[place] for one in found]) for place in found[0].inputs},
        )

    def _own(self, updates: Updates, name: str, absolute: set[str]) -> float:
        size = updates.sizes[self.member.places[name]]
        return updates.own[name] if name in absolute or not size else updates.own[name] / size

    def untouched(self) -> tuple[dict[str, float], list[float], dict[str, float]]:
        """Every factor 1."""
        keys = self.layout.keys(self.member).values()
        return dict.fromkeys(keys, 1.0), [1.0] * len(self.layout.flows(self.member)), {}

    def flows_to_zero(self, start: Measure) -> dict[str, int]:
        """Which flow would set the init of parameters that start at 0, with all that they update.

        Args:
            start: what the first steps do.
        """
        keys = self.layout.keys(self.member)
        return {
            keys[name]: i
            for i, (_, names) in enumerate(self.layout.flows(self.member))
            for name in names
            if not start.sizes[self.member.places[name]]
        }


def init_factors(
    asked: Sequence[tuple[Flow, Sequence[str]]],
    init: Sequence[float],
    spread: Mapping[str, float],
) -> dict[str, float]:
    """Factors on initial values, by parameter.

    Args:
        asked: flows, with the parameters whose init they set.
        init: the factor of every flow.
        spread: further factors.
    """
    factors = dict(spread)
    for (_, names), factor in zip(asked, init, strict=True):
        factors |= {name: factors.get(name, 1.0) * factor for name in names}
    return factors


def match_first_steps(bench: Bench, small: Bench, goal: Measure, rounds: int) -> Matched:
    """Turn learning rates, then init, then learning rates again, until all sizes are the goal's.

    First of all, hidden matrices are brought to the spread that their fan-in asks for.

    Own updates grow in proportion to learning rates. What an init factor c does goes through the
    gradients, too, which may carry c: so the rates are set first, at a given c, and then c. Where
    the outputs start at 0 no c changes them: there their own updates get it.

    Args:
        bench: the network whose factors are turned.
        small: the other one.
        goal: what the first steps of that one do.
        rounds: at most.
    """
    can_be_set = [bool(names) for _, names in bench.layout.flows(bench.member)]

    def wanted(key: str) -> Seeds:
        return goal.own[key] * (init[at_zero[key]] if key in at_zero else 1.0)

    def residual(now: Measure) -> float:
        pairs = [(wanted(key), now.own[key]) for key in goal.own]
        pairs += compress(zip(goal.flows, now.flows, strict=True), can_be_set)
        return max((abs(log(ratio(*pair))) for pair in pairs), default=0.0)

    lr, init, spread = bench.untouched()
    before = bench.measure(lr, init, spread)
    at_zero = bench.flows_to_zero(before)
    spread = spread_factors(bench.layout, small.member, bench.member, goal.sizes, before.sizes)
    now = bench.measure(lr, init, spread) if spread else before
    if misfit(goal.inputs, now.inputs) >= misfit(goal.inputs, before.inputs):
        spread, now = {}, before  # the forward pass divides by the width itself
    for _ in range(rounds):
        lr = {key: lr[key] * ratio(wanted(key), now.own[key]) for key in goal.own}
        if any(can_be_set):
            now = bench.measure(lr, init, spread)
            turned = zip(init, goal.flows, now.flows, can_be_set, strict=True)
            init = [c * ratio(aim, got) if can else c for c, aim, got, can in turned]
        now = bench.measure(lr, init, spread)
        if residual(now) <= MATCHED:
            break
    return Matched(
        size=bench.member.size,
        lr=lr,
        init=tuple(init),
        spread=spread,
        before=before,
        after=now,
        residual=residual(now),
    )


def ratio(wanted: Seeds, got: Seeds) -> float:
    """Of the root mean squares over the seeds; 1 where one of them is 0."""
    a, b = rms(wanted), rms(got)
    return a / b if a and b else 1.0


def rms(values: Sequence[float] | Seeds) -> float:
    """Root mean square."""
    return sqrt(float(np.mean(np.square(values))))
