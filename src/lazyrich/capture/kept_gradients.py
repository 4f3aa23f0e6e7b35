"""What is kept of the gradients at all layers, which are the largest tensors of a look.

They are read once, for all that asks for them, and freed before anything else is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.backward_passes import BackwardPasses
from lazyrich.capture.capture import Layer
from lazyrich.capture.kernel import Factor, kernel
from lazyrich.capture.network import layer_of
from lazyrich.capture.norms import squared_norms
from lazyrich.capture.sketch import Sketch, random_rows, sketch

Kernel = Float[Tensor, "n s n s"]


@dataclass(frozen=True, kw_only=True)
class KeptGradients:
    """Of every layer that learns, by its name.

    Attributes:
        squares: `‖∂(v·f)/∂z‖²` of every sample and direction, in float64.
        rows: some of these gradients below the readout, of either half of random directions; none
            where all outputs are directions.
        exact: a sketch of K from all of them below the readout; none of random directions.
        kernels: the kernel's part from every module that owns parameters, if it is asked for.
        trusted: parameters whose factors the kernel is made of; None if it is not asked for.
    """

    squares: dict[str, Float[Tensor, "n s"]]
    rows: dict[str, tuple[Float[Tensor, "n q k"], Float[Tensor, "n q k"]]]
    exact: dict[str, Sketch]
    kernels: dict[str, Kernel]
    trusted: tuple[str, ...] | None

    def sketches(self, layer: str) -> tuple[Sketch, Sketch]:
        """Two independent estimates of a layer's K; the same one twice if it is exact."""
        if layer in self.exact:
            return self.exact[layer], self.exact[layer]
        first, second = self.rows[layer]
        return sketch(first), sketch(second)


@torch.no_grad()
def kept_gradients(
    passes: BackwardPasses,
    layers: Sequence[Layer],
    *,
    kernels: dict[str, Kernel],
    trusted: tuple[str, ...] | None,
    readout: str | None,
    random: bool,
    seed: int,
) -> KeptGradients:
    """What is kept of gradients along output directions.

    Args:
        passes: the gradients.
        layers: those that learn.
        kernels: the kernels that were made of them already, if they are asked for.
        trusted: parameters with factors, of which these were made.
        readout: the layer with K = 1, of which no K is wanted.
        random: whether directions are random signs, half of them for either estimate of K.
        seed: seed of the rows that are drawn.
    """
    squares, rows, exact = {}, {}, {}
    for layer in layers:
        of_calls = passes.gradients[layer.name]
        squares[layer.name] = torch.stack([squared_norms(g) for g in of_calls]).sum(0)
        if layer.name == readout:
            continue
        n, s = of_calls[0].shape[:2]
        g = layer.rows([g.flatten(0, 1) for g in of_calls]).view(n, s, -1, len(layer.matrix))
        if not random:
            exact[layer.name] = sketch(g.flatten(1, 2))
            continue
        half = s // 2
        generator = torch.Generator().manual_seed(seed)
        first, second = (
            random_rows(part, generator) / half**0.5
            for part in (g[:, :half], g[:, half : 2 * half])
        )
        rows[layer.name] = first, second
    return KeptGradients(squares=squares, rows=rows, exact=exact, kernels=kernels, trusted=trusted)


def kernels_of(
    factors: Iterable[tuple[str, Factor]], names: Sequence[str], *, memory: int
) -> dict[str, Kernel]:
    """The kernel's part from every layer that owns parameters.

    Args:
        factors: factors of the Jacobian, by layer or parameter.
        names: names of layers and modules, in the order of the result.
        memory: bytes that temporary arrays may take.
    """
    parts: dict[str, Kernel] = {}
    for name, factor in factors:
        layer = name if name in names else layer_of(name)
        part = kernel(factor, memory=memory)
        parts[layer] = parts[layer] + part if layer in parts else part
    return {layer: parts[layer] for layer in names if layer in parts}
