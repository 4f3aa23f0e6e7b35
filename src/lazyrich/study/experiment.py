"""The standard experiment: build a network, train it under a probe, return what was measured."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, Literal

from lazyrich._errors import InputError, NotFiniteError
from lazyrich.observables.catalogue import chosen
from lazyrich.study.data.datasets import FORMULAS, FROM_FILES, WITH_OPTIONS, check_options
from lazyrich.study.networks.catalogue import NETWORKS
from lazyrich.study.networks.fully_connected import ACTIVATIONS
from lazyrich.study.networks.parametrisation import PARAMETRISATIONS
from lazyrich.study.networks.width_rule import OptimizerName
from lazyrich.study.observe import Watch
from lazyrich.study.prepare import PRECISIONS, SEARCHES, Start, started
from lazyrich.study.training.recipe import Recipe
from lazyrich.study.training.together import Member, pays, train_together
from lazyrich.study.training.train import train
from lazyrich.sweeps.result import Result

OBSERVABLES = (
    "output_change",
    "ntk_change",
    "linearisation_error",
    "parameter_data_alignment",
    "nfa",
    "weight_movement",
)
"""What is measured by default; each name brings those that are measured with it."""

FOR_IMAGES_OR_CLASSES = (
    *(("loss", "cross_entropy"), ("lr", "accuracy"), ("augment", True)),
    *(("model", name) for name in ("cnn", "resnet18", "vgg11", "transformer")),
)
OF_ONE_NETWORK = (  # may differ between networks that are trained together
    *("output_scale", "output_scale_exponent", "init_scale", "seed", "lr", "lr_exponent"),
    *("first_variance_exponent", "last_variance_exponent", "lr_scale", "parametrisation"),
)


@dataclass(frozen=True, kw_only=True)
class Training:
    """One network, trained and measured.

    The weights, the order of the samples and the learning rate follow from the fields alone, so
    that the same fields give the same bits on one machine.

    Attributes:
        data: name of the data set, see `load`.
        data_options: of that data set.
        samples: training samples, chosen balanced over classes; None for all.
        test_samples: the same of the test part.
        data_seed: of that choice, the same for all networks of a study.
        model: `fcn`, `cnn`, `resnet18`, `vgg11` or `transformer`.
        width: hidden width d.
        depth: hidden layers of `fcn`; 1 is the two-layer network.
        activation: of `fcn`.
        bias: of `fcn`.
        model_options: further arguments of the model.
        parametrisation: see `parametrise`.
        output_scale: multiplies the output beside the parametrisation's own factor.
        output_scale_exponent: the output scale is multiplied by d to this power.
        init_scale: factor on the initial weights: a number, or one a weight matrix.
        first_variance_exponent: of `fcn`: the variance of the first layer's weights is multiplied
            by d to this power.
        last_variance_exponent: the same of the last layer.
        centred: whether the initial function is subtracted.
        precision: of weights and data.
        loss: `mse` or `cross_entropy`.
        optimizer: `sgd` or `adam`.
        lr: the learning rate η; or `forecast`: a tenth of the time to fit that is forecast (see
            `learning_rate`), `parametrisation`: the one that it names, `largest-stable`: found by
            `largest_stable_lr`, `accuracy`: found by `lr_for_accuracy`.
        lr_scale: multiplies it.
        lr_exponent: so does d to this power.
        accuracy: level that the search `accuracy` asks for, within `steps`.
        momentum: of SGD.
        weight_decay: λ.
        batch_size: None for the full batch.
        steps: at most.
        stop_loss: training loss at which it ends; None to make all steps.
        schedule: `constant` or `cosine`.
        augment: shift and mirror images at random.
        observables: quantities that the probe measures.
        measurements: how many, between the first and the last step.
        spacing: of them: `log` or `linear`.
        measure_at: steps to measure at instead, beside the start and the end.
        probe_samples: training samples on which the probe measures.
        seed: of weights and order, ≥ 0.

    Raises:
        InputError: naming the field that is out of its range.

    Example:
        >>> point = Training(width=32, samples=100, steps=20, measurements=2)
        >>> result = point.run()
        >>> result.status, dict(result.data.sizes)
        ('finished', {'time': 3, 'layer': 2})
    """

    data: str = "digits"
    data_options: Mapping[str, Any] = field(default_factory=dict)
    samples: int | None = None
    test_samples: int | None = None
    data_seed: int = 0
    model: str = "fcn"
    width: int = 64
    depth: int = 1
    activation: str = "relu"
    bias: bool = False
    model_options: Mapping[str, Any] = field(default_factory=dict)
    parametrisation: str = "ntk"
    output_scale: float = 1.0
    output_scale_exponent: float = 0.0
    init_scale: float | tuple[float, ...] = 1.0
    first_variance_exponent: float = 0.0
    last_variance_exponent: float = 0.0
    centred: bool = False
    precision: Literal["float32", "float64"] = "float32"
    loss: Literal["mse", "cross_entropy"] = "mse"
    optimizer: OptimizerName = "sgd"
    lr: float | Literal["forecast", "parametrisation", "largest-stable", "accuracy"] = "forecast"
    lr_scale: float = 1.0
    lr_exponent: float = 0.0
    accuracy: float = 0.95
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int | None = None
    steps: int = 200
    stop_loss: float | None = None
    schedule: Literal["constant", "cosine"] = "constant"
    augment: bool = False
    observables: tuple[str, ...] = OBSERVABLES
    measurements: int = 10
    spacing: Literal["log", "linear"] = "log"
    measure_at: tuple[int, ...] = ()
    probe_samples: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("data", {**WITH_OPTIONS, **FROM_FILES}),
            ("model", NETWORKS),
            ("activation", ACTIVATIONS),
            ("parametrisation", PARAMETRISATIONS),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in known:
                raise InputError(
                    f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}. "
                    "Choose one of these."
                )
        for name in ("width", "depth", "measurements", "probe_samples"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be ≥ 1, got {getattr(self, name)}. Raise it.")
        for name in ("output_scale", "lr_scale"):
            if not 0 < getattr(self, name) < inf:
                raise InputError(
                    f"`{name}` must be a positive number, got {getattr(self, name)}. Correct it."
                )
        if self.seed < 0:
            raise InputError(f"`seed` must be ≥ 0, got {self.seed}. Count seeds from 0.")
        self._check_data()
        self._check_lr()
        self._check_model()
        if any(not 0 <= step <= self.steps for step in self.measure_at):
            raise InputError(
                f"`measure_at` must lie in 0 to {self.steps}, the steps, got {self.measure_at}. "
                "Leave later ones out."
            )
        if not self.observables:
            raise InputError("`observables` must name at least one quantity, got none. Name one.")
        chosen(self.observables)
        self.recipe(1.0)

    def _check_data(self) -> None:
        check_options(self.data, self.data_options)
        for name, value in FOR_IMAGES_OR_CLASSES:
            if self.data in FORMULAS and getattr(self, name) == value:
                raise InputError(
                    f"`{name}` must not be {value!r} for {self.data}, a regression on vectors. "
                    "Choose another, or another data set."
                )

    def _check_lr(self) -> None:
        number = isinstance(self.lr, int | float) and not isinstance(self.lr, bool)
        if self.lr not in SEARCHES and not (number and 0 < float(self.lr) < inf):
            raise InputError(
                f"`lr` must be a positive number or one of {', '.join(SEARCHES)}, got {self.lr!r}. "
                "Choose one of them."
            )
        if self.lr == "accuracy" and not 0 <= self.accuracy < 1:
            raise InputError(
                f"`accuracy` must be a share ≥ 0 and < 1, got {self.accuracy}. Correct it."
            )

    def _check_model(self) -> None:
        own = {"depth": 1, "activation": "relu", "bias": False, "first_variance_exponent": 0,
               "last_variance_exponent": 0}  # fmt: skip
        for name, default in own.items():
            if self.model != "fcn" and getattr(self, name) != default:
                raise InputError(
                    f"`{name}` must be left at {default!r} for {self.model}, got "
                    f"{getattr(self, name)!r}. It belongs to the model fcn."
                )
        if self.model_options:
            fields = {"inputs", "outputs", "width", *(own if self.model == "fcn" else ())}
            takes = [
                x for x in inspect.signature(NETWORKS[self.model]).parameters if x not in fields
            ]
            for name in self.model_options:
                if name not in takes:
                    raise InputError(
                        f"`model_options` of {self.model} must be among "
                        f"{', '.join(takes) or 'none'}, got {name!r}. Width, and all sizes of fcn, "
                        "are fields of their own."
                    )
        scales = self.init_scale if isinstance(self.init_scale, tuple) else (self.init_scale,)
        if not all(0 < scale < inf for scale in scales):
            raise InputError(
                f"`init_scale` must be positive, a number or one a weight matrix, got "
                f"{self.init_scale}. Correct it."
            )
        if self.model == "fcn" and len(scales) not in (1, self.depth + 1):
            raise InputError(
                f"`init_scale` must be one number or {self.depth + 1}, one a weight matrix, got "
                f"{len(scales)}. Correct it."
            )

    @property
    def scales(self) -> float | tuple[float, ...]:
        """The factors on the initial weights, with the powers of the width.

        Example:
            >>> Training(width=100, last_variance_exponent=-1.0).scales
            (1.0, 0.1)
        """
        if self.model != "fcn":
            return self.init_scale
        given = self.init_scale
        factors = list(given) if isinstance(given, tuple) else [given] * (self.depth + 1)
        factors[0] *= self.width ** (self.first_variance_exponent / 2)
        factors[-1] *= self.width ** (self.last_variance_exponent / 2)
        return tuple(factors)

    def recipe(self, lr: float) -> Recipe:
        """How to train, with this learning rate.

        Example:
            >>> Training(steps=7).recipe(0.1).steps
            7
        """
        return Recipe(
            loss=self.loss,
            optimizer=self.optimizer,
            lr=lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch_size=self.batch_size,
            steps=self.steps,
            stop_loss=self.stop_loss,
            schedule=self.schedule,
            augment=self.augment,
        )

    def run(self) -> Result:
        """Train the network and measure it.

        Returns:
            How it ended, and over `time` (the measurements; `step` says when) and `layer`: the
            probe's quantities, `loss` on all training samples, `test_loss`, and for classes
            `train_accuracy` and `test_accuracy`; of two layers their `alignment`; once: the
            forecast `richness`, `predicted_ntk_change` and `time_to_fit` (NaN if the first step
            leads to no minimum), the `learning_rate` and the `data_digest`. A two-layer linear
            network on a line also has its Gram numbers `uu`, `uw`, `ww` and all that its exact
            solution needs, see `own_theory`.
        """
        begun = _begun(self)
        return begun if isinstance(begun, Result) else _alone(self, *begun)

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
        found: dict[int, Result] = {}
        for places in groups.values():
            some = [points[place] for place in places]
            results = [some[0].run()] if len(some) == 1 else _together(some)
            found |= dict(zip(places, results, strict=True))
        return [found[place] for place in range(len(points))]


Begun = tuple[Start, Watch]


def _begun(point: Training) -> Begun | Result:
    """A network and its watch before the first step, or why there is none."""
    try:
        start = started(point)
    except NotFiniteError as error:
        return Result(status="diverged", sentence=f"Not finite before training: {error}")
    return start, Watch(point, start)


def _alone(point: Training, start: Start, watch: Watch) -> Result:
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


def _together(points: Sequence[Training]) -> list[Result]:
    """Points that differ in `OF_ONE_NETWORK` alone."""
    begun = [_begun(point) for point in points]
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
