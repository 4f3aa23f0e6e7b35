"""Parameters frozen, set free or renamed between looks: the kernel keeps those of the first one.

Else a network that stands still would seem to change where somebody freezes a part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from lazyrich._errors import InputError
from lazyrich.capture.isolation import Leaves
from lazyrich.capture.network import layer_of


def other_parameters(now: Mapping[str, nn.Parameter], before: Mapping[str, bool]) -> Iterator[str]:
    """What a reader has to know of parameters that are not as at the first look, in sentences.

    Args:
        now: the parameters of the model.
        before: whether each parameter or buffer trained at the first look.
    """
    free = [name for name, p in now.items() if p.requires_grad and not before.get(name, True)]
    frozen = [name for name, p in now.items() if not p.requires_grad and before.get(name, False)]
    renamed = [name for name, trained in before.items() if trained and name not in now]
    if free:
        yield (
            f"Set free after the first look: {_listed(free)}. Counted as constants, as they were "
            "there: a probe that is to count them is made when they train."
        )
    if frozen:
        yield f"Frozen after the first look: {_listed(frozen)}. In the kernel as they were there."
    if renamed:
        yield (
            f"Under other names than at the first look: {_listed(renamed)}. From there on "
            "`linearisation_error` has no number; kernels are compared layer by layer."
        )


def refuse_other_shapes(now: Leaves, before: Leaves) -> None:
    """Refuse a network that has grown: there is nothing to compare it with.

    Args:
        now: its parameters and buffers; the outputs under the name "".
        before: parameters that trained at the first look; the outputs likewise.
    """
    for name, then in before.items():
        if name in now and now[name].shape != then.shape:
            where = f"`{name}`" if name else "the outputs"
            raise InputError(
                "the network must have the shapes that it had at the first look, got "
                f"{tuple(now[name].shape)} for {where}, which had {tuple(then.shape)}. Make a new "
                "probe of what it has become."
            )


def not_owned(rates: Mapping[str, float] | None, optimizer: Optimizer, model: nn.Module) -> str:
    """What a reader has to know of parameters that another optimiser trains, if any; else "".

    Args:
        rates: rates inside the kernel that were taken from the optimiser; None if all are equal.
        optimizer: the optimiser.
        model: the plain module.
    """
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    names = {name for name, p in model.named_parameters() if id(p) not in owned}
    left_out = [name for name in rates or () if name in names]
    if not left_out:
        return ""
    return (
        f"{type(optimizer).__name__} does not own {_listed(left_out)}: not in the kernel. Where "
        'several optimisers train one network, `lr.Probe(..., lrs={"": 1.0})` counts all of it.'
    )


def rates_by_name(
    rates: Mapping[str, float] | None, names: Sequence[str]
) -> Mapping[str, float] | None:
    """Rates inside the kernel for parameters some of which have new names.

    Args:
        rates: η by parameter or module name; None if all are equal.
        names: names of the parameters that train.

    Returns:
        The same if they cover the names; else a new name has the largest rate that its layer had,
        or 1.

    Example:
        >>> rates_by_name({"0.weight": 0.5, "2.weight": 1.0}, ["0.weight_orig", "2.weight"])
        {'0.weight_orig': 0.5, '2.weight': 1.0}
    """
    if rates is None or all(_given(rates, name) for name in names):
        return rates
    of_layers: dict[str, float] = {}
    for name, rate in rates.items():
        of_layers[layer_of(name)] = max(rate, of_layers.get(layer_of(name), 0.0))
    others = {n: of_layers.get(layer_of(n), 1.0) for n in names if not _given(rates, n)}
    kept = {key: r for key, r in rates.items() if any(_covers(key, name) for name in names)}
    return {**others, **kept}


def _given(rates: Mapping[str, float], name: str) -> bool:
    return any(_covers(key, name) for key in rates)


def _covers(key: str, name: str) -> bool:
    return key in ("", name) or name.startswith(f"{key}.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(f"`{name}`" for name in names[:4]) + more
