"""Alignment, rescaling and gain: where a change of the output's size comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.capture.norms import LayerNorms
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import DERIVED, EVERETT2024, Quantity
from lazyrich.vocabulary.shared import LOG_OUTPUT


@dataclass(frozen=True, kw_only=True)
class LogChanges:
    """Parts of `Δln‖f‖`; the sum of all entries is the change itself.

    Attributes:
        alignment: `Δln A_l`, one a layer.
        rescaling: `Δln‖W_l‖_F`, one a layer.
        gain: `Δln(‖h_{l+1}‖/‖z_l‖)`, one a layer; after the last layer it leads to the output.
        input: `Δln‖h_1‖`, zero if the probe batch is the same.
    """

    alignment: Float[Tensor, " layers"]
    rescaling: Float[Tensor, " layers"]
    gain: Float[Tensor, " layers"]
    input: float

    @property
    def total(self) -> float:
        """The change of `ln‖f‖` that the shares add up to."""
        return self.input + float((self.alignment + self.rescaling + self.gain).sum())


def parameter_data_alignment(norms: LayerNorms) -> float:
    """Alignment between a layer's parameters and its data, `A = ‖z‖ / (‖W‖_F ‖h‖)`.

    Args:
        norms: the layer's norms.

    Returns:
        Between 0 and 1 without a bias; NaN if a factor is zero.

    Example:
        >>> parameter_data_alignment(LayerNorms(weight=2.0, inputs=3.0, preactivations=6.0))
        1.0

    References:
        Everett et al., Scaling exponents across parameterizations and optimizers, ICML 2024,
        arXiv:2407.05872, whose log alignment ratio is its logarithm to the base of the fan-in, up
        to their choice of norms.
    """
    scale = norms.weight * norms.inputs
    return norms.preactivations / scale if scale else float("nan")


def decompose(
    before: Sequence[LayerNorms], after: Sequence[LayerNorms], *, output: tuple[float, float]
) -> LogChanges:
    """Exact shares of every layer in the change of the output's size.

    `Δln‖f‖ = Δln‖h_1‖ + Σ_l (Δln‖W_l‖ + Δln A_l + Δln(‖h_{l+1}‖/‖z_l‖))`, with `h_{L+1} = f`.

    Args:
        before: norms of all layers at the reference time, in forward order.
        after: the same layers later.
        output: `‖f‖` before and after.

    Returns:
        The shares; `LogChanges.total` equals `ln(output[1]/output[0])`.

    Example:
        >>> a = LayerNorms(weight=1.0, inputs=1.0, preactivations=0.5)
        >>> b = LayerNorms(weight=2.0, inputs=1.0, preactivations=1.0)
        >>> shares = decompose([a], [b], output=(0.5, 1.0))
        >>> [round(float(s), 3) for s in (shares.rescaling, shares.alignment, shares.gain)]
        [0.693, 0.0, 0.0]

    References:
        Xu & Ziyin, arXiv:2401.07085, for two layers; derived here for any depth.
    """
    old, new = (_log_terms(norms, f) for norms, f in zip((before, after), output, strict=True))
    return LogChanges(
        rescaling=new[0] - old[0],
        alignment=new[1] - old[1],
        gain=new[2] - old[2],
        input=float(new[3] - old[3]),
    )


def _log_terms(norms: Sequence[LayerNorms], output: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    table = [[layer.weight, layer.inputs, layer.preactivations] for layer in norms]
    weight, inputs, preactivations = torch.tensor(table, dtype=torch.float64).log().T
    last = torch.tensor([output], dtype=torch.float64).log()
    gain = torch.cat([inputs[1:], last]) - preactivations
    return weight, preactivations - weight - inputs, gain, inputs[0]


def _mechanism(look: Look, reference: Reference) -> Row:
    names = [layer.name for layer in look.layers]
    if not names:
        return {}
    before, now = (
        float(look.capture.of_counted(f.double()).norm()) for f in (reference.outputs, look.f)
    )
    # not as the sum of the shares, which have no number where a layer is given or gives nothing
    log_output = float(torch.tensor([before, now], dtype=torch.float64).log().diff())
    if names != list(reference.weights):  # shares are of all layers together, as at the first look
        return {"log_output": log_output}
    shares = decompose(reference.norms, look.norms, output=(before, now))

    def by_layer(values: Tensor) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    return {
        "log_output": log_output,
        "input_log_change": shares.input,
        "parameter_data_alignment": dict(
            zip(names, map(parameter_data_alignment, look.norms), strict=True)
        ),
        "layer_log_alignment": by_layer(shares.alignment),
        "layer_log_rescaling": by_layer(shares.rescaling),
        "layer_log_gain": by_layer(shares.gain),
    }


MECHANISM = Observable(
    quantities=(
        LOG_OUTPUT,
        Quantity(
            name="input_log_change",
            symbol="Δln‖h₁‖",
            meaning="change of the logarithm of the first layer's input since the start",
            source=DERIVED,
        ),
        Quantity(
            name="parameter_data_alignment",
            dims=("layer",),
            symbol="A = ‖z‖/(‖W‖‖h‖)",
            meaning="alignment between a layer's parameters and its data",
            low=0.0,
            source=EVERETT2024,
        ),
        Quantity(
            name="layer_log_alignment",
            dims=("layer",),
            symbol="Δln A",
            meaning="change of the logarithm of a layer's parameter-data alignment",
            source=DERIVED,
        ),
        Quantity(
            name="layer_log_rescaling",
            dims=("layer",),
            symbol="Δln‖W‖",
            meaning="change of the logarithm of the norm of a layer's weight",
            source=DERIVED,
        ),
        Quantity(
            name="layer_log_gain",
            dims=("layer",),
            symbol="Δln(‖h₊‖/‖z‖)",
            meaning="change of the logarithm of the gain from a layer to the next",
            source=DERIVED,
        ),
    ),
    measure=_mechanism,
)
