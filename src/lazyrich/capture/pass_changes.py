"""What one forward pass changes by itself, and which batch norms it calls as functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from lazyrich.capture.belongings import attributes, copied, every_module, same
from lazyrich.capture.conditions import ABSENT, Conditions
from lazyrich.capture.functional_norms import NormCall, norm_calls
from lazyrich.capture.isolation import Batch, Leaves, tensors_in
from lazyrich.capture.pass_hooks import RegisteredHook, hooks_on
from lazyrich.capture.statistics import RUNNING_NORM


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What forward passes changed: names of tensors; attributes with their values before; hooks.

    `written` are tensors on which they wrote, be it what was there: a graph holds that, too.

    `outputs` are all tensors that the last pass returned; `norms` are calls of batch norms as
    functions, see `Conditions.functional`, and `statistics` the buffers that they were given.
    `drawn` is whether random numbers were drawn, or nobody knows.
    """

    outputs: tuple[Tensor, ...] = ()
    tensors: tuple[str, ...] = ()
    written: frozenset[str] = frozenset()
    attributes: tuple[tuple[object, str, Any], ...] = ()
    hooks: frozenset[RegisteredHook] = frozenset()
    norms: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    statistics: frozenset[str] = frozenset()
    drawn: bool = True

    @property
    def any(self) -> bool:
        """Whether something changed, or was normalised by the batch."""
        found = (
            *(self.tensors, self.written, self.attributes, self.hooks),
            *(self.norms, self.statistics),
        )
        return any(map(bool, found))

    def and_also(self, other: Changes) -> Changes:
        """Those of this pass and of a later one, whose outputs count."""
        known = {(id(holder), name) for holder, name, _ in self.attributes}
        more = (found for found in other.attributes if (id(found[0]), found[1]) not in known)
        return Changes(
            outputs=other.outputs,
            tensors=tuple(dict.fromkeys((*self.tensors, *other.tensors))),
            written=self.written | other.written,
            attributes=(*self.attributes, *more),
            hooks=self.hooks | other.hooks,
            norms={**other.norms, **self.norms},
            statistics=self.statistics | other.statistics,
        )


def changes_of(
    plain: Conditions, model: nn.Module, tensors: Leaves, x: Batch, norms: Norms
) -> Changes:
    """What one pass on copies changes, and what it returns.

    Args:
        plain: what is known of the conditions.
        model: the plain module; call this inside `undisturbed`.
        tensors: its parameters and buffers.
        x: a batch.
        norms: told of calls of norms.
    """
    own = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    with changing(model, tensors, norms) as changes:
        outputs = tuple(t.detach() for t in tensors_in(plain.call(model, own, x, {})))
    return replace(changes(), outputs=outputs)


@contextmanager
def changing(model: nn.Module, tensors: Leaves, norms: Norms) -> Iterator[Callable[[], Changes]]:
    """What the pass inside changes, once it has ended.

    Args:
        model: the plain module.
        tensors: its parameters and buffers as they were before; not those that it runs on.
        norms: told of calls of norms.
    """
    before = {(id(h), name): (h, copied(value)) for h, name, value in attributes(model)}
    left: Leaves = {}
    versions: dict[str, int] = {}
    registered: set[RegisteredHook] = set()
    hooked: dict[RegisteredHook, int] = {}

    def begin(*_: object) -> None:
        versions.update({name: tensor._version for name, tensor in _tensors_of(model).items()})
        hooked.update(hooks_on(model))

    def read(*_: object) -> None:
        """Buffers that were bound anew are gone when `functional_call` ends."""
        left.update(_tensors_of(model))
        registered.update(k for k, n in hooks_on(model).items() if n > hooked.get(k, 0))

    def changes() -> Changes:
        after = {(id(h), name): (h, value) for h, name, value in attributes(model)}
        new = {key: (holder, ABSENT) for key, (holder, _) in after.items() if key not in before}
        return Changes(
            tensors=tuple(
                name for name, then in tensors.items() if not same(left.get(name, then), then)
            ),
            attributes=tuple(
                (holder, name, then)
                for (_, name), (holder, then) in {**before, **new}.items()
                if not same(then, after.get((id(holder), name), (holder, ABSENT))[1])
            ),
            written=frozenset(
                n for n, t in left.items() if t._version != versions.get(n, t._version)
            ),
            hooks=frozenset(registered),
            norms=norms.over_batch(),
            statistics=frozenset(norms.statistics),
        )

    beginner = model.register_forward_pre_hook(begin, prepend=True)
    reader = model.register_forward_hook(read)
    try:
        with norm_calls(model, norms.note):
            yield changes
    finally:
        beginner.remove()
        reader.remove()


def _tensors_of(model: nn.Module) -> Leaves:
    return dict(model.named_parameters()) | dict(model.named_buffers())


class Norms:
    """Calls of batch norms as functions, outside of modules that are one, in one pass."""

    def __init__(self, model: nn.Module) -> None:
        self.statistics: set[str] = set()
        self._seen: dict[str, list[bool]] = {}
        self._model = model
        self._modules = every_module(model)

    def note(self, call: NormCall) -> dict[str, Any]:
        """Keep in mind a call, whose arguments stay as they are."""
        if isinstance(self._modules[call.path], RUNNING_NORM):
            return call.arguments
        if call.over_batch or call.running:
            self._seen.setdefault(call.path, []).append(call.by_input)
        given = set(map(id, call.running))
        self.statistics |= {name for name, b in self._model.named_buffers() if id(b) in given}
        return call.arguments

    def over_batch(self) -> dict[str, tuple[bool, ...]]:
        """See `Conditions.functional`."""
        return {path: tuple(calls) for path, calls in self._seen.items() if any(calls)}
