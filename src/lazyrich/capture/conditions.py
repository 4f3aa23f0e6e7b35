"""What a forward pass depends on besides parameters and inputs, made the same at every look.

A look must be a function of the parameters: what a forward pass draws, counts, stores or updates by
itself is no learning. So every pass draws the same random numbers and begins with the same state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lazyrich.capture.belongings import copied, every_module, label_alike
from lazyrich.capture.functional_norms import NormCall, norm_calls
from lazyrich.capture.generators import Generator, restart
from lazyrich.capture.isolation import Batch, Leaves, arguments, map_tensors, widen
from lazyrich.capture.operations import Plainly
from lazyrich.capture.pass_hooks import RegisteredHook, without_registered
from lazyrich.capture.pieces import is_wrapped
from lazyrich.capture.statistics import (
    Settle,
    Values,
    is_derived,
    is_first,
    normalise_by_batch,
)

MODE = "evaluation: dropout off, batch norms by the statistics of these samples"
ABSENT = object()
"""The value of an attribute that is not there."""

Settled = Mapping[str, tuple[Values, ...]]
"""Module path → its settled buffers in each of its calls in one forward pass."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Found at the first look at a model and kept for all later ones.

    Attributes:
        settles: modules whose state is taken anew at every look, and how.
        functional: whether, for other modules, training normalises by the batch in each of the
            calls of `functional.batch_norm` that their forward makes.
        buffers: those that the forward pass changes by itself, as they were.
        attributes: holder, name and value of those that it sets, as they were; maybe `ABSENT`.
        hooks: those that it registers, from which each pass is free.
        operations: lets some run in their plain forms; None if there are none of these.
        rewritten: parameters and buffers that it writes on; each pass gets its own copies.
        generators: generators of random numbers, started anew for every pass.
        noisy: whether the result depends on what they draw.
        inner: whether it takes gradients by parameters itself, so that they must be in a graph.
        notes: what a reader of the result has to know, in sentences.
    """

    settles: Mapping[str, Settle]
    functional: Mapping[str, tuple[bool, ...]]
    buffers: Leaves
    attributes: tuple[tuple[object, str, Any], ...]
    hooks: frozenset[RegisteredHook]
    operations: Plainly | None
    rewritten: frozenset[str]
    generators: tuple[Generator, ...]
    noisy: bool
    inner: bool
    notes: tuple[str, ...]

    def call(self, model: nn.Module, tensors: Leaves, x: Batch, settled: Settled) -> Any:  # noqa: ANN401
        """One forward pass; call this inside `undisturbed`.

        Args:
            model: the plain module.
            tensors: its parameters and buffers; none of them is written on.
            x: a tensor, a sequence of positional arguments, or a mapping of keyword arguments.
            settled: the state from `settle`.
        """
        calls = {name: iter(values) for name, values in settled.items()}

        def values_of(name: str) -> Values | None:
            return next(calls.get(name, iter(())), None)  # none for a call more than there were

        def put(name: str, _: Settle, module: nn.Module, *__: Any) -> None:  # noqa: ANN401
            values = values_of(name)
            if values is not None:
                _put(module, values)

        def by(call: NormCall) -> Values:
            return values_of(call.path) or call.statistics()

        with _hooks(model, self.settles, put), self._norm_calls(model, by):
            return self._run(model, tensors, x)

    def train(self, model: nn.Module, tensors: Leaves, x: Batch) -> Any:  # noqa: ANN401
        """One forward pass as training makes it, whose statistics depend on the parameters.

        Args:
            model: the plain module; call this inside `undisturbed`.
            tensors: the same as for `call`.
            x: the same as for `call`.
        """

        def put(_: str, settle: Settle, module: nn.Module, *call: Any) -> None:  # noqa: ANN401
            if is_derived(settle):
                normalise_by_batch(module)
            else:
                _put(module, settle(module, *call))

        def by(_: NormCall) -> Values:
            return {"running_mean": None, "running_var": None}

        with _hooks(model, self.settles, put), self._norm_calls(model, by):
            return self._run(model, tensors, x)

    def settle(self, model: nn.Module, tensors: Leaves, x: Batch) -> Settled:
        """Where state that settles comes to with these weights on this batch, by one pass.

        Args:
            model: the plain module; call this inside `undisturbed`.
            tensors: the same as for `call`.
            x: the batch.
        """
        return self.settling(model, tensors, x)[0]

    def settling(self, model: nn.Module, tensors: Leaves, x: Batch) -> tuple[Settled, Any]:
        """The same, and what that pass returned; None if nothing settles and none was made.

        Args:
            model: the model, as for `settle`.
            tensors: the tensors, as for `call`.
            x: the batch.
        """
        if not self.settles and not self.functional:
            return {}, None
        found: dict[str, list[Values]] = defaultdict(list)

        def find(name: str, settle: Settle, module: nn.Module, *call: Any) -> None:  # noqa: ANN401
            found[name].append(settle(module, *call))
            _put(module, found[name][-1])

        def by(call: NormCall) -> Values:
            found[call.path].append(call.statistics())
            return found[call.path][-1]

        without_graph = {name: tensor.detach() for name, tensor in tensors.items()}
        with _hooks(model, self.settles, find), self._norm_calls(model, by):
            result = self._run(model, without_graph, x)
        return {name: tuple(calls) for name, calls in found.items()}, result

    @contextmanager
    def _norm_calls(self, model: nn.Module, by: Callable[[NormCall], Values]) -> Iterator[None]:
        """Set the statistics of norms that are called as functions, as `_hooks` do of modules.

        Args:
            model: the plain module.
            by: what a call normalises by that is over the batch in training.
        """
        if not self.functional:
            yield
            return
        turns = {path: iter(calls) for path, calls in self.functional.items()}

        def answer(call: NormCall) -> dict[str, Any]:
            if call.path not in turns:
                return call.arguments
            in_training = next(turns[call.path], False)
            return call.by(by(call)) if in_training or call.by_input else call.arguments

        with norm_calls(model, answer):
            yield

    def _run(self, model: nn.Module, tensors: Leaves, x: Batch) -> Any:  # noqa: ANN401
        held = {name: b.to(tensors[name].device) for name, b in self.buffers.items()}
        own = {n: t.clone() if n in self.rewritten else t for n, t in {**tensors, **held}.items()}
        if self.inner:
            own |= {n: _in_graph(own[n]) for n, p in model.named_parameters() if p.requires_grad}
        label_alike(model, own)
        for holder, name, value in self.attributes:
            if value is ABSENT:
                vars(holder).pop(name, None)
            else:
                vars(holder)[name] = copied(value)
        for generator in self.generators:
            restart(generator)
        copies = map_tensors(lambda tensor: widen(tensor.detach().clone()), x)
        args, kwargs = arguments(model, copies)
        with self.operations or nullcontext(), without_registered(model, self.hooks):
            return torch.func.functional_call(model, own, args, kwargs)


def _in_graph(tensor: Tensor) -> Tensor:
    """A leaf, if it is in no graph yet and `torch.func` does not hold it."""
    if tensor.requires_grad or is_wrapped(tensor):
        return tensor
    return tensor.detach().requires_grad_()


def _put(module: nn.Module, values: Values) -> None:
    module._buffers.update(values)
    # with neither statistics nor train mode an instance norm would refuse
    module.training = None in values.values()


@contextmanager
def _hooks(
    model: nn.Module, settles: Mapping[str, Settle], before: Callable[..., None]
) -> Iterator[None]:
    """Set the state of settling modules before each of their calls.

    Args:
        model: the plain module.
        settles: the modules, and how they settle.
        before: `(name, settle, module, args, kwargs)`, sets it.
    """
    modules = every_module(model) if settles else {}
    with ExitStack() as stack:
        for name, settle in settles.items():
            handle = modules[name].register_forward_pre_hook(
                partial(before, name, settle), prepend=is_first(settle), with_kwargs=True
            )
            stack.callback(handle.remove)
        yield
