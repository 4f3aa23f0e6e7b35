"""A layer's change apart: what its own weights did to it, and what came from the layers below.

With inputs x and weight W, `z_t − z_0 = (W_t − W_0)x_t + W_0(x_t − x_0)`, and where there is a bias
its change.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich.capture import modules as layers
from lazyrich.capture.network import Network, Parameters, layer_of
from lazyrich.capture.norms import root_mean_square
from lazyrich.capture.padding import counted_positions, only_counted
from lazyrich.vocabulary.quantity import DERIVED, Quantity

QUANTITIES = (
    Quantity(
        name="effective_update",
        dims=("layer",),
        symbol="rms((W_t − W_0)x_t)",
        meaning="root mean square of what the change of a layer's own weight does to its outputs",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="propagating_update",
        dims=("layer",),
        symbol="rms(W_0(x_t − x_0))",
        meaning="root mean square of what the change of a layer's inputs does to its outputs",
        low=0.0,
        source=DERIVED,
    ),
)


@dataclass(frozen=True, kw_only=True)
class _Acted:
    """A layer's weight and inputs in one call, as rows."""

    weight: Float[Tensor, "groups m d"]
    inputs: Float[Tensor, "n t groups d"]


LayerMaps = dict[str, list[_Acted]]


def layer_maps(network: Network, theta: Parameters) -> LayerMaps:
    """What every linear layer that learns is given, and the weight by which it acts, in one pass.

    Args:
        network: the model on one batch.
        theta: its parameters; call this inside `undisturbed`.
    """
    seen: LayerMaps = {}
    counted = counted_positions(network.inputs)

    def watch(name: str, module: nn.Module) -> Any:  # noqa: ANN401 - torch's hook type
        def hook(_: nn.Module, args: Any, kwargs: Any, __: Any) -> None:  # noqa: ANN401
            h = args[0] if args else next(iter(kwargs.values()))
            weight: Any = module.weight
            acted = _Acted(
                weight=layers.weight_rows(module, weight.detach().double()),
                inputs=only_counted(layers.input_rows(module, h.detach().double()), counted),
            )
            seen.setdefault(name, []).append(acted)

        return module.register_forward_hook(hook, with_kwargs=True)

    with ExitStack() as hooks:
        for name in dict.fromkeys(layer_of(parameter) for parameter in theta):
            module = network.module.get_submodule(name)
            if layers.is_linear(module):
                hooks.callback(watch(name, module).remove)
        network(theta)
    return seen


def update_parts(name: str, before: LayerMaps, after: LayerMaps) -> tuple[float, float]:
    """`effective_update` and `propagating_update` of a layer.

    NaN where it has no weight matrix, or acts on other rows after training, as an expert may.

    Args:
        name: name of the layer.
        before: at θ_0.
        after: at θ_t.
    """
    shapes = [[x.inputs.shape for x in maps.get(name, ())] for maps in (before, after)]
    if name not in before or shapes[0] != shapes[1]:
        return nan, nan
    pairs = list(zip(before[name], after[name], strict=True))
    own = [_through(b.weight - a.weight, b.inputs) for a, b in pairs]
    below = [_through(a.weight, b.inputs - a.inputs) for a, b in pairs]
    return root_mean_square(own), root_mean_square(below)


def _through(weight: Float[Tensor, "groups m d"], inputs: Float[Tensor, "n t groups d"]) -> Tensor:
    return torch.einsum("gmd,ntgd->ntgm", weight, inputs).flatten()
