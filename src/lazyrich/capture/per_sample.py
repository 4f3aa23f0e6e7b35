"""Per-sample gradients of any parameters: slower than factors, exact for what autograd can do.

Each sample runs alone, without `vmap`, so that data-dependent control flow and operations without
a batching rule are no obstacle. Where a sample alone gives another output than among the others
(a graph, noise for the whole batch, an input that all share), its rows of the Jacobian come from
the pass of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._errors import InputError
from lazyrich.capture.capture import Capture
from lazyrich.capture.directions import probing_direction
from lazyrich.capture.isolation import dense_gradient, is_close, rows, take, undisturbed


def per_sample_gradients(
    capture: Capture, names: Sequence[str], *, directions: Float[Tensor, "s n k"], memory: int
) -> dict[str, Float[Tensor, "n s p"]]:
    """Jacobian with respect to any parameters, one sample and output direction at a time.

    Args:
        capture: the forward pass; its copies of the parameters are used.
        names: the parameters.
        directions: v, (directions, samples, outputs).
        memory: bytes that the result may take.

    Returns:
        `∂(v_i·f_i)/∂θ` for every name, flattened.

    Raises:
        InputError: too little memory.
    """
    if not names:
        return {}
    s, n, _ = directions.shape
    size = sum(capture.leaves[name].numel() for name in names)
    needed = n * s * size * capture.outputs.element_size()
    if needed > memory:
        raise InputError(
            f"`memory` must be at least {needed:.2g} bytes for the per-sample gradients of "
            f"{len(names)} parameters ({names[0]}, …) that no captured layer explains, got "
            f"{memory:.2g}. Measure fewer samples, or raise it."
        )
    with undisturbed(capture.model):
        return _gradients(capture, names, directions)


def _gradients(
    capture: Capture, names: Sequence[str], directions: Float[Tensor, "s n k"]
) -> dict[str, Float[Tensor, "n s p"]]:
    jacobians: dict[str, list[Tensor]] = {name: [] for name in names}
    wanted = [capture.leaves[name] for name in names]
    alone, terms = True, cache(lambda: _size_of_terms(capture))
    for i in range(len(capture.outputs)):
        f = _alone(capture, i, terms) if alone else None
        alone = f is not None
        gradients_of = capture.outputs if f is None else f
        rows_of: list[list[Tensor]] = []
        for direction in directions:
            along = torch.zeros_like(gradients_of)
            along[i if f is None else 0] = direction[i]
            gradients = torch.autograd.grad(
                gradients_of, wanted, along, retain_graph=True, allow_unused=True
            )
            rows_of.append(list(map(dense_gradient, gradients, wanted, names)))
        for name, column in zip(names, zip(*rows_of, strict=True), strict=True):
            jacobians[name].append(torch.stack([g.flatten() for g in column]))
    return {name: torch.stack(blocks) for name, blocks in jacobians.items()}


def _alone(capture: Capture, index: int, terms: Callable[[], float]) -> Tensor | None:
    """The output of one sample in a pass of its own; None if it is another than among all."""
    one = take(capture.batch, len(capture.outputs), torch.tensor([index]))
    try:
        result = capture.conditions.call(capture.model, capture.leaves, one, capture.settled)
        f = rows(result, 1).reshape(1, -1)
    except Exception:  # whatever a model raises that cannot do with one sample
        return None
    among_all = capture.outputs[index]
    return f if is_close(f[0], among_all, 0.0) or is_close(f[0], among_all, terms()) else None


def _size_of_terms(capture: Capture) -> float:
    """`Σ_p |θ_p ∂f/∂θ_p|`: of what outputs are sums of, also where these cancel, as if centred."""
    names = [name for name, leaf in capture.leaves.items() if leaf.requires_grad]
    direction = probing_direction(capture.outputs)
    gradients = capture.backward(direction / len(direction) ** 0.5, names)[1]
    return sum(
        float((capture.leaves[name].detach().double() * g.double()).abs().sum())
        for name, g in gradients.items()
    )
