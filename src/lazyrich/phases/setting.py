"""A typical experiment on a line, described by plain parameters.

A phase diagram needs one network per point, not an ensemble: the typical one has the expected
norms `‖u‖² = d σ_u²`, `‖w‖² = d σ_w²` and a stated initial alignment (0 is the median of random
layers).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from lazyrich._errors import InputError
from lazyrich.theory.labels import Labelled, Parameter, ParameterLike, labelled
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import LineState

BOTH_LAYERS = {"lr": ("lr_u", "lr_w"), "init_std": ("init_std_u", "init_std_w")}


@dataclass(frozen=True, kw_only=True, repr=False)
class Setting(Labelled):
    """Everything that decides how a typical network on a line learns.

    Args:
        width: hidden width d, ≥ 1.
        output_scale: γ.
        lr_u: learning rate η_u of the second layer.
        lr_w: learning rate η_w of the first layer.
        init_std_u: standard deviation σ_u of the second layer at the start.
        init_std_w: standard deviation σ_w of the first layer at the start.
        init_alignment: ζ at the start.
        mean_aa: `E[a²]` of the inputs.
        mean_ay: `E[a y]`.
        mean_yy: `E[y²]`.

    Example:
        >>> Setting(output_scale=0.1).state
        LineState(uu=1000, uw=0, ww=1000)
    """

    width: Parameter = Parameter(1000, low=1)
    output_scale: Parameter = Parameter(1)
    lr_u: Parameter = Parameter(1, low=0)
    lr_w: Parameter = Parameter(1, low=0)
    init_std_u: Parameter = Parameter(1, low=0)
    init_std_w: Parameter = Parameter(1, low=0)
    init_alignment: Parameter = Parameter(0, low=-1, high=1)
    mean_aa: Parameter = Parameter(1, low=0)
    mean_ay: Parameter = Parameter(1)
    mean_yy: Parameter = Parameter(1, low=0)

    @classmethod
    def of(cls, **parameters: ParameterLike) -> Setting:
        """Build a setting; `lr` and `init_std` stand for both layers.

        Raises:
            InputError: if a name is unknown, or a layer is set twice.

        Example:
            >>> Setting.of(init_std=0.1).state
            LineState(uu=10, uw=0, ww=10)
        """
        known = {field.name for field in fields(cls)}
        given: dict[str, ParameterLike] = {}
        for name, value in parameters.items():
            targets = BOTH_LAYERS.get(name, (name,))
            if not known.issuperset(targets):
                choice = ", ".join(sorted(known | set(BOTH_LAYERS)))
                raise InputError(f"there is no parameter {name!r}; choose from {choice}")
            if given.keys() & set(targets):
                raise InputError(
                    f"{name!r} sets {' and '.join(targets)}, which is given already. Give one for "
                    "both layers or one for each"
                )
            given |= dict.fromkeys(targets, labelled(name, value))
        return cls(**given)

    @property
    def state(self) -> LineState:
        """The typical initial state."""
        uu, ww = self.width * self.init_std_u**2, self.width * self.init_std_w**2
        uw = self.init_alignment * uu**0.5 * ww**0.5
        return LineState(uu=uu, uw=uw, ww=ww, sine_squared=1 - self.init_alignment**2)

    @property
    def network(self) -> LinearNetwork:
        """Scale and learning rates."""
        return LinearNetwork(output_scale=self.output_scale, lr_u=self.lr_u, lr_w=self.lr_w)

    @property
    def data(self) -> LineData:
        """Moments of the data."""
        return LineData(mean_aa=self.mean_aa, mean_ay=self.mean_ay, mean_yy=self.mean_yy)
