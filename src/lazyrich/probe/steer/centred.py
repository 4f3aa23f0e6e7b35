"""A network with its initial function taken away and its output scaled: γ(h − h₀)."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._arguments import as_number, shown
from lazyrich._errors import InputError
from lazyrich.capture.belongings import attributes, label_alike
from lazyrich.capture.capture import Capture
from lazyrich.capture.functional_norms import calls_norm
from lazyrich.capture.generators import (
    Generator,
    cuda_devices,
    generators_of,
    global_generators,
    set_state,
    state_of,
)
from lazyrich.capture.isolation import arguments, single_output, undisturbed, unwrap
from lazyrich.capture.statistics import follows_batches


class CentredOutput(nn.Module):
    """The module γ(h(x) − h₀(x)), with h₀ a frozen copy of the network as it is now.

    The output is zero at the start; γ moves training between rich (small) and lazy (large). The
    copy is part of the module: `state_dict`, `torch.save` and `torch.compile` see an ordinary
    module. Its dropout is always off; what normalises by batches follows the network's train and
    eval mode, so that it remains the network's own initial function. Each forward pass costs two
    of the network's.

    Args:
        network: the network h. It is kept, not copied: an optimiser still owns its parameters.
        output_scale: γ > 0.

    Raises:
        InputError: `output_scale` is not a positive number.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> net = CentredOutput(nn.Linear(2, 1), output_scale=10.0)
        >>> net(torch.ones(3, 2)).abs().max().item()
        0.0

    Reference:
        Chizat, Oyallon & Bach, On lazy training in differentiable programming, arXiv:1812.07956.
    """

    output_scale: Tensor

    def __init__(self, network: nn.Module, output_scale: float = 1.0) -> None:
        super().__init__()
        self.network = unwrap(network)
        with undisturbed(self.network):  # without what the last forward pass left behind
            self.reference = deepcopy(self.network).requires_grad_(False)
        label_alike(self.network, self.reference.state_dict(keep_vars=True))
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        like = torch.zeros(()) if weight is None else weight
        one = torch.ones((), dtype=like.dtype, device=like.device)
        self.register_buffer("output_scale", one)
        self.set_output_scale(output_scale)
        self.training = self.network.training
        self._let_reference_follow()

    def set_output_scale(self, output_scale: float) -> None:
        """Change the output scale γ, in place."""
        scale = as_number(output_scale)
        if scale is None or not 0 < scale < float("inf"):
            raise InputError(
                f"`output_scale` must be a positive number, got {shown(output_scale)}. "
                "1 leaves the output as it is, a larger one makes training lazier."
            )
        self.output_scale.fill_(scale)

    def train(self, mode: bool = True) -> CentredOutput:
        """Set train or eval mode; the frozen copy follows where it normalises by batches only."""
        super().train(mode)
        self._let_reference_follow()
        return self

    def _let_reference_follow(self) -> None:
        self.reference.eval()
        for own, module in zip(self.network.modules(), self.reference.modules(), strict=True):
            if follows_batches(module) or calls_norm(type(module).forward):
                module.training = own.training

    @property
    def title(self) -> str:
        """What a reader should see in place of this wrapper's name."""
        return (
            f"{type(self.network).__name__} (centred, output scale {self.output_scale.item():.3g})"
        )

    def _generators(self) -> Iterator[Generator]:
        """Those that network and copy share; of one that a module holds, the copy has its own."""
        yield from global_generators(*sorted(cuda_devices(self.network)))
        for kind in {type(module) for module in self.network.modules()}:
            yield from generators_of(kind.forward)
        for _, _, value in attributes(self.network):
            yield from generators_of(value)

    def forward(self, *args: Any, **kwargs: Any) -> Float[Tensor, "..."]:  # noqa: ANN401
        """The centred and scaled output; what the network draws, its initial function drew, too."""
        compiling = torch.compiler.is_compiling()  # it has no generators to put back
        generators = [] if compiling else [(one, state_of(one)) for one in self._generators()]
        if not args and not compiling:  # of its own signature, which takes anything
            args, kwargs = arguments(self.network, kwargs)
        h0 = single_output(self.reference(*args, **kwargs)).detach()
        for generator, state in generators:
            set_state(generator, state)
        return self.output_scale * (single_output(self.network(*args, **kwargs)) - h0)


def without_references(seen: Capture) -> Capture:
    """A capture without the frozen copies that networks are centred by: no layers that may learn.

    Args:
        seen: modules of any model, which may be or hold a `CentredOutput`.
    """
    paths = [
        f"{name}.reference".removeprefix(".")
        for name, module in seen.model.named_modules()
        if isinstance(module, CentredOutput)
    ]
    if not paths:
        return seen

    def is_inside(name: str) -> bool:
        return any(name == path or name.startswith(f"{path}.") for path in paths)

    return replace(
        seen,
        layers=tuple(layer for layer in seen.layers if not is_inside(layer.name)),
        small=tuple(layer for layer in seen.small if not is_inside(layer.name)),
        skipped={name: why for name, why in seen.skipped.items() if not is_inside(name)},
    )
