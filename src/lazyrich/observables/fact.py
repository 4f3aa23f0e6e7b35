"""Features at convergence: what weights are where training with weight decay has come to rest.

There `∇_W L + λW = 0`, and from the left with Wᵀ, `WᵀW = −(1/λ) Wᵀ∇_W L`: a matrix of features from
the layer's inputs and the loss's gradients with respect to them, beside that of the ansatz.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.capture.network import gradient
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import Quantity

BOIX2025 = "Boix-Adserà et al., The Features at Convergence Theorem, arXiv:2507.05644"


@torch.no_grad()
def fact_correlation(weight: Float[Tensor, "m d"], slope: Float[Tensor, "m d"]) -> float:
    """Correlation of the neural feature matrix with FACT, `ρ(WᵀW, −Wᵀ∇_W L)`, a cosine.

    `−Wᵀ∇_W L = −(1/n) Σ_i (∂ℓ_i/∂h) h_iᵀ` over the samples, h being the layer's inputs. It is 1 at
    every stationary point of the loss with weight decay, whatever its strength.

    Args:
        weight: W, (neurons, inputs).
        slope: ∇_W L of the loss without weight decay.

    Returns:
        Between −1 and 1; NaN if the weight or the gradient vanishes.

    Example:
        >>> w = torch.tensor([[1.0, 2.0], [0.0, 1.0]])
        >>> round(fact_correlation(w, -0.1 * w), 6)
        1.0

    References:
        Boix-Adserà, Mallinar, Simon & Belkin, arXiv:2507.05644.
    """
    w, g = weight.double(), slope.double()
    b, c = w @ w.T, g @ w.T
    size = b.norm() * (b @ g * g).sum().clamp(min=0).sqrt()  # ‖Wᵀ∇L‖² = tr(∇LᵀWWᵀ∇L)
    return float(-(b * c).sum() / size)


def _fact(look: Look, _: Reference) -> Row:
    with torch.enable_grad():
        along = gradient(look.loss_of, look.f)
    by_layer = zip(look.capture.layers, look.capture.gradients(along), strict=False)
    learning = {layer.name for layer in look.layers}
    row = {}
    for layer, of_calls in by_layer:  # layers come first among the gradients
        if layer.name in learning:
            g, h = layer.rows(of_calls).double(), layer.inputs.double()
            blocks = torch.einsum("ntgm,ntgd->gmd", g, h)
            slope = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
            row[layer.name] = fact_correlation(layer.matrix, slope)
    return {"fact": row}


FACT = Observable(
    quantities=(
        Quantity(
            name="fact",
            dims=("layer",),
            symbol="ρ(WᵀW, −Wᵀ∇_W L)",
            meaning="correlation of weights with features at convergence; 1 at rest with decay",
            low=-1.0,
            high=1.0,
            source=BOIX2025,
        ),
    ),
    measure=_fact,
    default=False,
)
