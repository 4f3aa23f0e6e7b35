"""Left singular structure of the weights beside the tangent features, for figure 6.

With `W = U Σ Vᵀ` the feature matrix is `F = V Σ² Vᵀ` and the average gradient outer product `G = V
Σ (UᵀKU) Σ Vᵀ`: V is shared, and all that is not trivial in their correlation is how K lies to the
left singular vectors U. For a power s, `Gˢ ∝ F` if and only if `UᵀKU ∝ Σ^(2/s − 2)`: at s = 1 K
has to be the *same in all directions* of W's range, at s = ½ it has to be `WWᵀ` there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

ROTATIONS = 8  # of K, whose mean is the null
Correlation = Callable[[Tensor, Tensor], Tensor]


def tangent_covariances(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """K = (1/n) Σ g gᵀ, g = ∂f_c/∂z, of every linear layer but the last, in float64.

    Args:
        network: of linear layers on vectors, each used once.
        x: inputs.
    """
    layers = {name: m for name, m in network.named_modules() if isinstance(m, nn.Linear)}
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        return lambda _, __, z: seen.__setitem__(name, z)

    hooks = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        outputs = network(x)
    finally:
        for hook in hooks:
            hook.remove()
    hidden = list(layers)[:-1]
    found = {
        name: torch.zeros(2 * seen[name].shape[1:], dtype=torch.float64, device=x.device)
        for name in hidden
    }
    for c in range(outputs.shape[1]):
        slopes = torch.autograd.grad(
            outputs[:, c].sum(), [seen[name] for name in hidden], retain_graph=True
        )
        for name, g in zip(hidden, slopes, strict=True):
            found[name] += (g.double().T @ g.double()) / len(x)
    return found


def left_alignment(b: Tensor, k: Tensor) -> Tensor:
    """ρ(WWᵀ, K), the cosine between the left Gram matrix B of the weights and K."""
    return (b * k).sum() / (b.norm() * k.norm())


def ansatz_of_power_1(b: Tensor, k: Tensor) -> Tensor:
    """ρ(WᵀW, WᵀKW) = tr(B²K)/(‖B‖ tr(KBKB)^½), a cosine, from B = WWᵀ alone."""
    kb = k @ b
    return (b * (b @ k).T).sum() / (b.norm() * (kb * kb.T).sum().sqrt())


def ansatz_of_power_half(b: Tensor, k: Tensor) -> Tensor:
    """ρ(WᵀW, (WᵀKW)^½), the power of Radhakrishnan et al., from B = WWᵀ alone.

    `WᵀKW` has the eigenvalues Λ of `B^½KB^½ = QΛQᵀ`, and `tr(F G^½) = Σ Λ^½ (QᵀBQ)`.
    """
    values, vectors = torch.linalg.eigh(b)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    values, vectors = torch.linalg.eigh(root @ k @ root)
    values = values.clamp_min(0)
    inner = (values.sqrt() * (vectors * (b @ vectors)).sum(0)).sum()
    return inner / (b.norm() * values.sum().sqrt())


MEASURES: Mapping[str, Correlation] = {
    "left": left_alignment,
    "power_1": ansatz_of_power_1,
    "power_half": ansatz_of_power_half,
}


def left_structure(network: nn.Module, x: Tensor, *, seed: int) -> dict[str, list[float]]:
    """The three correlations of every hidden layer, and `…_null`, their means over rotations of K.

    Args:
        network: see `tangent_covariances`.
        x: inputs.
        seed: of the rotations.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = network.state_dict()
    found: dict[str, list[float]] = {name + end: [] for name in MEASURES for end in ("", "_null")}
    for layer, k in tangent_covariances(network, x).items():
        w = weights[f"{layer}.weight"].double()
        b = w @ w.T
        rotations = [q.to(k) for q in _rotations(len(k), generator)]  # drawn on the CPU
        rotated = [q @ k @ q.T for q in rotations]
        for name, measure in MEASURES.items():
            found[name].append(float(measure(b, k)))
            null = torch.stack([measure(b, other) for other in rotated]).mean()
            found[f"{name}_null"].append(float(null))
    return found


def _rotations(k: int, generator: torch.Generator) -> list[Tensor]:
    """Haar rotations: QR of Gaussian matrices, with R's diagonal made positive."""
    made = []
    for _ in range(ROTATIONS):
        q, r = torch.linalg.qr(torch.randn(k, k, generator=generator, dtype=torch.float64))
        made.append(q * r.diagonal().sign())
    return made
