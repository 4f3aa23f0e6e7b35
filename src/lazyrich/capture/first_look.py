"""What a model's forward pass draws, changes and normalises by, found out before the first look."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.belongings import attributes, copied, every_module, same
from lazyrich.capture.conditions import ABSENT, Conditions
from lazyrich.capture.functional_norms import NormCall, norm_calls
from lazyrich.capture.generators import Generator, restart, set_state, state_of
from lazyrich.capture.isolation import Batch, Leaves, is_close, tensors_in, undisturbed
from lazyrich.capture.operations import Plainly
from lazyrich.capture.statistics import (
    BATCH_NORM,
    RUNNING,
    RUNNING_NORM,
    FixedPoint,
    Settle,
    settling,
)


@dataclass(frozen=True, kw_only=True)
class _Changes:
    """What forward passes changed: names of tensors; attributes with their values before.

    `outputs` are all tensors that the last pass returned; `norms` are calls of batch norms as
    functions, see `Conditions.functional`, and `statistics` the buffers that they were given.
    """

    outputs: tuple[Tensor, ...] = ()
    tensors: tuple[str, ...] = ()
    attributes: tuple[tuple[object, str, Any], ...] = ()
    norms: Mapping[str, tuple[bool, ...]] = field(default_factory=dict)
    statistics: frozenset[str] = frozenset()

    def and_also(self, other: _Changes) -> _Changes:
        known = {(id(holder), name) for holder, name, _ in self.attributes}
        more = (found for found in other.attributes if (id(found[0]), found[1]) not in known)
        return _Changes(
            outputs=other.outputs,
            tensors=tuple(dict.fromkeys((*self.tensors, *other.tensors))),
            attributes=(*self.attributes, *more),
            norms={**other.norms, **self.norms},
            statistics=self.statistics | other.statistics,
        )


def conditions_of(
    model: nn.Module, tensors: Leaves, x: Batch, *, inner: bool = False
) -> Conditions:
    """Find out what every look at a model has to hold.

    One pass as in training says what changes, one in evaluation mode what is random; both run on
    copies. A normalisation in eval mode inside a model in train mode is frozen, and keeps its
    running statistics; a model that is in eval mode as a whole is measured as if it trained. All
    samples are looked at: a branch that few of them take may draw, count or normalise, too.

    Args:
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.
        inner: whether the forward pass is known to take gradients by parameters.

    Raises:
        InputError: it takes gradients by what does not train.
    """
    tensors = {name: tensor.detach() for name, tensor in tensors.items()}
    modules = every_module(model)
    trains = {name: m.training or not model.training for name, m in modules.items()}
    changed, plain, switched = _as_in_training(model, trains, tensors, x, inner)
    trains |= switched
    known = {
        name: settle
        for name, module in modules.items()
        if (settle := settling(module, trains=trains[name]))
    }
    plain = replace(plain, settles=known)
    try:
        with undisturbed(model):
            changed = changed.and_also(_changes(plain, model, tensors, x, _Norms(model)))
    except RuntimeError as error:
        if _NO_GRAPH not in str(error):
            raise
        if inner:
            raise InputError(_FROZEN) from error
        return conditions_of(model, tensors, x, inner=True)
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = [name for name in changed.tensors if name not in parameters]
    elsewhere = {*known, *changed.norms}
    conditions = replace(
        plain,
        settles={**known, **_running(model, set(buffers) - changed.statistics, elsewhere)},
        functional=changed.norms,
        buffers={name: tensors[name] for name in buffers},
        attributes=changed.attributes,
        operations=plain.operations if plain.operations and plain.operations.used else None,
        rewritten=frozenset(changed.tensors),
    )
    conditions = replace(conditions, settles=_that_settle(conditions, model, tensors, x))
    conditions = replace(
        conditions, noisy=_is_noisy(conditions, model, tensors, x, changed.outputs)
    )
    return replace(conditions, notes=_notes(conditions, model, trains, changed.statistics))


_NO_GRAPH = "does not require grad"
"""What PyTorch says of a gradient by tensors that are in no graph."""
_FROZEN = (
    "the forward pass must take gradients by trainable parameters alone, got one by tensors that "
    "are in no graph. A frozen copy of a network that does so, as `dial` and `CentredOutput` make "
    "one, cannot run."
)


def _plain(generators: Sequence[Generator], inner: bool) -> Conditions:
    return Conditions(
        settles={},
        functional={},
        buffers={},
        attributes=(),
        operations=Plainly(),
        rewritten=frozenset(),
        generators=tuple(generators),
        noisy=False,
        inner=inner,
        notes=(),
    )


def _as_in_training(
    model: nn.Module, trains: Mapping[str, bool], tensors: Leaves, x: Batch, inner: bool
) -> tuple[_Changes, Conditions, dict[str, bool]]:
    """What a training step's forward pass changes, and what is known then of its conditions.

    Returns:
        The changes, the conditions, and in which mode modules that settle were when they were
        called, since a forward pass may switch it (`self.backbone.eval()`).
    """
    switched: dict[str, bool] = {}

    def still(name: str) -> Callable[[nn.Module, Any], None]:
        """A module that settles keeps its state in this pass: its changes are known."""

        def hook(module: nn.Module, _: object) -> None:
            switched.setdefault(name, module.training)
            module.training = False

        return hook

    with undisturbed(model) as generators, ExitStack() as hooks:
        for name, module in every_module(model).items():
            module.training = trains[name]
            if settling(module, trains=True):
                handle = module.register_forward_pre_hook(still(name), prepend=True)
                hooks.callback(handle.remove)
        plain, norms = _plain(generators, inner), _Norms(model)
        try:
            changes = _changes(plain, model, tensors, x, norms)
        except Exception:  # whatever a model raises that cannot train on this batch
            changes = _Changes(norms=norms.over_batch())
    return changes, replace(plain, functional=changes.norms), switched


def _changes(
    plain: Conditions, model: nn.Module, tensors: Leaves, x: Batch, norms: _Norms
) -> _Changes:
    own = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    before = {(id(h), name): (h, copied(value)) for h, name, value in attributes(model)}
    left: Leaves = {}

    def read(*_: object) -> None:
        """Buffers that were bound anew are gone when `functional_call` ends."""
        left.update(dict(model.named_parameters()) | dict(model.named_buffers()))

    reader = model.register_forward_hook(read)
    try:
        with norm_calls(model, norms.note):
            outputs = tuple(t.detach() for t in tensors_in(plain.call(model, own, x, {})))
    finally:
        reader.remove()
    after = {(id(h), name): (h, value) for h, name, value in attributes(model)}
    new = {key: (holder, ABSENT) for key, (holder, _) in after.items() if key not in before}
    return _Changes(
        outputs=outputs,
        tensors=tuple(
            name for name, then in tensors.items() if not same(left.get(name, then), then)
        ),
        attributes=tuple(
            (holder, name, then)
            for (_, name), (holder, then) in {**before, **new}.items()
            if not same(then, after.get((id(holder), name), (holder, ABSENT))[1])
        ),
        norms=norms.over_batch(),
        statistics=frozenset(norms.statistics),
    )


class _Norms:
    """Calls of batch norms as functions, outside of modules that are one, in one pass."""

    def __init__(self, model: nn.Module) -> None:
        self.statistics: set[str] = set()
        self._seen: dict[str, list[bool]] = {}
        self._model = model
        self._modules = every_module(model)

    def note(self, call: NormCall) -> dict[str, Any]:
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


def _is_noisy(
    conditions: Conditions, model: nn.Module, tensors: Leaves, x: Batch, first: Sequence[Tensor]
) -> bool:
    """Whether the result depends on what is drawn.

    Args:
        conditions: conditions under which passes are repeated.
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.
        first: what a pass gave before.

    Raises:
        InputError: it is another one also where the same is drawn.
    """
    with undisturbed(model):
        again = list(tensors_in(conditions.call(model, tensors, x, {})))
        drawn = [state_of(one) for one in conditions.generators]
        if not all(map(_is_repeated, first, again)):
            raise InputError(
                "the model's output must be the same for the same weights, inputs and random "
                "state, got two different ones. Draw from the global generators of PyTorch, NumPy "
                "or Python, or from one that a module holds; keep what the forward pass changes in "
                "modules."
            )
        for generator in conditions.generators:
            restart(generator)
        if same(drawn, [state_of(one) for one in conditions.generators]):
            return False  # nobody drew
        for generator, state in zip(conditions.generators, drawn, strict=True):
            set_state(generator, state)
        other = replace(conditions, generators=()).call(model, tensors, x, {})
        return not all(map(_is_repeated, again, tensors_in(other)))


def _is_repeated(first: Tensor, again: Tensor) -> bool:
    """The same up to rounding: sums come in another order where memory is aligned otherwise."""
    if first.shape != again.shape or not first.is_floating_point() or not first.numel():
        return same(first, again)
    return is_close(first.nan_to_num(), again.nan_to_num())


def _running(
    model: nn.Module, changed: Collection[str], elsewhere: Collection[str]
) -> dict[str, Settle]:
    """Modules of other kinds that keep running statistics, and change them.

    Known by their names; or, where a module has no parts, by what they do.

    Args:
        model: the plain module.
        changed: buffers.
        elsewhere: paths of modules whose statistics are taken in another way.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(changed):
        path, _, own = name.rpartition(".")
        module = model.get_submodule(path)
        buffer = module._buffers[own]
        floats = buffer is not None and buffer.is_floating_point()
        alone = next(module.children(), None) is None
        if path not in elsewhere and floats and (alone or _normalises(module)):
            found.setdefault(path, []).append(own)
    return {
        path: FixedPoint(names=tuple(names), known=_normalises(model.get_submodule(path)))
        for path, names in found.items()
    }


def _that_settle(
    conditions: Conditions, model: nn.Module, tensors: Leaves, x: Batch
) -> dict[str, Settle]:
    """Without modules that may keep running statistics by their names for it, and do not."""
    settles = conditions.settles
    unsure = {p for p, how in settles.items() if isinstance(how, FixedPoint) and not how.known}
    if not unsure:
        return dict(settles)
    with undisturbed(model):
        try:
            settled = conditions.settle(model, tensors, x)
        except Exception:  # whatever somebody's module raises at buffers of 0
            settled = {}
    return {
        path: how
        for path, how in settles.items()
        if path not in unsure or any(settled.get(path, ()))
    }


def _notes(
    conditions: Conditions,
    model: nn.Module,
    trains: Mapping[str, bool],
    statistics: frozenset[str],
) -> tuple[str, ...]:
    modules = every_module(model)
    norms = {name for name, module in modules.items() if isinstance(module, BATCH_NORM)}
    frozen = [name for name in sorted(norms) if name not in conditions.settles]
    running = [
        name
        for name, how in conditions.settles.items()
        if isinstance(how, FixedPoint) or _normalises(modules[name])
    ]
    counted = {f"{name}.num_batches_tracked".removeprefix(".") for name in running}
    settled = {name for name in conditions.buffers if name.rpartition(".")[0] in running}
    held = [
        *(name for name in conditions.buffers if name not in counted | settled | statistics),
        *(name for _, name, then in conditions.attributes if isinstance(then, int | float)),
    ]
    notes = []
    if running or conditions.functional:
        notes.append(
            "Normalisation over the batch uses the statistics of these samples, not its running "
            "statistics: taken anew at every look, and constants of every derivative."
        )
    if frozen and not all(trains[name] for name in frozen):
        notes.append(f"In eval mode, with their running statistics: {', '.join(frozen)}.")
    if conditions.noisy:
        notes.append("The forward pass draws random numbers: every look draws the same ones.")
    if held:
        notes.append(
            f"The forward pass changes {', '.join(held)} by itself: held as at the first look."
        )
    return tuple(notes)


def _normalises(module: nn.Module) -> bool:
    return any(name in module._buffers for name in RUNNING)
