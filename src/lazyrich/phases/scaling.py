"""How a family of networks scales with its width, and the phase that it is therefore in.

With `γ ∝ d^a`, `η_u ∝ d^{e_u}`, `η_w ∝ d^{e_w}`, `σ_u² ∝ d^{s_u}`, `σ_w² ∝ d^{s_w}`:

    signal rate    b = a + (e_u + e_w)/2
    kernel rate    k = 2a + 1 + max(e_w + s_u, e_u + s_w)
    learning rate  r = max(b, k)
    output         a + ½ + (s_u + s_w)/2

`r < 0` is frozen and `r > 0` unstable. At `r = 0` the kernel stays (`b < k`, kernel phase) or
changes (`b = k`, feature learning; `b > k`, feature learning from vanishing initialisation).

References:
    The phases: Xu & Ziyin, arXiv:2401.07085. The table is derived in the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.numerics.fractions import ExponentLike, exact_exponent
from lazyrich.theory.labels import ParameterLike, labelled, require_range
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import LineState
from lazyrich.theory.two_layer_linear.wishart import SeedLike
from lazyrich.vocabulary.regimes import Phase, Word


class FeatureKind(Word):
    """The two kinds of feature learning: its kernel changes by Θ(1), or grows without bound."""

    CRITICAL = "critical"
    VANISHING_INIT = "vanishing_init"


class Exponents(NamedTuple):
    """Powers of the width d; numbers, fractions or arrays.

    References:
        Xu & Ziyin, arXiv:2401.07085, for the scalings; the exponents are derived here.
    """

    signal: Any
    kernel: Any
    rate: Any
    output: Any


def exponents(a: Any, e_u: Any, e_w: Any, s_u: Any, s_w: Any) -> Exponents:  # noqa: ANN401
    """The table above, for fractions (exactly) or arrays (over a diagram)."""
    signal, *kernels = rate_exponents(a, e_u, e_w, s_u, s_w)
    kernel = np.maximum(*kernels)
    return Exponents(
        signal=signal,
        kernel=kernel,
        rate=np.maximum(signal, kernel),
        output=a + (1 + s_u + s_w) / 2,
    )


def rate_exponents(a: Any, e_u: Any, e_w: Any, s_u: Any, s_w: Any) -> tuple[Any, Any, Any]:  # noqa: ANN401
    """The three rates of which the largest decides: signal, kernel of layer 1, of layer 2."""
    return a + (e_u + e_w) / 2, 2 * a + 1 + e_w + s_u, 2 * a + 1 + e_u + s_w


@dataclass(frozen=True)
class Power:
    """The power law `constant · d^exponent`.

    Args:
        exponent: a whole number, a fraction or its text ("-1/2"); kept exactly.
        constant: its value at width 1.

    Example:
        >>> Power("-1/2", 3.0).at(4)
        1.5
    """

    exponent: Fraction
    constant: float = 1.0

    def __init__(self, exponent: ExponentLike, constant: float = 1.0) -> None:
        object.__setattr__(self, "exponent", exact_exponent(exponent))
        object.__setattr__(self, "constant", float(constant))
        if not np.isfinite(self.constant):
            raise InputError(f"`constant` must be finite, got {constant}")

    def at(self, width: Any) -> Any:  # noqa: ANN401 - a number gives a number, an array an array
        """The value at `width`."""
        return self.constant * width ** float(self.exponent)

    def __str__(self) -> str:
        power = "" if self.exponent == 0 else f"d^{self.exponent}"
        if self.constant == 1 and power:
            return power
        return f"{self.constant:g} {power}".strip()


@dataclass(frozen=True, kw_only=True)
class ScalingLaw:
    """How output scale, learning rates and initial variances scale with the width d.

    Args:
        output_scale: γ(d).
        lr_u: learning rate η_u(d) of the second layer.
        lr_w: learning rate η_w(d) of the first layer.
        init_var_u: variance σ_u²(d) of the second layer.
        init_var_w: variance σ_w²(d) of the first layer.

    Example:
        >>> ntk = ScalingLaw(
        ...     output_scale=Power("-1/2"),
        ...     lr_u=Power(0),
        ...     lr_w=Power(0),
        ...     init_var_u=Power(0),
        ...     init_var_w=Power(0),
        ... )
        >>> ntk.phase, str(ntk.exponents.signal)
        ('kernel', '-1/2')

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """

    output_scale: Power
    lr_u: Power
    lr_w: Power
    init_var_u: Power
    init_var_w: Power

    def __post_init__(self) -> None:
        if self.output_scale.constant == 0:
            raise InputError("the constant of `output_scale` must not be 0: it has no exponent")
        for field in fields(self)[1:]:
            constant = getattr(self, field.name).constant
            if not constant > 0:
                raise InputError(f"the constant of `{field.name}` must be > 0, got {constant}")

    @classmethod
    def from_exponents(
        cls,
        a: ExponentLike,
        e_u: ExponentLike,
        e_w: ExponentLike,
        s_u: ExponentLike,
        s_w: ExponentLike,
    ) -> ScalingLaw:
        """A law with unit constants from the exponents of γ, η_u, η_w, σ_u², σ_w².

        Example:
            >>> ScalingLaw.from_exponents(-1, 1, 1, 0, 0).phase
            'feature'
        """
        names = [field.name for field in fields(cls)]
        return cls(**{n: Power(e) for n, e in zip(names, (a, e_u, e_w, s_u, s_w), strict=True)})

    @property
    def exponents(self) -> Exponents:
        """Signal, kernel, learning-rate and output exponents, exact fractions."""
        return exponents(*(getattr(self, field.name).exponent for field in fields(self)))

    @property
    def phase(self) -> Phase:
        """The phase of the infinite-width limit."""
        signal, kernel, rate, _ = self.exponents
        if rate != 0:
            return Phase.FROZEN if rate < 0 else Phase.UNSTABLE
        return Phase.KERNEL if signal < kernel else Phase.FEATURE

    @property
    def feature_kind(self) -> FeatureKind | None:
        """Which kind of feature learning, or None in the other phases."""
        if self.phase is not Phase.FEATURE:
            return None
        signal, kernel, *_ = self.exponents
        return FeatureKind.CRITICAL if signal == kernel else FeatureKind.VANISHING_INIT

    def at_unit_rate(self) -> ScalingLaw:
        """The same family with both learning-rate exponents shifted so that it learns in Θ(1) time.

        Example:
            >>> from lazyrich import PRESETS
            >>> PRESETS["standard"].phase, PRESETS["standard"].at_unit_rate().phase
            ('unstable', 'kernel')
        """
        rate = self.exponents.rate
        shifted = {
            name: Power(power.exponent - rate, power.constant)
            for name, power in (("lr_u", self.lr_u), ("lr_w", self.lr_w))
        }
        return replace(self, **shifted)

    def network(self, width: ParameterLike) -> LinearNetwork:
        """The member of the family at `width` (a number or an axis), without its weights."""
        d = _checked_width(width)
        return LinearNetwork(
            output_scale=self.output_scale.at(d), lr_u=self.lr_u.at(d), lr_w=self.lr_w.at(d)
        )

    def sample(
        self, width: ParameterLike, *, draws: int | None = None, seed: SeedLike
    ) -> LineState:
        """Initial states of the member at `width`; arguments as in `LineState.sample`."""
        d = _checked_width(width)
        return LineState.sample(
            width,
            init_std_u=self.init_var_u.at(d) ** 0.5,
            init_std_w=self.init_var_w.at(d) ** 0.5,
            draws=draws,
            seed=seed,
        )

    def named_exponents(self) -> dict[str, Fraction]:
        """The exponents by name, as in the command line's `--json`."""
        return {f"{name}_exponent": value for name, value in self.exponents._asdict().items()}


def _checked_width(width: ParameterLike) -> xr.DataArray:
    d = labelled("width", width)
    require_range("width", d, 1, np.inf)
    return d
