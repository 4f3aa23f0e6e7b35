"""The fields of the standard experiment: what each means, and which fit together."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

import torch

from lazyrich._errors import InputError
from lazyrich.observables.catalogue import chosen
from lazyrich.study.activations import ACTIVATIONS
from lazyrich.study.data.datasets import FORMULAS, FROM_FILES, WITH_OPTIONS, check_options
from lazyrich.study.networks.catalogue import NETWORKS
from lazyrich.study.networks.parametrisation import PARAMETRISATIONS
from lazyrich.study.networks.width_rule import OptimizerName
from lazyrich.study.training.recipe import Recipe
from lazyrich.vocabulary.losses import LossName

SEARCHES = ("forecast", "parametrisation", "largest-stable", "accuracy")
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
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


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What is trained, how, and what is measured meanwhile: the fields of `Training`.

    Attributes:
        data: name of the data set, see `load`.
        data_options: options of that data set.
        samples: training samples, chosen balanced over classes; None for all.
        test_samples: the same of the test part.
        data_seed: seed of that choice, the same for all networks of a study.
        model: `fcn`, `cnn`, `resnet18`, `vgg11` or `transformer`.
        width: hidden width d.
        depth: hidden layers of `fcn`; 1 is the two-layer network.
        activation: activation of `fcn`.
        bias: whether the layers of `fcn` have biases.
        model_options: further arguments of the model.
        parametrisation: the same as in `parametrise`.
        output_scale: multiplies the output beside the parametrisation's own factor.
        output_scale_exponent: the output scale is multiplied by d to this power.
        init_scale: factor on the initial weights: a number, or one a weight matrix.
        init_var_w_exponent: exponent of `fcn`: the variance of the first layer's weights is
            multiplied by d to this power.
        init_var_u_exponent: the same of the last layer.
        centred: whether the initial function is subtracted.
        precision: precision of weights and data.
        loss: `mse`, `squared_error` or `cross_entropy`.
        optimizer: `sgd` or `adam`.
        lr: the learning rate η; or `forecast`: a tenth of the time to fit that is forecast (see
            `learning_rate`), `parametrisation`: the one that it names, `largest-stable`: found by
            `largest_stable_lr`, `accuracy`: found by `lr_for_accuracy`.
        lr_scale: multiplies it.
        lr_exponent: so does d to this power.
        accuracy: level that the search `accuracy` asks for, within `steps`.
        momentum: momentum of SGD.
        weight_decay: λ.
        batch_size: None for the full batch.
        steps: at most.
        stop_loss: training loss at which it ends; None to make all steps.
        schedule: `constant` or `cosine`.
        augment: shift and mirror images at random.
        observables: quantities that the probe measures.
        measurements: how many, between the first and the last step.
        spacing: spacing of these steps: `log` or `linear`.
        measure_at: steps to measure at instead, beside the start and the end.
        probe_samples: training samples on which the probe measures.
        seed: seed of weights and order, ≥ 0.

    Raises:
        InputError: naming the field that is out of its range.

    Example:
        >>> TrainingConfig(width=0)
        Traceback (most recent call last):
        ...
        lazyrich.InputError: `width` must be ≥ 1, got 0. The default is 64.
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
    init_var_w_exponent: float = 0.0
    init_var_u_exponent: float = 0.0
    centred: bool = False
    precision: Literal["float32", "float64"] = "float32"
    loss: LossName = "mse"
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
        self._check_words()
        for name in ("width", "depth", "measurements", "probe_samples"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"`{name}` must be ≥ 1, got {getattr(self, name)}. "
                    f"The default is {self.__dataclass_fields__[name].default!r}."
                )
        for name in ("output_scale", "lr_scale"):
            if not 0 < getattr(self, name) < inf:
                raise InputError(
                    f"`{name}` must be a positive number, got {getattr(self, name)}. "
                    f"The default is {self.__dataclass_fields__[name].default!r}."
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
            raise InputError(
                "`observables` must name at least one quantity, got none. Leave it out to "
                "measure the default ones."
            )
        chosen(self.observables)
        self.recipe(1.0)

    def _check_words(self) -> None:
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
                    f"The default is {self.__dataclass_fields__[name].default!r}."
                )

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
                "A word has the learning rate searched for."
            )
        if self.lr == "accuracy" and not 0 <= self.accuracy < 1:
            raise InputError(
                f"`accuracy` must be a share ≥ 0 and < 1, got {self.accuracy}. 0.95 means "
                "that 95 % of the samples are to be right."
            )

    def _check_model(self) -> None:
        own = {"depth": 1, "activation": "relu", "bias": False, "init_var_w_exponent": 0,
               "init_var_u_exponent": 0}  # fmt: skip
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
                f"{self.init_scale}. 1 leaves the parametrisation as it is."
            )
        if self.model == "fcn" and len(scales) not in (1, self.depth + 1):
            raise InputError(
                f"`init_scale` must be one number or {self.depth + 1}, one a weight matrix, got "
                f"{len(scales)}. One number scales all of them."
            )

    @property
    def scales(self) -> float | tuple[float, ...]:
        """The factors on the initial weights, with the powers of the width.

        Example:
            >>> TrainingConfig(width=100, init_var_u_exponent=-1.0).scales
            (1.0, 0.1)
        """
        if self.model != "fcn":
            return self.init_scale
        given = self.init_scale
        factors = list(given) if isinstance(given, tuple) else [given] * (self.depth + 1)
        factors[0] *= self.width ** (self.init_var_w_exponent / 2)
        factors[-1] *= self.width ** (self.init_var_u_exponent / 2)
        return tuple(factors)

    def recipe(self, lr: float) -> Recipe:
        """How to train, with this learning rate.

        Example:
            >>> TrainingConfig(steps=7).recipe(0.1).steps
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
