"""Per-sample gradients of any parameters: slower than factors, exact for what autograd can do.

Each sample runs alone, without `vmap`, so that data-dependent control flow and operations without
a batching rule are no obstacle.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich._errors import InputError
from lazyrich.capture.capture import Capture
from lazyrich.capture.isolation import call_on_copies, dense_gradient, take, undisturbed

ROUNDINGS = 64


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
        InputError: too little memory, or samples that influence each other.
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
    jacobians: dict[str, list[Tensor]] = {name: [] for name in names}
    wanted = [capture.leaves[name] for name in names]
    rounding = ROUNDINGS * torch.finfo(capture.outputs.dtype).eps * _size_of_terms(capture)
    for i in range(n):
        one = take(capture.batch, n, torch.tensor([i]))
        with undisturbed(capture.model):
            f, _, _ = call_on_copies(capture.model, capture.leaves, one, samples=1)
        _check_alone(f[0], capture.outputs[i], i, rounding)
        rows: list[list[Tensor]] = []
        for a, direction in enumerate(directions[:, i : i + 1]):
            with torch.inference_mode(False):
                gradients = torch.autograd.grad(
                    f, wanted, direction.clone(), retain_graph=a < s - 1, allow_unused=True
                )
            rows.append(list(map(dense_gradient, gradients, wanted, names)))
        for name, column in zip(names, zip(*rows, strict=True), strict=True):
            jacobians[name].append(torch.stack([g.flatten() for g in column]))
    return {name: torch.stack(blocks) for name, blocks in jacobians.items()}


def _size_of_terms(capture: Capture) -> float:
    """`Σ_p |θ_p ∂f/∂θ_p|`: of what outputs are sums of, also where these cancel, as if centred."""
    names = [name for name, leaf in capture.leaves.items() if leaf.requires_grad]
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(capture.outputs.shape, generator=generator).to(capture.outputs)
    gradients = capture.backward(direction / len(direction) ** 0.5, names)[1]
    return sum(
        float((capture.leaves[name].detach().double() * g.double()).abs().sum())
        for name, g in gradients.items()
    )


def _check_alone(alone: Tensor, together: Tensor, index: int, rounding: float) -> None:
    scale = together.detach().double().abs().max()
    tolerance = 1e-6 if alone.dtype == torch.float64 else 1e-3
    if alone.dtype.itemsize < 4:
        tolerance = 0.2
    if (alone - together).detach().double().abs().max() > tolerance * scale + rounding:
        raise InputError(
            f"the model's output for a sample must not depend on the others, got a different one "
            f"for sample {index} alone. Is the batch the first dimension everywhere?"
        )
