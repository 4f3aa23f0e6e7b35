"""What a model's forward pass draws, changes and normalises by, found out before the first look."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.belongings import every_module
from lazyrich.capture.conditions import Conditions
from lazyrich.capture.generators import Generator, set_state, state_of
from lazyrich.capture.initialisation import refuse_uninitialised
from lazyrich.capture.isolation import Batch, Leaves, tensors_in, undisturbed
from lazyrich.capture.operations import Plainly
from lazyrich.capture.pass_changes import Changes, Norms, changes_of
from lazyrich.capture.repetition import have_drawn, is_repeated
from lazyrich.capture.statistics import BATCH_NORM, RUNNING, FixedPoint, Settle, settling


@dataclass(frozen=True, kw_only=True)
class Found:
    """What passes before the first look found out.

    Attributes:
        conditions: without what depends on whether the result is random.
        outputs: all tensors that the last pass returned.
        unseen: whether no pass in evaluation mode was made, since training changes, draws and
            normalises by nothing: the look's own pass has then to be seen, see `Witness`.
        trains: modules, by path, that are in train mode where the model is trained.
        statistics: buffers that batch norms as functions were given.
        model: the plain module.
    """

    conditions: Conditions
    outputs: tuple[Tensor, ...]
    unseen: bool
    trains: Mapping[str, bool]
    statistics: frozenset[str]
    model: nn.Module

    def completed(self, noisy: bool) -> Conditions:
        """The conditions, where it is known whether the result is random."""
        known = replace(self.conditions, noisy=noisy)
        if (operations := known.operations) and not operations.used:
            known = replace(known, operations=None)
        return replace(known, notes=_notes(known, self.model, self.trains, self.statistics))


def conditions_of(model: nn.Module, tensors: Leaves, x: Batch) -> Conditions:
    """Find out what every look at a model has to hold, where no look is taken.

    Args:
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.

    Raises:
        InputError: see `found_out` and `is_noisy`.
    """
    found = found_out(model, tensors, x)
    return found.completed(is_noisy(found, model, tensors, x))


def found_out(
    model: nn.Module, tensors: Leaves, x: Batch, *, inner: bool = False, hasty: bool = False
) -> Found:
    """Find out what passes draw, change and normalise by.

    One pass as in training says what changes, one in evaluation mode what is random; both run on
    copies. A normalisation in eval mode inside a model in train mode is frozen, and keeps its
    running statistics; a model that is in eval mode as a whole is measured as if it trained. All
    samples are looked at: a branch that few of them take may draw, count or normalise, too.

    Args:
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.
        inner: whether the forward pass is known to take gradients by parameters.
        hasty: whether to make no pass in evaluation mode after one that changes, draws and
            normalises by nothing.

    Raises:
        InputError: it takes gradients by what does not train, or see `refuse_uninitialised`.
    """
    tensors = {name: tensor.detach() for name, tensor in tensors.items()}
    modules = every_module(model)
    trains = {name: m.training or not model.training for name, m in modules.items()}
    changed, plain, switched = _as_in_training(model, trains, tensors, x, inner)
    trains |= switched
    learned = {name for name, _ in model.named_parameters()}
    written = [name for name in changed.tensors if name in learned]
    if written and (len(written) < len(changed.tensors) or changed.attributes):
        refuse_uninitialised(plain, model, tensors, x, trains, written)
    known = {
        name: settle
        for name, module in modules.items()
        if (settle := settling(module, trains=trains[name]))
    }
    found = Found(
        conditions=replace(plain, settles=known),
        outputs=changed.outputs,
        unseen=hasty and not (known or inner or changed.any or changed.drawn),
        trains=trains,
        statistics=changed.statistics,
        model=model,
    )
    if found.unseen:
        return found
    try:
        return _in_evaluation(found, changed, tensors, x)
    except RuntimeError as error:
        if _NO_GRAPH not in str(error):
            raise
        if inner:
            raise InputError(_FROZEN) from error
        return found_out(model, tensors, x, inner=True)


def _in_evaluation(found: Found, changed: Changes, tensors: Leaves, x: Batch) -> Found:
    """What a pass in evaluation mode says besides one as in training, and both together."""
    model, plain = found.model, found.conditions
    with undisturbed(model):
        changed = changed.and_also(changes_of(plain, model, tensors, x, Norms(model)))
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = [name for name in changed.tensors if name not in parameters]
    running = _running(model, set(buffers) - changed.statistics, {*plain.settles, *changed.norms})
    conditions = replace(
        plain,
        settles={**plain.settles, **running},
        functional=changed.norms,
        buffers={name: tensors[name] for name in buffers},
        attributes=changed.attributes,
        hooks=changed.hooks,
        rewritten=changed.written.union(changed.tensors),
    )
    return replace(
        found,
        conditions=replace(conditions, settles=_that_settle(conditions, model, tensors, x)),
        outputs=changed.outputs,
        statistics=changed.statistics,
    )


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
        hooks=frozenset(),
        operations=Plainly(),
        rewritten=frozenset(),
        generators=tuple(generators),
        noisy=False,
        inner=inner,
        notes=(),
    )


def _as_in_training(
    model: nn.Module, trains: Mapping[str, bool], tensors: Leaves, x: Batch, inner: bool
) -> tuple[Changes, Conditions, dict[str, bool]]:
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
        plain, norms = _plain(generators, inner), Norms(model)
        try:
            changes = changes_of(plain, model, tensors, x, norms)
            changes = replace(changes, drawn=have_drawn(generators))
        except Exception:  # whatever a model raises that cannot train on this batch
            changes = Changes(norms=norms.over_batch())
    return changes, replace(plain, functional=changes.norms), switched


def is_noisy(found: Found, model: nn.Module, tensors: Leaves, x: Batch) -> bool:
    """Whether the result depends on what is drawn.

    Args:
        found: what passes in evaluation mode found.
        model: the plain module.
        tensors: copies of its parameters and buffers.
        x: a batch.

    Raises:
        InputError: it is another one also where the same is drawn.
    """
    conditions = found.conditions
    tensors = {name: tensor.detach() for name, tensor in tensors.items()}
    with undisturbed(model):
        again = list(tensors_in(conditions.call(model, tensors, x, {})))
        drawn = [state_of(one) for one in conditions.generators]
        if not all(map(is_repeated, found.outputs, again)):
            raise InputError(
                "the model's output must be the same for the same weights, inputs and random "
                "state, got two different ones. Draw from the global generators of PyTorch, NumPy "
                "or Python, or from one that a module holds; keep what the forward pass changes in "
                "modules."
            )
        if not have_drawn(conditions.generators):
            return False
        for generator, state in zip(conditions.generators, drawn, strict=True):
            set_state(generator, state)
        other = replace(conditions, generators=()).call(model, tensors, x, {})
        return not all(map(is_repeated, again, tensors_in(other)))


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
