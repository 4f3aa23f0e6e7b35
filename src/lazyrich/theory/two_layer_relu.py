"""Wide two-layer ReLU networks: linear, critical or condensed, by how initialisation scales.

With m neurons, `f(x) = (1/α) Σ_k a_k ReLU(w_k·x)`, `a ~ N(0, β₁²)`, `w ~ N(0, β₂²)` follows the
gradient flow. Only `κ = β₁β₂/α ∝ m^{−γ}` and `κ′ = β₁/β₂ ∝ m^{−γ′}` matter. The first layer moves
by `RD = ‖W(T) − W(0)‖/‖W(0)‖ ∝ m^S` until the loss is small: S < 0 is the linear regime, S = 0 the
critical one, S > 0 the condensed one, in which neurons gather in few directions. The sign of S is
that of `γ − 1 − max(γ′, 0)`.

References:
    The regimes: Luo et al., arXiv:2007.07497, as far as they are known to us. The exponents S are
    derived in the documentation and measured there on trained networks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.numerics.fractions import ExponentLike, exact_exponent
from lazyrich.theory.abc import AbcParametrisation
from lazyrich.theory.exact_axes import ExponentAxis, fractions_of, over_common_denominator
from lazyrich.theory.labels import apply, dataset, require_free
from lazyrich.theory.model import Assumption, Model
from lazyrich.vocabulary.quantity import DERIVED, LUO2021, Quantity, by_name
from lazyrich.vocabulary.regimes import CANNOT_TELL, JudgedPhase, Phase, Word

__all__ = ["Condensation", "ReluScaling", "relu_phases"]

QUANTITIES = (
    Quantity(
        name="weight_movement_exponent",
        symbol="S",
        meaning="power of the width that the first layer's relative movement is proportional to",
        source=DERIVED,
    ),
    Quantity(
        name="condensation_excess",
        symbol="γ − 1 − max(γ′, 0)",
        meaning="distance of the exponents from the critical line, positive where condensed",
        source=LUO2021,
    ),
)
_KNOWN = by_name(QUANTITIES)

OPEN = (
    f"{CANNOT_TELL}: the initial output grows with the width for γ < 1/2, for which nothing is "
    f"established; with zero output at the start it is linear"
)
HOMOGENEOUS = 1e-6  # relative; activations may compute in float32


class Condensation(Word):
    """What the first layer of a wide two-layer ReLU network does, in the paper's words.

    References:
        Luo et al., arXiv:2007.07497.
    """

    LINEAR = "linear"
    CRITICAL = "critical"
    CONDENSED = "condensed"


@dataclass(frozen=True, kw_only=True)
class ReluScaling:
    """How a two-layer ReLU network scales with its width m, exactly.

    Args:
        gamma: γ of `κ = β₁β₂/α ∝ m^{−γ}`.
        gamma_prime: γ′ of `κ′ = β₁/β₂ ∝ m^{−γ′}`.
        zero_output: whether the initial output is zero, by pairs of neurons or by subtraction.

    Example:
        >>> for name in ("ntk", "mean_field", "he"):
        ...     one = ReluScaling.named(name)
        ...     print(name, one.condensation, one.weight_movement_exponent)
        ntk linear -1/2
        mean_field critical 0
        he linear -3/2

    References:
        Luo et al., arXiv:2007.07497.
    """

    gamma: Fraction
    gamma_prime: Fraction
    zero_output: bool = False

    @classmethod
    def from_exponents(
        cls, gamma: ExponentLike, gamma_prime: ExponentLike, *, zero_output: bool = False
    ) -> ReluScaling:
        """The scaling of whole numbers, fractions, their texts or floats.

        Raises:
            InputError: an exponent that is no number.
        """
        return cls(
            gamma=exact_exponent(gamma),
            gamma_prime=exact_exponent(gamma_prime),
            zero_output=zero_output,
        )

    @classmethod
    def named(cls, name: str) -> ReluScaling:
        """The scaling of a usual initialisation, at one learning rate for both layers.

        Args:
            name: `ntk` (α = √m), `mean_field` (α = m), `lecun`, `he`, or `xavier`.

        Raises:
            InputError: a name that is none of these.
        """
        known: dict[str, tuple[ExponentLike, ExponentLike]] = {
            "ntk": ("1/2", 0),
            "mean_field": (1, 0),
            "lecun": ("1/2", "1/2"),
            "he": ("1/2", "1/2"),
            "xavier": (1, 0),
        }
        if name not in known:
            raise InputError(f"there is no initialisation {name!r}; choose from {', '.join(known)}")
        return cls.from_exponents(*known[name])

    @classmethod
    def of_abc(cls, parametrisation: AbcParametrisation) -> ReluScaling:
        """The scaling of an abc-parametrisation: γ = a₂ + b₂, γ′ = b₂ + a₁.

        Where that one is stable and learns, its r is −S.

        Raises:
            InputError: more than one hidden layer; a first layer that grows or falls.

        Example:
            >>> mup = AbcParametrisation.named("mup", depth=1)
            >>> ReluScaling.of_abc(mup).condensation
            'critical'
        """
        if parametrisation.depth != 1:
            raise InputError(
                f"these networks have one hidden layer, got {parametrisation.depth} of them. For "
                "more there is lazyrich.theory.abc"
            )
        (a1, a2), (b1, b2) = parametrisation.a, parametrisation.b
        if a1 + b1 != 0:
            raise InputError(f"the first layer must not scale: a_1 + b_1 must be 0, got {a1 + b1}")
        return cls(gamma=a2 + b2, gamma_prime=b2 + a1)

    @property
    def condensation(self) -> Condensation | Literal["cannot tell"]:
        """Linear, critical or condensed; "cannot tell" for γ < 1/2 without zero output."""
        if self.gamma < Fraction(1, 2) and not self.zero_output:
            return CANNOT_TELL
        excess = _excess(self.gamma, self.gamma_prime, Fraction(1))
        return list(Condensation)[1 + (excess > 0) - (excess < 0)]

    @property
    def phase(self) -> JudgedPhase:
        """The same in the words of the library: kernel where linear, else feature."""
        found = self.condensation
        if found == CANNOT_TELL:
            return CANNOT_TELL
        return Phase.KERNEL if found == Condensation.LINEAR else Phase.FEATURE

    @property
    def weight_movement_exponent(self) -> Fraction | None:
        """S of RD ∝ m^S; None where it is not known."""
        if self.condensation == CANNOT_TELL:
            return None
        return Fraction(_exponent(self.gamma, self.gamma_prime, Fraction(1)))


def relu_phases(
    gamma: ExponentAxis,
    gamma_prime: ExponentAxis,
    *,
    zero_output: bool = False,
    activation: Callable[[Any], Any] | None = None,
) -> xr.Dataset:
    """The regimes of two-layer ReLU networks over axes of their exponents, in exact arithmetic.

    Args:
        gamma: γ of `κ = β₁β₂/α ∝ m^{−γ}`: a number, a fraction, its text, or an axis of such.
        gamma_prime: γ′ of `κ′ = β₁/β₂ ∝ m^{−γ′}`; with learning rates that differ, of
            `κ′√(η_w/η_a)`.
        zero_output: whether the initial output is zero; otherwise nothing is known for γ < 1/2.
        activation: the network's own, an elementwise function of an array, which is then checked
            to be homogeneous as ReLU is.

    Returns:
        Over the axes of both: `weight_movement_exponent` S and `condensation_excess`. Coordinates
        are `condensation` (linear, critical, condensed), `phase`, which is kernel where linear
        and else feature, and `status`; the words are "cannot tell" and S is NaN where nothing is
        established.

    Raises:
        InputError: an exponent that is no number; an activation that is not homogeneous.

    Example:
        >>> found = relu_phases([0.5, 1, 1.75], 0)
        >>> found.condensation.values.tolist(), found.weight_movement_exponent.values.tolist()
        (['linear', 'critical', 'condensed'], [-0.5, 0.0, 0.375])

    References:
        Luo et al., arXiv:2007.07497; S is derived in the documentation.
    """
    if activation is not None:
        _require_homogeneous(activation)
    arrays = [fractions_of("gamma", gamma), fractions_of("gamma_prime", gamma_prime)]
    require_free({*_KNOWN, "condensation", "phase", "status"}, *arrays)
    unit, integers = over_common_denominator(arrays)

    def evaluate(g: Any, p: Any) -> tuple[Any, ...]:  # noqa: ANN401 - arrays of integers
        known = zero_output | (2 * g >= unit)
        return tuple(np.broadcast_arrays(_exponent(g, p, unit), _excess(g, p, unit), known))

    S, excess, known = apply(evaluate, *integers, output_core_dims=[()] * 3)
    found = {
        "weight_movement_exponent": (S / unit).astype(float).where(known.astype(bool)),
        "condensation_excess": (excess / unit).astype(float),
    }
    side = np.sign(excess.values.astype(float)).astype(int) + 1  # 0, 1, 2 as in the list of words
    words = np.array(list(Condensation))[side]
    phase = np.where(side == 0, Phase.KERNEL, Phase.FEATURE)
    texts = {"condensation": words, "phase": phase, "status": np.where(known, "ok", OPEN)}
    names = {"condensation": "regime of the first layer", "phase": "phase it belongs to"}
    shown = {
        name: text if name == "status" else np.where(known, text, CANNOT_TELL)
        for name, text in texts.items()
    }
    return dataset(found, _KNOWN).assign_coords(
        {
            name: (S.dims, text.astype(str), {"long_name": names[name]} if name in names else {})
            for name, text in shown.items()
        }
    )


def _excess(g: Any, p: Any, one: Any) -> Any:  # noqa: ANN401 - fractions, or integers
    """`γ − 1 − max(γ′, 0)`: negative linear, zero critical, positive condensed."""
    return g - one - np.maximum(p, 0 * p)


def _exponent(g: Any, p: Any, one: Any) -> Any:  # noqa: ANN401
    """S(γ, γ′), from `κ m a w ~ 1` at the end; `(γ − 1 − γ′)/2` is whole in these units."""
    e, nothing = g - one, 0 * g
    half = (e - p) / 2 if isinstance(one, Fraction) else (e - p) // 2
    linear = np.where(
        g <= one,
        e - 2 * np.maximum(p, 0 * p),  # neither layer grows
        np.where(p <= nothing, e, 2 * (e - p)),  # only the second one grows
    )
    condensed = np.where(p <= -e, e, half)  # only the first one grows, or both do
    chosen = np.where((g > one) & (p < e), condensed, linear)
    return chosen[()]


def _require_homogeneous(activation: Callable[[Any], Any]) -> None:
    """Refuse an activation that is not φ(cz) = c φ(z) for c > 0."""
    z = np.concatenate([-np.geomspace(1e-2, 1e2, 9), np.geomspace(1e-2, 1e2, 9)])
    once, twice = (np.asarray(activation(factor * z), dtype=float) for factor in (1.0, 2.0))
    gap = float(np.max(np.abs(twice - 2 * once)) / np.max(np.abs(2 * once)))
    if not gap <= HOMOGENEOUS:
        raise InputError(
            f"`activation` must be homogeneous as ReLU is, φ(2z) = 2φ(z), got a difference of "
            f"{gap:.2g} of its size. For others the exponents are not known."
        )


def _example() -> xr.Dataset:
    return relu_phases([0.5, 1.0, 1.75], [-0.5, 0.0, 0.5])


def _phase(
    gamma: Any = None,  # noqa: ANN401
    gamma_prime: Any = None,  # noqa: ANN401
    name: Any = None,  # noqa: ANN401
    zero_output: Any = 0,  # noqa: ANN401
) -> xr.Dataset:
    """As typed: both exponents, which may be axes, or the name of an initialisation."""
    if zero_output not in (0, 1):
        raise InputError(f"`zero_output` must be 0 or 1, got {zero_output!r}")
    if (name is None) == (gamma is None) or (gamma is None) != (gamma_prime is None):
        raise InputError(
            "give either gamma and gamma_prime, such as gamma=1/2 gamma_prime=0, or the name of "
            "an initialisation, such as name=ntk"
        )
    if name is not None:
        one = ReluScaling.named(str(name))
        gamma, gamma_prime = one.gamma, one.gamma_prime
    return relu_phases(gamma, gamma_prime, zero_output=bool(zero_output))


MODEL = Model(
    name="two_layer_relu",
    equation="RD ∝ m^S of f(x) = (1/α) Σ_k a_k ReLU(w_k·x) with β₁β₂/α ∝ m^{−γ} and "
    "β₁/β₂ ∝ m^{−γ′}",
    assumptions=(
        Assumption(
            sentence="The activation is homogeneous of degree one, as ReLU is.",
            broken=lambda: relu_phases(1, 0, activation=np.tanh),
        ),
        Assumption(
            sentence="There is one hidden layer, of Gaussian weights of the same variance.",
            broken=lambda: ReluScaling.of_abc(AbcParametrisation.named("mup", depth=2)),
        ),
    ),
    quantities=_KNOWN,
    example=_example,
    references=(LUO2021, DERIVED),
    commands={"phase": _phase},
)


def __dir__() -> list[str]:
    return __all__
