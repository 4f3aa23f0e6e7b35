"""One network in three vocabularies: a scaling law, an abc-parametrisation, exponents γ and γ′.

With one hidden layer all three speak of the same networks. A scaling law is judged on the linear
network, which is solved; abc-parametrisations and ReLU networks are judged by what features do. The
words agree where the second layer's share of the kernel counts, γ′ ≥ 0. For γ′ < 0 the features of
the first layer can move while the kernel of a linear network, which is made by the second layer,
stays: feature learning by the one measure, kernel phase by the other.
"""

from __future__ import annotations

from lazyrich._errors import InputError
from lazyrich.phases.scaling import ScalingLaw
from lazyrich.theory.abc import AbcParametrisation
from lazyrich.theory.two_layer_relu import ReluScaling


def abc_scaling_law(parametrisation: AbcParametrisation) -> ScalingLaw:
    """The scaling law of an abc-parametrisation with one hidden layer.

    `γ ∝ d^{−a₂}`, `η_u ∝ d^{−c}`, `η_w ∝ d^{−c − 2a₁}`, `σ_u² ∝ d^{−2b₂}`, `σ_w² ∝ d^{−2(a₁+b₁)}`.

    Args:
        parametrisation: parametrisation with one hidden layer.

    Raises:
        InputError: more than one hidden layer.

    Example:
        >>> mup = AbcParametrisation.named("mup", depth=1)
        >>> abc_scaling_law(mup).phase, abc_scaling_law(mup).feature_kind
        ('feature', 'critical')

    References:
        Derived in the documentation.
    """
    if parametrisation.depth != 1:
        raise InputError(
            f"a scaling law has one hidden layer, got {parametrisation.depth} of them. See "
            f"`AbcParametrisation.phase` for the phase of a deep network."
        )
    (a1, a2), (b1, b2), c = parametrisation.a, parametrisation.b, parametrisation.c
    return ScalingLaw.from_exponents(-a2, -c, -c - 2 * a1, -2 * b2, -2 * (a1 + b1))


def relu_scaling(law: ScalingLaw, *, zero_output: bool = False) -> ReluScaling:
    """The exponents γ and γ′ that two-layer ReLU networks have under a scaling law.

    `κ = γ σ_u σ_w ∝ d^{−γ}` and `κ′ = (σ_u/σ_w) √(η_w/η_u) ∝ d^{−γ′}`: the two are what is left of
    the five exponents when time and both layers are counted in their own units.

    Args:
        law: how the family scales.
        zero_output: whether the initial output is zero.

    Example:
        >>> from lazyrich import PRESETS
        >>> relu_scaling(PRESETS["standard"]).condensation
        'linear'

    References:
        Luo et al., arXiv:2007.07497; the mapping is derived in the documentation.
    """
    scale, lr_u, lr_w = law.output_scale.exponent, law.lr_u.exponent, law.lr_w.exponent
    var_u, var_w = law.init_var_u.exponent, law.init_var_w.exponent
    return ReluScaling(
        gamma=-scale - (var_u + var_w) / 2,
        gamma_prime=(var_w - var_u + lr_u - lr_w) / 2,
        zero_output=zero_output,
    )
