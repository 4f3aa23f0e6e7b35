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
from torch import nn

from lazyrich.capture.belongings import copied, every_module
from lazyrich.capture.functional_norms import NormCall, norm_calls
from lazyrich.capture.generators import Generator, restart
from lazyrich.capture.isolation import Batch, Leaves, arguments, map_tensors, widen
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
        functional: of other modules, whether training normalises by the batch in each of the calls
            of `functional.batch_norm` that their forward makes.
        buffers: those that the forward pass changes by itself, as they were.
        attributes: holder, name and value of those that it sets, as they were; maybe `ABSENT`.
        rewritten: parameters and buffers that it writes on; each pass gets its own copies.
        generators: of random numbers, started anew for every pass.
        noisy: whether the result depends on what they draw.
        notes: what a reader of the result has to know, in sentences.
    """

    settles: Mapping[str, Settle]
    functional: Mapping[str, tuple[bool, ...]]
    buffers: Leaves
    attributes: tuple[tuple[object, str, Any], ...]
    rewritten: frozenset[str]
    generators: tuple[Generator, ...]
    noisy: bool
    notes: tuple[str, ...]

    def call(self, model: nn.Module, tensors: Leaves, x: Batch, settled: Settled) -> Any:  # noqa: ANN401
        """One forward pass; call this inside `undisturbed`.

        Args:
            model: the plain module.
            tensors: its parameters and buffers; none of them is written on.
            x: a tensor, a sequence of positional arguments, or a mapping of keyword arguments.
            settled: from `settle`.
        """
        values = {path: iter(calls) for path, calls in settled.items()}

        def given(path: str) -> Values | None:
            return next(values.get(path, iter(())), None)  # None in a call more than there were

        def put(path: str, _: Settle, module: nn.Module, *__: Any) -> None:  # noqa: ANN401
            if (own := given(path)) is not None:
                _put(module, own)

        def normalise(call: NormCall, by_batch: bool) -> Values:
            own = given(call.path)
            return call.statistics() if own is None and by_batch else own or {}

        with self._settling(model, put, normalise):
            return self._run(model, tensors, x)

    def train(self, model: nn.Module, tensors: Leaves, x: Batch) -> Any:  # noqa: ANN401
        """One forward pass as training makes it, whose statistics depend on the parameters.

        Args:
            model: the plain module; call this inside `undisturbed`.
            tensors: as for `call`.
            x: as for `call`.
        """

        def put(_: str, settle: Settle, module: nn.Module, *call: Any) -> None:  # noqa: ANN401
            if is_derived(settle):
                normalise_by_batch(module)
            else:
                _put(module, settle(module, *call))

        with self._settling(model, put, lambda *_: {"running_mean": None, "running_var": None}):
            return self._run(model, tensors, x)

    def settle(self, model: nn.Module, tensors: Leaves, x: Batch) -> Settled:
        """Where state that settles comes to with these weights on this batch, by one pass.

        Args:
            model: the plain module; call this inside `undisturbed`.
            tensors: as for `call`.
            x: the batch.
        """
        if not self.settles and not self.functional:
            return {}
        found: dict[str, list[Values]] = defaultdict(list)

        def put(path: str, settle: Settle, module: nn.Module, *call: Any) -> None:  # noqa: ANN401
            found[path].append(settle(module, *call))
            _put(module, found[path][-1])

        def normalise(call: NormCall, by_batch: bool) -> Values:
            found[call.path].append(call.statistics() if by_batch else {})
            return found[call.path][-1]

        with torch.no_grad(), self._settling(model, put, normalise):
            self._run(model, tensors, x)
        return {path: tuple(calls) for path, calls in found.items()}

    @contextmanager
    def _settling(
        self,
        model: nn.Module,
        put: Callable[..., None],
        normalise: Callable[[NormCall, bool], Values],
    ) -> Iterator[None]:
        """Set the state that settles in every call of a module or a norm.

        Args:
            model: the plain module.
            put: `(path, settle, module, args, kwargs)`, sets that of a module before its call.
            normalise: of a norm as a function and whether it normalises by the batch, its
                statistics.
        """
        turns = {path: iter(calls) for path, calls in self.functional.items()}

        def answer(call: NormCall) -> dict[str, Any]:
            if call.path not in turns:
                return call.arguments
            by_batch = next(turns[call.path], False) or call.by_input
            values = normalise(call, by_batch)
            return call.by(values) if by_batch else call.arguments

        with (
            _hooks(model, self.settles, put),
            norm_calls(model, answer) if self.functional else nullcontext(),
        ):
            yield

    def _run(self, model: nn.Module, tensors: Leaves, x: Batch) -> Any:  # noqa: ANN401
        held = {name: b.to(tensors[name].device) for name, b in self.buffers.items()}
        own = {n: t.clone() if n in self.rewritten else t for n, t in {**tensors, **held}.items()}
        for holder, name, value in self.attributes:
            if value is ABSENT:
                vars(holder).pop(name, None)
            else:
                vars(holder)[name] = copied(value)
        for generator in self.generators:
            restart(generator)
        args, kwargs = arguments(map_tensors(lambda tensor: widen(tensor.detach().clone()), x))
        return torch.func.functional_call(model, own, args, kwargs)


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
