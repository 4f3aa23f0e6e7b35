"""What a probe has seen, as plain tensors, numbers and texts that a checkpoint can hold.

Of the reference only the weights are kept, from which everything else is computed again: a state is
as large as the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor, nn

from lazyrich._arguments import shown
from lazyrich._errors import InputError
from lazyrich.capture.isolation import Leaves, shapes, tensors_in
from lazyrich.capture.look import Plan, PreviousKernel, Reference
from lazyrich.capture.losses import Loss, loss_name
from lazyrich.observables.observable import Observable, Row
from lazyrich.probe.clock import Clock

VERSION = 1
_PARTS = ("version", "made_with", "start", "trainable", "lrs", "rates_unknown", "steps", "rows",
          "made", "notes", "kernels", "seconds", "forecast")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class InitialNetwork:
    """The network at the first look.

    Attributes:
        tensors: its parameters and buffers, by name; half precision widened.
        trainable: names of the parameters that train.
    """

    tensors: Leaves
    trainable: tuple[str, ...]

    @property
    def trains(self) -> dict[str, bool]:
        """Whether each of them is a parameter that trains."""
        return {name: name in self.trainable for name in self.tensors}

    def leaves(self, model: nn.Module) -> Leaves:
        """Fresh copies on the device of a model, the trainable ones as leaves of a graph.

        Args:
            model: the model in whose place they stand.
        """
        parameters = [*model.parameters()]
        devices = {
            name: t.device for name, t in (*model.named_parameters(), *model.named_buffers())
        }
        copies = {
            name: tensor.detach().to(devices.get(name, parameters[0].device), copy=True)
            for name, tensor in self.tensors.items()
        }
        return {name: t.requires_grad_(name in self.trainable) for name, t in copies.items()}


@dataclass(frozen=True, kw_only=True)
class State:
    """What a probe has seen.

    Attributes:
        made_with: what has to be the same in the probe that goes on, by its name in a sentence.
        start: the network that is the reference; None before the first look.
        lrs: learning rates inside the kernel; None for equal ones.
        rates_unknown: whether these are to be replaced when the optimiser's are not all 0.
        steps: steps of the measurements.
        rows: their values.
        made: steps of the optimiser so far.
        notes: what a reader of the history has to know, besides those of the reference.
        kernels: the last ones.
        clock: how long it took.
        forecast: the forecast as JSON, if one was made.
    """

    made_with: Mapping[str, Any]
    start: InitialNetwork | None = None
    lrs: Mapping[str, float] | None = None
    rates_unknown: bool = False
    steps: Sequence[int] = ()
    rows: Sequence[Row] = ()
    made: int = 0
    notes: Sequence[str] = ()
    kernels: Sequence[PreviousKernel] = ()
    clock: Clock = field(default_factory=Clock)
    forecast: str | None = None

    def as_plain(self) -> dict[str, Any]:
        """A dict of tensors, numbers and texts; no tensor is shared with the model."""
        start = self.start
        return {
            "version": VERSION,
            "made_with": dict(self.made_with),
            "start": None if start is None else {k: _kept(t) for k, t in start.tensors.items()},
            "trainable": [] if start is None else list(start.trainable),
            "lrs": None if self.lrs is None else {k: float(x) for k, x in self.lrs.items()},
            "rates_unknown": self.rates_unknown,
            "steps": list(self.steps),
            "rows": [_plain_row(row) for row in self.rows],
            "made": self.made,
            "notes": list(self.notes),
            "kernels": [[one.step, _kept(one.kernel)] for one in self.kernels],
            "seconds": self.clock.seconds(),
            "forecast": self.forecast,
        }


def state_from(found: object, model: nn.Module, made_with: Mapping[str, Any]) -> State:
    """Read what `State.as_plain` made.

    Args:
        found: the dict.
        model: the model of the probe that goes on.
        made_with: versions of this probe.

    Raises:
        InputError: it is none, or of another model, batch or loss, or otherwise made probe.
    """
    if (
        not isinstance(found, Mapping)
        or found.get("version") != VERSION
        or (not set(_PARTS) <= found.keys())
    ):
        raise InputError(
            f"`state` must be what `Probe.state_dict` gave, got {shown(found)}. Take the entry of "
            "your checkpoint that holds it."
        )
    for name, own in made_with.items():
        if (saved := found["made_with"].get(name)) != own:
            raise InputError(
                f"the state must be of a probe with the same {name}, got one with {saved!r} for "
                f"{own!r}. Make the probe as the one was made whose state this is."
            )
    start = None
    if found["start"] is not None:
        _refuse_other_model(found["start"], model)
        start = InitialNetwork(tensors=dict(found["start"]), trainable=tuple(found["trainable"]))
    measuring, elapsed, cost = found["seconds"]
    return State(
        made_with=made_with,
        start=start,
        lrs=found["lrs"],
        rates_unknown=found["rates_unknown"],
        steps=list(found["steps"]),
        rows=list(found["rows"]),
        made=found["made"],
        notes=list(found["notes"]),
        kernels=[PreviousKernel(step=step, kernel=kernel) for step, kernel in found["kernels"]],
        clock=Clock(measuring=measuring, elapsed=elapsed, cost=cost),
        forecast=found["forecast"],
    )


def making(
    plan: Plan,
    targets: Any,  # noqa: ANN401 - any nesting
    loss: Loss,
    observables: Sequence[Observable],
) -> dict[str, Any]:
    """What a probe is made with, which has to be the same in the one that goes on.

    Args:
        plan: the plan of its looks.
        targets: targets of the samples.
        loss: loss of the probe.
        observables: the observables that it measures.
    """
    measured_on = (plan.inputs, targets)
    return {
        "batch": f"{shapes(measured_on)}, digest {digest(measured_on)}",
        "loss": loss_name(loss),
        "observables": [name for one in observables for name in one.names],
        "directions": plan.directions,
        "seed": plan.seed,
    }


def start_of(reference: Reference) -> InitialNetwork:
    """The network that a reference was taken of."""
    network = reference.network
    return InitialNetwork(
        tensors={**network.theta, **network.constants}, trainable=tuple(network.theta)
    )


def digest(tree: object) -> str:
    """A text that differs if tensors do, in their values, shapes or types.

    Args:
        tree: nested tuples, lists and mappings.

    Example:
        >>> import torch
        >>> digest((torch.ones(2), [1])) == digest([torch.ones(2)]) != digest(torch.ones(3))
        True
    """
    found = blake2b(digest_size=8)
    for tensor in tensors_in(tree):
        found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        numbers = tensor.detach().to_dense().cpu().contiguous().reshape(-1)
        found.update(numbers.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _refuse_other_model(start: Mapping[str, Tensor], model: nn.Module) -> None:
    own = {n: tuple(t.shape) for n, t in (*model.named_parameters(), *model.named_buffers())}
    saved = {name: tuple(tensor.shape) for name, tensor in start.items()}
    if own == saved:
        return
    name = next(n for n in (*own, *saved) if own.get(n) != saved.get(n))
    has, had = (str(shapes.get(name, "nothing")) for shapes in (own, saved))
    raise InputError(
        f"the state must be of the model that is probed, got {had} at `{name}`, where the model "
        f"has {has}. Build the model as it was."
    )


def _plain_row(row: Row) -> Row:
    return {
        name: {layer: float(x) for layer, x in value.items()}
        if isinstance(value, dict)
        else float(value)
        for name, value in row.items()
    }


def _kept(tensor: Tensor) -> Tensor:
    """A copy in main memory, whose storage holds nothing else."""
    return tensor.detach().to("cpu", copy=True)
