"""What a model's forward pass draws, changes and normalises by, found out before the first look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.belongings import attributes, copied, every_module, same
from lazyrich.capture.conditions import ABSENT, Conditions
from lazyrich.capture.generators import Generator, restart, set_state, state_of
from lazyrich.capture.isolation import Batch, Leaves, is_close, tensors_in, undisturbed
from lazyrich.capture.statistics import BATCH_NORM, RUNNING, Settle, fixed_point, settling


@dataclass(frozen=True, kw_only=True)
class _Changes:
    """What forward passes changed: names of tensors; attributes with their values before.

    `outputs` are all tensors that the last pass returned.
    """

    outputs: tuple[Tensor, ...] = ()
    tensors: tuple[str, ...] = ()
    attributes: tuple[tuple[object, str, Any], ...] = ()

    def and_also(self, other: _Changes) -> _Changes:
        known = {(id(holder), name) for holder, name, _ in self.attributes}
        more = (found for found in other.attributes if (id(found[0]), found[1]) not in known)
        return _Changes(
            outputs=other.outputs,
            tensors=tuple(dict.fromkeys((*self.tensors, *other.tensors))),
            attributes=(*self.attributes, *more),
        )


def conditions_of(model: nn.Module, tensors: Leaves, x: Batch) -> Conditions:
    """Find out what every look at a model has to hold.

    One pass as in training says what changes, one in evaluation mode what is random; both run on
    copies. A normalisation in eval mode inside a model in train mode is frozen, and keeps its
    running statistics; a model that is in eval mode as a whole is measured as if it trained.

    Args:
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.
    """
    modules = every_module(model)
    trains = {name: m.training or not model.training for name, m in modules.items()}
    known = {
        name: settle
        for name, module in modules.items()
        if (settle := settling(module, trains=trains[name]))
    }
    changed, generators = _as_in_training(model, known, trains, tensors, x)
    plain = _plain(known, generators)
    with undisturbed(model):
        changed = changed.and_also(_changes(plain, model, tensors, x))
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = [name for name in changed.tensors if name not in parameters]
    conditions = replace(
        plain,
        settles={**known, **_running(model, buffers, known)},
        buffers={name: tensors[name] for name in buffers},
        attributes=changed.attributes,
        rewritten=frozenset(changed.tensors),
    )
    conditions = replace(
        conditions, noisy=_is_noisy(conditions, model, tensors, x, changed.outputs)
    )
    return replace(conditions, notes=_notes(conditions, model, trains))


def _plain(known: Mapping[str, Settle], generators: Sequence[Generator]) -> Conditions:
    return Conditions(
        settles=known,
        buffers={},
        attributes=(),
        rewritten=frozenset(),
        generators=tuple(generators),
        noisy=False,
        notes=(),
    )


def _as_in_training(
    model: nn.Module,
    known: Mapping[str, Settle],
    trains: Mapping[str, bool],
    tensors: Leaves,
    x: Batch,
) -> tuple[_Changes, list[Generator]]:
    """What a training step's forward pass changes, and what it may draw from."""
    with undisturbed(model) as generators:
        for name, module in every_module(model).items():
            module.training = trains[name] and name not in known
        try:
            return _changes(_plain(known, generators), model, tensors, x), generators
        except Exception:  # whatever a model raises that cannot train on this batch
            return _Changes(), generators


def _changes(plain: Conditions, model: nn.Module, tensors: Leaves, x: Batch) -> _Changes:
    own = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    before = {(id(h), name): (h, copied(value)) for h, name, value in attributes(model)}
    left: Leaves = {}

    def read(*_: object) -> None:
        """Buffers that were bound anew are gone when `functional_call` ends."""
        left.update(dict(model.named_parameters()) | dict(model.named_buffers()))

    reader = model.register_forward_hook(read)
    try:
        with torch.no_grad():
            outputs = tuple(tensors_in(plain.call(model, own, x, {})))
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
    )


def _is_noisy(
    conditions: Conditions, model: nn.Module, tensors: Leaves, x: Batch, first: Sequence[Tensor]
) -> bool:
    """Whether the result depends on what is drawn.

    Args:
        conditions: under which passes are repeated.
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.
        first: what a pass gave before.

    Raises:
        InputError: it is another one also where the same is drawn.
    """
    with undisturbed(model), torch.no_grad():
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
    model: nn.Module, changed: Sequence[str], known: Mapping[str, Settle]
) -> dict[str, Settle]:
    """Modules of other kinds that keep running statistics, and change them."""
    found: dict[str, list[str]] = {}
    for name in changed:
        path, _, own = name.rpartition(".")
        module = model.get_submodule(path)
        buffer = module._buffers[own]
        floats = buffer is not None and buffer.is_floating_point()
        if path not in known and floats and _normalises(module):
            found.setdefault(path, []).append(own)
    return {path: fixed_point(names) for path, names in found.items()}


def _notes(conditions: Conditions, model: nn.Module, trains: Mapping[str, bool]) -> tuple[str, ...]:
    modules = every_module(model)
    norms = {name for name, module in modules.items() if isinstance(module, BATCH_NORM)}
    frozen = [name for name in sorted(norms) if name not in conditions.settles]
    running = [name for name in conditions.settles if _normalises(modules[name])]
    counted = {f"{name}.num_batches_tracked".removeprefix(".") for name in running}
    settled = {name for name in conditions.buffers if name.rpartition(".")[0] in running}
    held = [
        *(name for name in conditions.buffers if name not in counted | settled),
        *(name for _, name, then in conditions.attributes if isinstance(then, int | float)),
    ]
    notes = []
    if running:
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
