"""The standard experiment: build a network, train it under a probe, return what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from lazyrich._errors import NotFiniteError
from lazyrich.study.compute import Compute, computing
from lazyrich.study.config import TrainingConfig
from lazyrich.study.observe import Watch
from lazyrich.study.prepare import PreparedRun, started
from lazyrich.study.training.together import Member, pays, train_together
from lazyrich.study.training.train import train
from lazyrich.sweeps.result import Result

OF_ONE_NETWORK = (  # may differ between networks that are trained together
    *("output_scale", "output_scale_exponent", "init_scale", "seed", "lr", "lr_exponent"),
    *("init_var_w_exponent", "init_var_u_exponent", "lr_scale", "parametrisation"),
)


@dataclass(frozen=True, kw_only=True)
class Training(TrainingConfig):
    """One network, trained and measured; its fields are those of `TrainingConfig`.

    The weights, the order of the samples and the learning rate follow from the fields alone, so
    that the same fields give the same bits on one machine's CPU. On which device it runs, and in
    which precision, is no field of it; see `Compute`.

    Raises:
        InputError: naming the field that is out of its range.

    Example:
        >>> point = Training(width=32, samples=100, steps=20, measurements=2)
        >>> result = point.run()
        >>> result.status, dict(result.data.sizes)
        ('finished', {'step': 3, 'layer': 2})
    """

    def run(self) -> Result:
        """Train the network and measure it.

        Returns:
            How it ended, and over `step` and `layer`: the probe's quantities, `loss` on all
            training samples, `test_loss`, and for classes `train_accuracy` and `test_accuracy`; of
            two layers their `alignment`; once, from the first step: `richness` and `time_to_fit`
            (NaN if it leads to no minimum); the `learning_rate`, the `steps` made and the
            `data_digest`. A two-layer linear network on a line also has its
            state `uu`, `uw`, `ww` and the parameters that its exact solution needs, see
            `exact_solution`.
        """
        with computing() as compute:
            begun = _begun(self, compute)
            made = begun if isinstance(begun, Result) else _alone(self, *begun)
            return replace(made, computed_on=str(compute))

    @classmethod
    def run_together(cls, points: Sequence[Training]) -> list[Result]:
        """Run several points; networks of one shape make their steps together where it pays.

        Args:
            points: any; those that differ in scale, learning rate or seed alone are one group, and
                `pays` decides whether it is trained together.

        Returns:
            A result for each, in their order; up to rounding those of `run`.

        Raises:
            InputError: as `run`.
        """
        groups: dict[str, list[int]] = {}
        for place, point in enumerate(points):
            shared = {f.name: getattr(point, f.name) for f in fields(cls)}
            key = repr([value for name, value in shared.items() if name not in OF_ONE_NETWORK])
            groups.setdefault(key, []).append(place)
        by_place: dict[int, Result] = {}
        for places in groups.values():
            some = [points[place] for place in places]
            results = [some[0].run()] if len(some) == 1 else _on_one_device(some)
            by_place |= dict(zip(places, results, strict=True))
        return [by_place[place] for place in range(len(points))]


Training.__module__ = "lazyrich.study"  # from where users import it: part of the points' keys
__test__ = {"Training": Training}  # its example, which doctest looks for where a class says it is

Begun = tuple[PreparedRun, Watch]


def _begun(point: Training, compute: Compute) -> Begun | Result:
    """A network and its watch before the first step, or why there is none."""
    try:
        start = started(point, compute)
    except NotFiniteError as error:
        return Result(status="diverged", sentence=f"Not finite before training: {error}")
    return start, Watch(point, start)


def _alone(point: Training, start: PreparedRun, watch: Watch) -> Result:
    outcome = train(
        start.model,
        start.data,
        start.recipe,
        seed=point.seed,
        lr_factors=start.lr_factors,
        observe=watch.see,
        when=watch.when,
    )
    return watch.result(outcome)


def _on_one_device(points: Sequence[Training]) -> list[Result]:
    with computing() as compute:
        results = _together(points, compute)
        return [replace(result, computed_on=str(compute)) for result in results]


def _together(points: Sequence[Training], compute: Compute) -> list[Result]:
    """Points that differ in `OF_ONE_NETWORK` alone."""
    begun = [_begun(point, compute) for point in points]
    ready = [(place, *one) for place, one in enumerate(begun) if not isinstance(one, Result)]
    results = {place: one for place, one in enumerate(begun) if isinstance(one, Result)}
    if ready and pays(ready[0][1].model, ready[0][1].data, ready[0][1].recipe, len(ready)).pays:
        members = [
            Member(
                model=start.model,
                seed=points[place].seed,
                lr=start.recipe.lr,
                lr_factors=start.lr_factors,
                observe=watch.see,
            )
            for place, start, watch in ready
        ]
        _, start, watch = ready[0]
        outcomes = train_together(members, start.data, start.recipe, when=watch.when)
        for (place, _, watch), outcome in zip(ready, outcomes, strict=True):
            results[place] = watch.result(outcome)
    else:
        for place, start, watch in ready:
            results[place] = _alone(points[place], start, watch)
    return [results[place] for place in range(len(points))]
