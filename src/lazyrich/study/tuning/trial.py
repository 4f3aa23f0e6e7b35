"""One training at one richness, and its test loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import inf, isfinite, nan
from time import perf_counter
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lazyrich._arguments import as_number, shown
from lazyrich._errors import ConvergenceError, InputError, NoDescentError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.generators import seeded
from lazyrich.capture.isolation import arguments, brought_to, is_finite, single_output, tensors_in
from lazyrich.capture.losses import Loss, loss_name, output_loss
from lazyrich.capture.optimizer_step import checked_optimizer
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.forecast.first_step import first_step
from lazyrich.probe.forecast.training import needs_closure
from lazyrich.probe.probe import Probe
from lazyrich.probe.steer.dial import dial
from lazyrich.probe.steer.dialled import Dialled
from lazyrich.probe.steer.short_training import OptimizerFactory
from lazyrich.sweeps.result import Result

Test = LabelledBatch | Callable[[nn.Module], float]
"""`(inputs, targets)` held out, or what measures a trained model: the lower, the better."""

DIRECTIONS = 8  # random ones for ρ: few, since it is set again and again
REHEARSED = 20  # steps in which a dial has to show that the loss falls
BLOWN_UP = 1e15  # outputs of this size are no outputs
KERNEL = ("ntk_change",)


@dataclass(frozen=True, kw_only=True)
class TuningTask:
    """What is trained again and again.

    Attributes:
        factory: makes the model of a width.
        batch: the batch to dial by, and to measure the training loss and the kernel on.
        loss: the loss of the outputs.
        width: width of the models.
        optimizer: makes the optimiser.
        steps: number of steps of a training.
        batches: gone round and round.
        test: what is to be low, see `Test`.
        schedule: what multiplies the learning rates after so many steps.
    """

    factory: Callable[[int], nn.Module]
    batch: LabelledBatch
    loss: Loss
    width: int
    optimizer: OptimizerFactory
    steps: int
    batches: Iterable[LabelledBatch]
    test: Test
    schedule: Callable[[int], float] | None

    @property
    def tested_by(self) -> str:
        """What the test loss is: a name of `LOSSES`, or what the user's own function is called."""
        if callable(self.test):
            name = getattr(self.test, "__name__", type(self.test).__name__)
            return f"the user's test {name}"
        return loss_name(self.loss)

    def seeded(self, seed: int) -> Any:  # noqa: ANN401 - a context
        """All random numbers that a training may draw begin at a seed.

        Args:
            seed: seed of the generators.
        """
        return seeded(seed, *{tensor.device for tensor in tensors_in(self.batch)})

    def built(self) -> tuple[nn.Module, Optimizer]:
        """A new model and its optimiser.

        Raises:
            InputError: either is none.
        """
        model = self.factory(self.width)
        if not isinstance(model, nn.Module):
            raise InputError(
                f"`factory` must return a torch.nn.Module, got {shown(model)}. Return the network."
            )
        return model, checked_optimizer(self.optimizer(model, self.width))


@dataclass(frozen=True, kw_only=True)
class RichnessTrial:
    """Which training: a point of the study that a store keeps.

    Attributes:
        task: a digest of what is trained, so that another task is another point.
        richness: ρ that is set; None for the network as it stands.
        lr_scale: what multiplies its learning rates.
        seed: seed of weights, batches and whatever else is drawn.
    """

    task: str
    richness: float | None = None
    lr_scale: float = 1.0
    seed: int = 0

    def run(self) -> Result:
        """Refused: a store does not know the network.

        Raises:
            InputError: always.
        """
        raise InputError(
            "a training of a richness curve must be run by `best_richness`, which has the network, "
            "got a sweep. Call `best_richness` again with this folder as `out`."
        )


@exact_arithmetic()
def trained(task: TuningTask, trial: RichnessTrial) -> Result:
    """Build, dial, train, test.

    Args:
        task: what is trained.
        trial: how.

    Returns:
        "finished", "diverged", or "failed" where the dial could not be set or the test gave no
        number.

    Raises:
        InputError: what `dial` refuses, and batches or tests that are none.
    """
    start = perf_counter()
    with task.seeded(trial.seed):
        model, optimizer = task.built()
        try:
            setting = _set(task, trial, model, optimizer)
        except (ConvergenceError, NoDescentError) as error:
            if trial.richness is not None:
                return _result("failed", str(error), {}, start)
            setting = model, nan, nan, nan
        network, rho, scale, time = setting
        for group in optimizer.param_groups:
            group["lr"] *= trial.lr_scale
        row = {"richness": rho, "output_scale": scale, "time_to_fit": time / trial.lr_scale}
        probe = Probe(network, task.batch, task.loss, observables=KERNEL)
        probe.measure(0, optimizer=optimizer)
        made = _train(task, network, optimizer)
        if made == task.steps:
            row |= _tested(task, network)
        if not isfinite(row.get("loss", nan)):
            return _result("diverged", f"The outputs blew up by step {made}.", row, start)
        if not isfinite(row["test_loss"]):
            return _result("failed", f"The test gave {row.pop('test_loss')}.", row, start)
        probe.measure(made, optimizer=optimizer)
        row["ntk_change"] = probe.history.ntk_change[-1].item()
    return _result("finished", f"{made} steps", row, start)


def _set(
    task: TuningTask, trial: RichnessTrial, model: nn.Module, optimizer: Optimizer
) -> tuple[nn.Module, float, float, float]:
    """The network to train, its ρ, γ and time to fit."""
    if trial.richness is None:
        told = first_step(model, brought_to(model, task.batch), task.loss, optimizer=optimizer)
        return model, told.richness, nan, told.time_to_fit
    set_ = dialled(task, model, optimizer, trial.richness)
    return set_.model, set_.richness, set_.output_scale, set_.forecast.time_to_fit


def dialled(task: TuningTask, model: nn.Module, optimizer: Optimizer, richness: float) -> Dialled:
    """Set ρ, as every trial does.

    Args:
        task: what is trained.
        model: a model of the task, or of another width.
        optimizer: the optimiser of the model; its rates are set in place.
        richness: ρ.
    """
    return dial(
        model, brought_to(model, task.batch), task.loss, optimizer=optimizer, richness=richness,
        schedule=task.schedule, max_steps=min(REHEARSED, task.steps), directions=DIRECTIONS,
    )  # fmt: skip


def _train(task: TuningTask, network: nn.Module, optimizer: Optimizer) -> int:
    """Make the steps; returns how many were made before the loss was lost."""
    network.train()
    rates = None if task.schedule is None else LambdaLR(optimizer, task.schedule)
    for made, batch in enumerate(islice(_round_and_round(task.batches), task.steps)):
        backward = partial(_backward, task, network, optimizer, brought_to(network, batch))
        if needs_closure(optimizer):
            now = float(optimizer.step(backward))  # type: ignore[arg-type]
        elif isfinite(now := float(backward())):
            optimizer.step()
        if not isfinite(now):
            return made
        if rates is not None:
            rates.step()
    return task.steps


def _round_and_round(batches: Iterable[LabelledBatch]) -> Iterator[LabelledBatch]:
    while True:
        nothing = True
        for batch in batches:
            nothing = False
            yield batch
        if nothing:
            raise InputError(
                "`batches` must give a batch each time they are gone through, got none. Pass a "
                "list or a DataLoader, no generator."
            )


def _backward(
    task: TuningTask, network: nn.Module, optimizer: Optimizer, batch: LabelledBatch
) -> Tensor:
    optimizer.zero_grad()
    value = loss_of(network, batch, task.loss)
    if value.isfinite():
        value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def loss_of(network: nn.Module, batch: LabelledBatch, loss: Loss) -> Tensor:
    """The loss of a batch, infinite where the outputs are none.

    Args:
        network: the network as it is.
        batch: the batch, on the network's device.
        loss: the loss, as in `forecast`.
    """
    x, y = inputs_and_targets(batch)
    positional, named = arguments(network, x)
    outputs = single_output(network(*positional, **named))
    with torch.no_grad():
        if not is_finite(outputs) or outputs.abs().max() > BLOWN_UP:
            return torch.tensor(inf)
    fixed = output_loss(loss, outputs, y)  # refuses what is no loss, and leaves no trace in one
    return loss(outputs, y).reshape(()) if callable(loss) else fixed(outputs)


def _tested(task: TuningTask, network: nn.Module) -> dict[str, float]:
    """Loss of the batch and of the test, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        train_loss = float(loss_of(network, brought_to(network, task.batch), task.loss))
        if not callable(task.test):
            test = float(loss_of(network, brought_to(network, task.test), task.loss))
            return {"loss": train_loss, "test_loss": test}
        came = task.test(network)
    if (number := as_number(came)) is None:
        raise InputError(
            f"`test` must return a number, got {shown(came)}. Return the loss of the test samples."
        )
    return {"loss": train_loss, "test_loss": number}


NAMES = ("test_loss", "loss", "ntk_change", "richness", "output_scale", "time_to_fit")


def _result(status: Any, sentence: str, row: dict[str, float], start: float) -> Result:  # noqa: ANN401
    """What the store keeps; a quantity that is not known is NaN."""
    data = xr.Dataset({name: row.get(name, nan) for name in NAMES})
    return Result(status=status, sentence=sentence, data=data, seconds=perf_counter() - start)
