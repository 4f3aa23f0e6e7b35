"""What a quantity is: one name, one symbol, one range and one source.

Theory, simulation and measurement all return `xarray.Dataset`s whose variables carry these names
and attributes, so that comparing two of them is a subtraction. A quantity is
declared once: in `shared` if several rooms give it, else in the room that does, in its tuple
`QUANTITIES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

XU2025 = "Xu & Ziyin, Three Mechanisms of Feature Learning in a Linear Network, arXiv:2401.07085"
BEAGLEHOLE2024 = (
    "Beaglehole, Mitliagkas & Agarwala, Feature learning as alignment, arXiv:2402.05271"
)
LUO2021 = (
    "Luo et al., Phase diagram for two-layer ReLU neural networks at infinite-width limit, "
    "arXiv:2007.07497"
)
YANG2021 = "Yang & Hu, Feature learning in infinite-width neural networks, arXiv:2011.14522"
YANG2022 = "Yang et al., Tensor Programs V: Tuning Large Neural Networks, arXiv:2203.03466"
FORT2020 = "Fort et al., Deep learning versus kernel learning, arXiv:2010.15110"
BARATIN2021 = (
    "Baratin et al., Implicit regularization via neural feature alignment, arXiv:2008.00938"
)
EVERETT2024 = (
    "Everett et al., Scaling exponents across parameterizations and optimizers, arXiv:2407.05872"
)
CHIZAT2023 = "Chizat & Netrapalli, The feature speed formula, arXiv:2311.18718"
DOMINE2024 = (
    "Dominé et al., From Lazy to Rich: Exact Learning Dynamics in Deep Linear Networks, "
    "arXiv:2409.14623"
)
KUNIN2024 = (
    "Kunin et al., Get rich quick: exact solutions reveal how unbalanced initializations promote "
    "rapid feature learning, arXiv:2406.06158"
)
SAXE2014 = (
    "Saxe, McClelland & Ganguli, Exact solutions to the nonlinear dynamics of learning in deep "
    "linear neural networks, arXiv:1312.6120"
)
WOODWORTH2020 = (
    "Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, arXiv:2002.09277"
)
LEWKOWYCZ2020 = (
    "Lewkowycz et al., The large learning rate phase of deep learning: the catapult mechanism, "
    "arXiv:2003.02218"
)
SIMON2023 = "Simon et al., On the Stepwise Nature of Self-Supervised Learning, arXiv:2303.15438"
ZIYIN2022 = "Ziyin, Li & Meng, Exact Solutions of a Deep Linear Network, arXiv:2202.04777"
TIAN2022 = (
    "Tian, Understanding the Role of Nonlinearity in Training Dynamics of Contrastive Learning, "
    "arXiv:2206.01342"
)
JEFFARES2024 = (
    "Jeffares, Curth & van der Schaar, Deep Learning Through A Telescoping Lens, arXiv:2411.00247"
)
CHIZAT2019 = (
    "Chizat, Oyallon & Bach, On Lazy Training in Differentiable Programming, arXiv:1812.07956"
)
CURTH2023 = "Curth, Jeffares & van der Schaar, A U-turn on Double Descent, arXiv:2310.18988"
DERIVED = "derived in the lazyrich documentation"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measurable quantity and what it means.

    Attributes:
        name: the variable's name in every Dataset.
        symbol: how papers write it.
        meaning: one sentence, used as `long_name`.
        units: `1` for pure numbers, otherwise in terms of the data's own units.
        low: the smallest possible value of the quantity itself; an unbiased estimate of it, from
            random directions, scatters about it and may fall below.
        high: the largest possible value, likewise.
        source: where the definition comes from.
        dims: those of one value in a network that has several layers, outputs or inputs; where
            there is only one, as on a line, they are left out.
        interval: whether it comes with the ends of its 95 % interval, `…_low` and `…_high`.
        stderr: whether it comes with its standard error, `…_stderr`, because it is estimated.
    """

    name: str
    symbol: str
    meaning: str
    units: str = "1"
    low: float | int = -inf
    high: float | int = inf
    source: str = XU2025
    dims: tuple[str, ...] = ()
    interval: bool = False
    stderr: bool = False

    @property
    def attrs(self) -> dict[str, str]:
        """The CF-style attributes of a variable that holds this quantity."""
        return {
            "long_name": self.meaning,
            "units": self.units,
            "references": self.source,
            "symbol": self.symbol,
        }

    @property
    def label(self) -> str:
        """What stands at an axis.

        Example:
            >>> Quantity(name="lr_u", symbol="η_u", meaning="learning rate of a layer").label
            'learning rate η_u of a layer'
        """
        return label_of(self.attrs, self.name)

    @property
    def beside(self) -> tuple[Quantity, ...]:
        """What comes with it: the lower and the upper end of its interval, its standard error.

        Example:
            >>> [x.name for x in Quantity(name="x", symbol="x", meaning="", stderr=True).beside]
            ['x_stderr']
        """
        plain = replace(self, source=DERIVED, interval=False, stderr=False)
        ends = tuple(
            replace(
                plain,
                name=f"{self.name}_{end}",
                meaning=f"{which} end of the 95 % interval of {self.name} for many samples",
            )
            for end, which in (("low", "lower"), ("high", "upper"))
            if self.interval
        )
        if not self.stderr:
            return ends
        error = replace(
            plain,
            name=f"{self.name}_stderr",
            symbol=f"σ({self.symbol})",
            meaning=f"standard error of {self.name} over samples and output directions",
            low=0.0,
            high=inf,
        )
        return (*ends, error)


def label_of(attrs: Mapping[str, Any], name: str) -> str:
    """What stands at an axis: its word, and the symbol where a paper would put it.

    Args:
        attrs: attributes of the axis: `long_name`, of which what follows a comma is left out, and
            `symbol`.
        name: name of the axis, which stands there if it has no attributes.

    Example:
        >>> label_of({"long_name": "output scale", "symbol": "γ"}, "output_scale")
        'output scale γ'
        >>> label_of({}, "my_own_field")
        'my_own_field'
    """
    if "symbol" not in attrs:
        return str(attrs.get("long_name", name))
    word, _, _ = str(attrs.get("long_name", name)).partition(",")
    head, of, owner = word.partition(" of ")
    return f"{head} {attrs['symbol']}{of}{owner}"


def by_name(*quantities: Iterable[Quantity]) -> dict[str, Quantity]:
    """Quantities, and what comes with them, by their names.

    Example:
        >>> list(by_name([Quantity(name="x", symbol="x", meaning="a size", interval=True)]))
        ['x', 'x_low', 'x_high']
    """
    every = [quantity for group in quantities for quantity in group]
    return {one.name: one for quantity in every for one in (quantity, *quantity.beside)}
