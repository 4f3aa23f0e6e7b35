"""Which richness tests best: the dial is turned over its range, and every setting is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from pathlib import Path

from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from lazyrich._arguments import as_number, shown, takes, whole
from lazyrich._errors import InputError, NoDescentError
from lazyrich.capture.isolation import brought_to
from lazyrich.capture.losses import Loss
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.forecast.first_step import richness as richness_of
from lazyrich.probe.steer.short_training import OptimizerFactory
from lazyrich.study.tuning.curve import RichnessCurve
from lazyrich.study.tuning.table import curves
from lazyrich.study.tuning.trainings import digest_of_start, trainings
from lazyrich.study.tuning.trial import Test, TuningTask

AROUND = tuple(4.0**power for power in range(-3, 4))  # times the ρ at which the network stands


def best_richness(
    factory: Callable[[int], nn.Module],
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    width: int,
    optimizer: OptimizerFactory,
    steps: int,
    test: Test,
    batches: Iterable[LabelledBatch] | None = None,
    schedule: Callable[[int], float] | None = None,
    richness: Sequence[float] | None = None,
    lr_scales: Sequence[float] = (1.0,),
    seeds: int = 5,
    out: str | Path | None = None,
    progress: bool = True,
) -> RichnessCurve:
    """Find the richness at which a small network tests best, by training at several.

    With every seed a network is made and trained as it stands, and, made again, at every richness
    ρ that `dial` is set to: same weights, same batches. The answer says where the test loss is
    lowest, what going there gains over the network as it stands, and whether either can be told
    from the seeds. `RichnessCurve.apply` sets the answer on a network of any width.

    The dial keeps how fast the outputs move at first: its learning rates follow the output scale
    (see `dial`), so that a change of ρ is none of the speed. The best rate may change with ρ all
    the same: `lr_scales` multiplies the rates of every setting, also of the network as it stands,
    and each ρ counts with its best one. Whether all were trained equally far stands in the result:
    the training loss beside the test loss.

    Args:
        factory: makes the model of a width, freshly initialised.
        batch: `(inputs, targets)` or a mapping, see `forecast`: of the training data, to dial by
            and to measure the training loss on.
        loss: the loss, as in `forecast`.
        width: width of the small network.
        optimizer: a factory `(model, width) -> optimizer`, with the rates as they stand.
        steps: number of steps of every training.
        test: `(inputs, targets)` held out, or a function of the trained model that gives what is
            to be low, such as an error rate.
        batches: what is learned, a batch a step, gone through again and again, such as a list or
            a `DataLoader`; by default `batch` itself.
        schedule: what multiplies the learning rates after so many steps.
        richness: ρ > 0 to try, at least 3; by default seven, by factors of 4, in whose middle the
            network stands.
        lr_scales: what multiplies the learning rates, > 0.
        seeds: initialisations, ≥ 2.
        out: a folder for the store of the trainings, from which the same call goes on, and one
            with more `richness`, `lr_scales` or `seeds` goes further. `lazyrich.results` reads it.
        progress: show it on stderr.

    Returns:
        The curve. Ctrl-C ends the trainings, not the answer: what is done for whole seeds counts.

    Raises:
        InputError: an argument that is of another kind or out of range, and what `dial` refuses.
        StoreError: see `Store.open`.
        KeyboardInterrupt: before two seeds were through; the trainings that are done are in `out`.

    Example:
        >>> import torch
        >>> x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        >>> y = x[:, :1] * x[:, 1:2]
        >>> def make(width):
        ...     return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
        >>> sgd = lambda model, width: torch.optim.SGD(model.parameters(), lr=0.1)
        >>> found = best_richness(
        ...     make, (x[:24], y[:24]), width=16, optimizer=sgd, steps=40, test=(x[24:], y[24:]),
        ...     richness=(0.01, 0.1, 1.0), seeds=2, progress=False,
        ... )
        >>> found.data.test_loss.sizes["richness"], found.trainings
        (3, 8)
    """
    _refuse_makers(factory, optimizer, batches, schedule)
    _refuse_counts(width=(width, 1), steps=(steps, 1), seeds=(seeds, 2))
    task = TuningTask(
        factory=factory, batch=_pair("batch", batch), loss=loss, width=width, optimizer=optimizer,
        steps=steps, batches=[batch] if batches is None else batches,
        test=test if callable(test) else _pair("test", test), schedule=schedule,
    )  # fmt: skip
    scales = _levels("lr_scales", lr_scales, 1)
    _refuse_equal_seeds(task)
    levels = _around(task) if richness is None else _levels("richness", richness, 3)
    done = trainings(task, levels, scales, seeds, out=out, progress=progress)
    if len(done.seeds) < 2:
        kept = f", and stored in {out}. Run the same again to go on." if out else "."
        raise KeyboardInterrupt(f"{len(done.rows)} of {done.planned} trainings are done{kept}")
    data, standing = curves(task, done)
    return RichnessCurve(
        data=data, standing=standing, task=task, trainings=done.made,
        missing=done.planned - len(done.rows),
    )  # fmt: skip


def _around(task: TuningTask) -> tuple[float, ...]:
    """ρ of the network as it stands, with the first seed, times some factors."""
    with task.seeded(0):
        model, optimizer = task.built()
        try:
            rho = richness_of(model, brought_to(model, task.batch), task.loss, optimizer=optimizer)
        except NoDescentError as error:
            raise InputError(
                "`richness` must be given where the network as it stands has none to begin with, "
                f"got None: {error} Pass the ρ to try."
            ) from error
    if rho == 0:
        raise InputError(
            "the network must have a layer below its readout that is trained, got one that is "
            "linear in its parameters: its richness is 0 and cannot be tuned."
        )
    return tuple(float(f"{factor * rho:.2g}") for factor in AROUND)


def _refuse_makers(factory: object, optimizer: object, batches: object, schedule: object) -> None:
    if not callable(factory) or isinstance(factory, nn.Module):
        raise InputError(
            f"`factory` must be a function that makes the model of a width, got {shown(factory)}. "
            "Pass such as `lambda width: …`."
        )
    if not callable(optimizer) or not takes(optimizer, "model", "size"):
        raise InputError(
            "`optimizer` must be a function (model, width) -> optimizer, got "
            f"{shown(optimizer)}. Pass such as `lambda model, width: SGD(model.parameters(), 0.1)`."
        )
    if batches is not None and (not isinstance(batches, Iterable) or isinstance(batches, Iterator)):
        raise InputError(
            "`batches` must be gone through again and again, as a list or a DataLoader can, got "
            f"{shown(batches)}. Put it into a list."
        )
    if not (schedule is None or callable(schedule)) or isinstance(schedule, LRScheduler):
        raise InputError(
            f"`schedule` must be a function of the step, got {shown(schedule)}. Pass such as "
            "lambda step: 0.99**step."
        )


def _refuse_equal_seeds(task: TuningTask) -> None:
    if digest_of_start(task, 0) == digest_of_start(task, 1):
        raise InputError(
            "`factory` or `batches` must draw from PyTorch's generator, got the same weights and "
            "the same first batch from two seeds: what chance does could not be told. Leave out "
            "seeds of your own."
        )


def _refuse_counts(**counts: tuple[object, int]) -> None:
    for name, (given, least) in counts.items():
        if (whole(given) or 0) < least:
            why = " The spread over the seeds is what everything is held against." * (least == 2)
            raise InputError(f"`{name}` must be a whole number ≥ {least}, got {shown(given)}.{why}")


def _levels(name: str, given: object, least: int) -> tuple[float, ...]:
    numbers = [as_number(one) or 0.0 for one in given] if isinstance(given, Iterable) else []
    levels = tuple(sorted({number for number in numbers if 0 < number < inf}))
    if len(levels) < max(least, len(numbers)):
        raise InputError(
            f"`{name}` must hold {'at least 3 ' if least > 1 else ''}different numbers > 0, got "
            f"{shown(given)}. Leave it out for the usual ones."
        )
    return levels


def _pair(name: str, given: object) -> LabelledBatch:
    try:
        inputs_and_targets(given)
    except InputError as error:
        also = ", or a function of the trained model" if name == "test" else ""
        raise InputError(
            f"`{name}` must be a pair (inputs, targets) or a mapping with `labels`{also}, got "
            f"{shown(given)}. Pass inputs and targets."
        ) from error
    return given  # type: ignore[return-value]
