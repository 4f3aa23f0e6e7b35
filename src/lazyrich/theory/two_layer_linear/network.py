"""The model: a two-layer linear network without its weights."""

from __future__ import annotations

from dataclasses import dataclass

from lazyrich.theory.labels import Labelled, Parameter


@dataclass(frozen=True, kw_only=True, repr=False)
class LinearNetwork(Labelled):
    """The network `f(x) = γ U W x` and how fast its layers learn.

    Args:
        output_scale: γ, any sign.
        lr_u: learning rate η_u of the second layer, ≥ 0; a step size under gradient descent.
        lr_w: learning rate η_w of the first layer, ≥ 0.

    Each is a number, an axis (a sequence) or a labelled `DataArray`.

    Example:
        >>> LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
        LinearNetwork(output_scale=1, lr_u=0.1, lr_w=0.1)

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """

    output_scale: Parameter = Parameter()
    lr_u: Parameter = Parameter(low=0)
    lr_w: Parameter = Parameter(low=0)
