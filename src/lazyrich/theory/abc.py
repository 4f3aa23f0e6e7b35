"""abc-parametrisations: which powers of the width give a limit, and whether it learns features.

A network with L hidden layers of width n and N = L + 1 layers of weights has, in layer l, the
weights `W_l = n^{−a_l} w_l` with `w_l ~ N(0, n^{−2b_l})`, trained by gradient descent at the
learning rate `η n^{−c}`. Everything follows from

    r = min(a_N + b_N, 2a_N + c) + c − 1 + min_{l ≤ L} (2a_l + 1{l = 1}),

the power of 1/n that the change of the last hidden features is proportional to. All exponents are
fractions, and so is the arithmetic: what lies on a boundary is known to lie on it.

References:
    Yang & Hu, arXiv:2011.14522, Theorem 3.3 as a reading note of it has it. The largest stable
    learning rate and the words for what fails are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.numerics.fractions import ExponentLike, exact_exponent
from lazyrich.theory.exact_axes import ExponentAxis, fractions_of, over_common_denominator, parted
from lazyrich.theory.labels import apply, dataset, require_free, require_whole
from lazyrich.theory.model import Assumption, Model
from lazyrich.vocabulary.quantity import DERIVED, YANG2021, Quantity, by_name
from lazyrich.vocabulary.regimes import Phase

__all__ = ["AbcParametrisation", "abc_phases"]

HALF = Fraction(1, 2)
QUANTITIES = (
    Quantity(
        name="feature_decay",
        symbol="r",
        meaning="power of 1/width that the change of the last hidden features is proportional to",
        source=YANG2021,
    ),
    Quantity(
        name="output_change_decay",
        symbol="min(a + b + r, 2a + c) − 1",
        meaning="power of 1/width that the change of the output in a step is proportional to",
        source=YANG2021,
    ),
    Quantity(
        name="stability_excess",
        dims=("condition",),
        symbol="left − right",
        meaning="by how much the left side of a condition of stability exceeds its right side",
        source=YANG2021,
    ),
)
_KNOWN = by_name(QUANTITIES)


@dataclass(frozen=True, kw_only=True)
class AbcParametrisation:
    """How the layers of a deep network and their learning rate scale with the width, exactly.

    Args:
        a: exponents a of each layer from the first, `W_l = n^{−a_l} w_l`.
        b: exponents b of each layer, `w_l ~ N(0, n^{−2b_l})`; the first layer's inputs do not
            scale.
        c: exponent c of the learning rate `η n^{−c}`.

    Example:
        >>> mup = AbcParametrisation.named("mup", depth=3)
        >>> mup.phase, mup.feature_decay
        ('feature', Fraction(0, 1))
        >>> standard = AbcParametrisation.named("standard", depth=2)
        >>> standard.failures[-1]
        'a_3 + b_3 + r ≥ 1 fails: the left side is -1/2'
        >>> standard.at_largest_rate().phase
        'kernel'

    References:
        Yang & Hu, arXiv:2011.14522.
    """

    a: tuple[Fraction, ...]
    b: tuple[Fraction, ...]
    c: Fraction

    def __post_init__(self) -> None:
        _require_layers(self.a, self.b)

    @classmethod
    def from_exponents(
        cls, a: Sequence[ExponentLike], b: Sequence[ExponentLike], c: ExponentLike
    ) -> AbcParametrisation:
        """The parametrisation of whole numbers, fractions, their texts or floats.

        Raises:
            InputError: an exponent that is no number; fewer than two layers; lists of two lengths.

        Example:
            >>> AbcParametrisation.from_exponents(["-1/4", "1/2"], [0.25, 0.25], 0).feature_decay
            Fraction(1, 4)
        """
        _require_layers(a, b)
        return cls(
            a=tuple(map(exact_exponent, a)), b=tuple(map(exact_exponent, b)), c=exact_exponent(c)
        )

    @classmethod
    def named(cls, name: str, *, depth: int) -> AbcParametrisation:
        """A parametrisation that has a name.

        Args:
            name: `mup`, `ntk`, `mean_field` (one hidden layer), `standard` (a learning rate that
                does not depend on the width) or `standard_slow` (one proportional to 1/n).
            depth: L ≥ 1, the number of hidden layers.

        Raises:
            InputError: a name that is none of these, or mean field with more hidden layers.
        """
        L = require_whole("depth", depth, 1, 10**4)
        zero, one = Fraction(0), Fraction(1)
        known = {
            "mup": ((-HALF, *[zero] * (L - 1), HALF), (HALF,) * (L + 1), zero),
            "ntk": ((zero, *[HALF] * L), (zero,) * (L + 1), zero),
            "mean_field": ((zero, one), (zero, zero), -one),
            "standard": ((zero,) * (L + 1), (zero, *[HALF] * L), zero),
            "standard_slow": ((zero,) * (L + 1), (zero, *[HALF] * L), one),
        }
        if name not in known:
            raise InputError(
                f"there is no abc-parametrisation {name!r}; choose from {', '.join(known)}"
            )
        if name == "mean_field" and L > 1:
            raise InputError(
                f"mean_field has one hidden layer, got `depth` {L}. In deeper networks `mup` is "
                f"what learns features."
            )
        a, b, c = known[name]
        return cls(a=a, b=b, c=c)

    @property
    def depth(self) -> int:
        """The number L of hidden layers."""
        return len(self.a) - 1

    @property
    def feature_decay(self) -> Fraction:
        """The exponent r; the features change by Θ(n^{−r}) where no condition fails."""
        return self._table[0]

    @property
    def excess(self) -> Mapping[str, Fraction]:
        """Left minus right side of each condition of stability."""
        return dict(zip(_conditions(self.depth), self._table[1:], strict=True))

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each condition of stability that fails."""
        return tuple(filter(None, self._sentences))

    @property
    def phase(self) -> Phase:
        """Unstable, frozen (the output does not change), kernel or feature.

        Example:
            >>> [AbcParametrisation.named(name, depth=2).phase for name in ("ntk", "standard")]
            ['kernel', 'unstable']
        """
        if self.failures:
            return Phase.UNSTABLE
        if min(self._table[-2:]) > 0:
            return Phase.FROZEN
        return Phase.KERNEL if self.feature_decay > 0 else Phase.FEATURE

    def shifted(self, theta: ExponentLike) -> AbcParametrisation:
        """The same networks in other words: (a + θ, b − θ, c − 2θ).

        Args:
            theta: how much every a grows.
        """
        by = exact_exponent(theta)
        return replace(
            self,
            a=tuple(a + by for a in self.a),
            b=tuple(b - by for b in self.b),
            c=self.c - 2 * by,
        )

    def at_largest_rate(self) -> AbcParametrisation:
        """The same layers at the largest learning rate, the smallest c, that is stable.

        Raises:
            InputError: the start itself grows or falls with the width, at any learning rate.
        """
        at_start = next(filter(None, self._sentences[: self.depth + 1]), "")
        if at_start:
            raise InputError(f"no learning rate is stable here: {at_start}. Change `a` or `b`.")
        last, total = self.a[-1], self.a[-1] + self.b[-1]
        r = max(Fraction(0), 1 - total)  # the smallest that is stable
        rest = r + 1 - _first(self.a[:-1], Fraction(1))
        c = max(1 - 2 * last, rest - total, (rest - 2 * last) / 2)
        return replace(self, c=c)

    @property
    def _sentences(self) -> list[str]:
        """Of each condition: how it fails, or nothing."""
        return [
            f"{text} fails: the left side is {value + Fraction(text.split()[-1])}"
            if (value != 0 if at < self.depth else value < 0)
            else ""
            for at, (text, value) in enumerate(self.excess.items())
        ]

    @property
    def _table(self) -> tuple[Fraction, ...]:
        return _exponents(HALF, self.c, *self.a, *self.b)


def abc_phases(a: Sequence[ExponentAxis], b: Sequence[ExponentAxis], c: ExponentAxis) -> xr.Dataset:
    """The limits of abc-parametrisations over labelled axes of exponents, in exact arithmetic.

    Args:
        a: exponents a of each layer from the first: a number, a fraction, its text, or an axis of
            such.
        b: the same.
        c: exponent c of the learning rate.

    Returns:
        Over the axes of all arguments: `feature_decay` r, `output_change_decay`, which is 0 where
        the network learns, and `stability_excess` along `condition`, which must be 0 for an
        equality and ≥ 0 for an inequality. Coordinates are `phase`, a word of `Phase`, and
        `status`: "ok", or which conditions fail. Where one fails, r says how fast it fails, but
        not what features do.

    Raises:
        InputError: an exponent that is no number; fewer than two layers; lists of two lengths.

    Example:
        >>> standard = abc_phases([0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 1])
        >>> standard.phase.values.tolist(), standard.feature_decay.values.tolist()
        (['unstable', 'unstable', 'kernel'], [-1.0, 0.0, 0.5])

    References:
        Yang & Hu, arXiv:2011.14522.
    """
    _require_layers(a, b)
    conditions = _conditions(len(a) - 1)
    given = [*(("c", c),), *((f"a_{i}", x) for i, x in enumerate(a, 1))]
    given += [(f"b_{i}", x) for i, x in enumerate(b, 1)]
    arrays = [fractions_of(name, value) for name, value in given]
    require_free({*_KNOWN, "phase", "status", "condition"}, *arrays)
    unit, integers = over_common_denominator(arrays)

    def evaluate(*numbers: Any) -> tuple[Any, ...]:  # noqa: ANN401 - arrays of integers
        r, *excess = np.broadcast_arrays(*_exponents(unit // 2, *numbers))
        return r, np.stack(excess, axis=-1)

    r, excess = apply(evaluate, *integers, output_core_dims=[(), ("condition",)])
    bits = _failing(excess, len(a) - 1)
    change = excess.isel(condition=slice(-2, None)).min("condition")
    found = {
        "feature_decay": r,
        "output_change_decay": change,
        "stability_excess": excess.assign_coords(condition=list(conditions)),
    }
    result = dataset({k: (x / unit).astype(float) for k, x in found.items()}, _KNOWN)
    words = np.where(r > 0, Phase.KERNEL, Phase.FEATURE)
    words = np.where(change > 0, Phase.FROZEN, words)
    words = np.where(bits.any("condition"), Phase.UNSTABLE, words)
    attrs = {"long_name": "phase of the limit of infinite width"}
    return result.assign_coords(
        phase=(r.dims, words.astype(str), attrs), status=(r.dims, _status(bits, conditions))
    )


def _exponents(half: Any, c: Any, *layers: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """The exponent r and the excesses, for fractions, or for integers of which 2 half are 1."""
    N = len(layers) // 2
    a, b = layers[:N], layers[N:]
    one, total = 2 * half, a[-1] + b[-1]
    r = np.minimum(total, 2 * a[-1] + c) + c - one + _first(a[:-1], one)
    start = [a[i] + b[i] - (half if i else 0 * half) for i in range(N - 1)]
    return (r, *start, total - half, r, 2 * a[-1] + c - one, total + r - one)


def _first(a: Sequence[Any], one: Any) -> Any:  # noqa: ANN401
    """`min_{l ≤ L} (2a_l + 1{l = 1})`."""
    least = 2 * a[0] + one
    for each in a[1:]:
        least = np.minimum(least, 2 * each)
    return least


def _conditions(depth: int) -> tuple[str, ...]:
    """The conditions of stability: those of equality of every hidden layer, and four more."""
    N = depth + 1
    hidden = [f"a_{i} + b_{i} = {'1/2' if i > 1 else '0'}" for i in range(1, N)]
    last = f"a_{N} + b_{N}"
    return (*hidden, f"{last} ≥ 1/2", "r ≥ 0", f"2a_{N} + c ≥ 1", f"{last} + r ≥ 1")


def _require_layers(a: Sequence[object], b: Sequence[object]) -> None:
    if len(a) != len(b) or len(a) < 2:
        raise InputError(
            f"`a` and `b` must have one exponent for each layer of weights, at least two, got "
            f"{len(a)} and {len(b)}"
        )


def _failing(excess: xr.DataArray, equalities: int) -> xr.DataArray:
    return xr.concat(
        [
            excess.isel(condition=slice(equalities)) != 0,
            excess.isel(condition=slice(equalities, None)) < 0,
        ],
        "condition",
    )


def _status(failing: xr.DataArray, conditions: Sequence[str]) -> np.ndarray[Any, Any]:
    """A sentence for each set of failing conditions that occurs."""
    values = failing.transpose(..., "condition").values.astype(bool)
    rows = values.reshape(-1, len(conditions))
    packed = np.ascontiguousarray(np.packbits(rows, axis=1))  # one key a row sorts faster than rows
    keys = packed.view(np.dtype((np.void, packed.shape[1])))[:, 0]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    texts = []
    for row in rows[first]:
        broken = [text for text, fails in zip(conditions, row, strict=True) if fails]
        verb = "fails" if len(broken) == 1 else "fail"
        texts.append(f"unstable: {', '.join(broken)} {verb}" if broken else "ok")
    return np.array(texts)[which.ravel()].reshape(values.shape[:-1])


def _example() -> xr.Dataset:
    return abc_phases([0, 0, 0], [0, "1/2", "1/2"], [0, "1/2", 1])


def _phase(a: Any = None, b: Any = None, c: Any = None, name: Any = None, depth: Any = 1) -> Any:  # noqa: ANN401
    """As typed: exponents of all layers with commas between them, or a name and a depth."""
    if name is None and None not in (a, b, c):
        return abc_phases(parted(a), parted(b), c)
    if name is None or a is not None or b is not None:
        raise InputError(
            "give either a, b and c, such as a=-1/2,0,1/2 b=1/2,1/2,1/2 c=0, or name and depth, "
            "such as name=mup depth=2, with a c of its own if you like"
        )
    named = AbcParametrisation.named(str(name), depth=depth)
    return abc_phases(named.a, named.b, named.c if c is None else c)


MODEL = Model(
    name="abc",
    equation="r = min(a_N + b_N, 2a_N + c) + c − 1 + min_{l ≤ L} (2a_l + 1{l = 1}) of f with "
    "W_l = n^{−a_l} w_l, w_l ~ N(0, n^{−2b_l}), learning rate η n^{−c}",
    assumptions=(
        Assumption(
            sentence="Every layer of weights has its a and its b; all hidden layers have the same "
            "width, and the number of inputs does not grow.",
            broken=lambda: abc_phases([0, 0], [0], 0),
        ),
        Assumption(
            sentence="The network is trained by gradient descent at one learning rate for a number "
            "of steps that does not grow, and is tanh or a smooth gelu; the mean-field one has one "
            "hidden layer.",
            broken=lambda: AbcParametrisation.named("mean_field", depth=2),
        ),
    ),
    quantities=_KNOWN,
    example=_example,
    references=(YANG2021, DERIVED),
    commands={"phase": _phase},
)


def __dir__() -> list[str]:
    return __all__
