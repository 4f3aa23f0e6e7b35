"""State that a module keeps of its batches or of its weight, and where it settles on this batch.

In training a batch norm normalises by its batch, not by its running statistics; a spectral norm
divides by the largest singular value, to which its power iteration comes. What is measured is that:
such buffers are taken anew at every look, so that equal weights are equal functions, and are
constants for every derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from lazyrich._errors import InputError

Values = dict[str, Tensor | None]
"""Buffers of one module in one call, by their own name."""

Settle = Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any]], Values]
"""`(module, args, kwargs) -> values`, called before the module runs."""

BATCH_NORM = nn.modules.batchnorm._BatchNorm  # also SyncBatchNorm
INSTANCE_NORM = nn.modules.instancenorm._InstanceNorm
RUNNING_NORM = nn.modules.batchnorm._NormBase  # both of them
RUNNING = ("running_mean", "running_var", "moving_mean", "moving_var", "num_batches_tracked")
_TOLERANCE = 1e-3  # of a fixed point, relative


def settling(module: nn.Module, *, trains: bool) -> Settle | None:
    """How a module's state settles, if it is of a kind that is known to have one.

    Args:
        module: any.
        trains: whether it is in train mode where the model is trained. In eval mode the running
            statistics are what normalises, constants like any other.
    """
    if isinstance(module, BATCH_NORM):
        return _batch_statistics if trains or module.running_mean is None else None
    if not trains:
        return None
    if isinstance(module, INSTANCE_NORM):
        return _own_statistics if module.track_running_stats else None
    if isinstance(module, _SpectralNorm):
        return _leading_directions
    if _spectral_hook(module):
        return _leading_directions_of_hook
    return None


def follows_batches(module: nn.Module) -> bool:
    """Whether the module keeps state that training updates without a gradient, to normalise."""
    return (
        isinstance(module, RUNNING_NORM | _SpectralNorm)
        or any(name in module._buffers for name in RUNNING)
        or _spectral_hook(module) is not None
    )


def is_first(settle: Settle) -> bool:
    """Whether it must run before the module's own hooks, which compute the weight."""
    return settle is _leading_directions_of_hook


def is_derived(settle: Settle) -> bool:
    """Whether derivatives see the state in training; singular vectors are constants there, too."""
    return settle not in (_leading_directions, _leading_directions_of_hook)


def normalise_by_batch(module: nn.Module) -> None:
    """Have a module compute its statistics in the pass itself; what it keeps of them is a copy.

    One that would wait for the other processes takes those of this batch alone.
    """
    if isinstance(module, nn.SyncBatchNorm):
        module._buffers.update(running_mean=None, running_var=None)
        module.training = False
        return
    kept = {name: b if b is None else b.clone() for name, b in module._buffers.items()}
    module._buffers.update(kept)
    module.training = True


def batch_statistics(x: Tensor, where: str) -> Values:
    """Mean and variance of each channel, by which a batch norm normalises in training.

    Args:
        x: what comes in, (samples, channels, …).
        where: what the error names as the place.

    Raises:
        InputError: one value a channel.
    """
    if x.numel() < 2 * x.shape[1]:
        raise InputError(
            "batch normalisation needs at least 2 values of each channel to normalise by, got "
            f"inputs of shape {tuple(x.shape)} at {where}. Measure more samples."
        )
    dims = [d for d in range(x.ndim) if d != 1]
    var, mean = torch.var_mean(x.detach(), dims, correction=0)
    return {"running_mean": mean, "running_var": var}


def _batch_statistics(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Values:
    x = args[0] if args else next(iter(kwargs.values()))
    return batch_statistics(x, f"a {type(module).__name__}")


def _own_statistics(*_: object) -> Values:
    """An instance norm with running statistics trains with those of each sample."""
    return {"running_mean": None, "running_var": None}


def _leading_directions(module: nn.Module, args: tuple[Any, ...], _: Mapping[str, Any]) -> Values:
    assert isinstance(module, _SpectralNorm)
    if args[0].ndim < 2:  # a vector is divided by its norm
        return {}
    u, v = _leading(module._reshape_weight_to_matrix(args[0].detach()))
    return {"_u": u, "_v": v}


def _leading_directions_of_hook(module: nn.Module, *_: object) -> Values:
    hook = _spectral_hook(module)
    assert hook is not None
    weight = getattr(module, f"{hook.name}_orig").detach()
    u, v = _leading(hook.reshape_weight_to_matrix(weight))
    return {f"{hook.name}_u": u, f"{hook.name}_v": v}


def _spectral_hook(module: nn.Module) -> SpectralNorm | None:
    hooks = module._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, SpectralNorm)), None)


def _leading(matrix: Tensor) -> tuple[Tensor, Tensor]:
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, 0], vh[0]


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """How running statistics of a module of any other kind settle.

    An update `b ← (1 − m) b + m s` of each entry, whatever m and s are, is known from what it
    makes of 0 and of 1, and stays where `b = s`.

    Attributes:
        names: the buffers that settle.
        known: whether they are statistics, by their names. Others settle only where training does
            not use them: statistics are for later, while a codebook, or a moving average that
            divides, is part of the function.
    """

    names: tuple[str, ...]
    known: bool

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Values:
        """The values to which they come; none if they do not settle."""

        def after(change: Callable[[Tensor], Tensor]) -> tuple[dict[str, Tensor], Any]:
            return self._after(change, module, args, kwargs)

        (zero, from_zero), (one, from_one) = after(torch.zeros_like), after(torch.ones_like)
        if not self.known and not _equal(from_zero, from_one):
            return {}
        settled = {name: zero[name] / (1 - (one[name] - zero[name])) for name in self.names}
        values = iter(settled.values())
        again, _ = after(lambda _: next(values).clone())
        stays = all(
            bool(settled[name].isfinite().all())
            and torch.allclose(again[name], settled[name], rtol=_TOLERANCE, atol=0)
            for name in self.names
        )
        return {**settled} if stays else {}

    def _after(
        self,
        change: Callable[[Tensor], Tensor],
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> tuple[dict[str, Tensor], Any]:
        """What one call in train mode makes of changed buffers, and its result."""
        then = {name: b for name, b in module._buffers.items() if b is not None}
        fresh = {name: b.clone() for name, b in then.items()}
        module._buffers.update(fresh | {name: change(then[name]) for name in self.names})
        module.training = True
        try:
            output = module.forward(*args, **kwargs)
            found = {name: module._buffers[name] for name in self.names}
        finally:
            module.training = False
            module._buffers.update(then)
        return {name: b.detach() for name, b in found.items() if b is not None}, output


def _equal(one: object, other: object) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)
