"""What a forward pass depends on besides parameters and inputs, made the same at every look.

A look must be a function of the parameters: what a forward pass draws, counts, stores or updates by
itself is no learning. So every pass draws the same random numbers and begins with the same state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lazyrich.capture.belongings import copied, every_module
from lazyrich.capture.functional_norms import NormCall, norm_calls
from lazyrich.capture.generators import Generator, restart
from lazyrich.capture.isolation import Batch, Leaves, arguments, map_tensors, widen
from lazyrich.capture.statistics import Settle, Values, is_first

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
        with (
            _hooks(model, self.settles, settled=settled),
            self._norm_calls(model, settled=settled),
        ):
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
        with (
            torch.no_grad(),
            _hooks(model, self.settles, found=found),
            self._norm_calls(model, found=found),
        ):
            self._run(model, tensors, x)
        return {name: tuple(calls) for name, calls in found.items()}

    @contextmanager
    def _norm_calls(
        self,
        model: nn.Module,
        *,
        settled: Settled | None = None,
        found: dict[str, list[Values]] | None = None,
    ) -> Iterator[None]:
        """Set the statistics of each call of a norm as a function, as `_hooks` do of modules."""
        if not self.functional:
            yield
            return
        turns = {path: iter(calls) for path, calls in self.functional.items()}
        known = {path: iter((settled or {}).get(path, ())) for path in self.functional}

        def answer(call: NormCall) -> dict[str, Any]:
            if call.path not in turns:
                return call.arguments
            by_batch = next(turns[call.path], False) or call.by_input
            values = next(known[call.path], None)
            if values is None:  # also in a call more than there were
                values = call.statistics() if by_batch else {}
            if found is not None:
                found[call.path].append(values)
            return call.by(values) if by_batch else call.arguments

        with norm_calls(model, answer):
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


@contextmanager
def _hooks(
    model: nn.Module,
    settles: Mapping[str, Settle],
    *,
    settled: Settled | None = None,
    found: dict[str, list[Values]] | None = None,
) -> Iterator[None]:
    """Set the buffers of settling modules before each of their calls.

    Args:
        model: the plain module.
        settles: the modules, and how they settle.
        settled: what to set, call by call; a call more than there are leaves it as it is.
        found: to take the buffers anew and keep them here.
    """

    def watch(name: str, settle: Settle) -> Any:  # noqa: ANN401 - torch's hook type
        calls = iter((settled or {}).get(name, ()))

        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:  # noqa: ANN401
            values = next(calls, None)
            if found is not None:
                values = settle(module, args, kwargs)
                found[name].append(values)
            if values is not None:
                module._buffers.update(values)
                # with neither statistics nor train mode an instance norm would refuse
                module.training = None in values.values()

        return hook

    modules = every_module(model) if settles else {}
    with ExitStack() as stack:
        for name, settle in settles.items():
            handle = modules[name].register_forward_pre_hook(
                watch(name, settle), prepend=is_first(settle), with_kwargs=True
            )
            stack.callback(handle.remove)
        yield
