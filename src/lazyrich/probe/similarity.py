"""Two networks, layer by layer: which of their features are alike?"""

from __future__ import annotations

import xarray as xr
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.capture import capture
from lazyrich.capture.conditions import MODE
from lazyrich.capture.isolation import Batch, batch_size
from lazyrich.observables.catalogue import quantities
from lazyrich.observables.cka import FEWEST, cka_table
from lazyrich.probe.steer.centred import without_references


@exact_arithmetic()
def cka(model_a: nn.Module, model_b: nn.Module, x: Batch) -> xr.Dataset:
    """Similarity of the features of two models on the same samples, each layer with each.

    Linear centred kernel alignment with the unbiased estimate of HSIC, see
    `lazyrich.observables.linear_cka`. Features are what a linear layer or a convolution gives,
    before its nonlinearity, all positions of a sample together. Unrelated features have 0, up to
    a scatter of about √(2/(n(n−3))) for n samples; the same features up to a rotation and a scale
    have 1.

    Args:
        model_a: one network, measured in evaluation mode and left as it is.
        model_b: another one, of any architecture; or the same one at another time.
        x: n ≥ 4 samples as both models take them: a tensor, a sequence of arguments or a mapping.
            A matrix of n² numbers is kept for every layer.

    Returns:
        `cka` over `layer_a` and `layer_b`; NaN where features are the same for all samples. The
        attribute `skipped` lists the modules left out, with reasons.

    Raises:
        InputError: see `capture`; fewer than 4 samples; a model without a linear layer.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> a, b = (nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 2)) for _ in range(2))
        >>> table = cka(a, b, torch.randn(20, 3)).cka
        >>> table.dims, table.layer_a.values.tolist()
        (('layer_a', 'layer_b'), ['0', '2'])
        >>> round(cka(a, a, torch.randn(20, 3)).cka.sel(layer_a="0", layer_b="0").item(), 12)
        1.0

    References:
        Kornblith et al., Similarity of neural network representations revisited, arXiv:1905.00414;
        unbiased: Nguyen, Raghu & Kornblith, arXiv:2010.15327.
    """
    if (samples := batch_size(x)) < FEWEST:
        raise InputError(
            f"`x` must hold at least {FEWEST} samples for an unbiased estimate, got {samples}. "
            "Pass more."
        )
    (rows, skipped_a), (columns, skipped_b) = _features(model_a, x), _features(model_b, x)
    skipped = {f"model_a {name}": why for name, why in skipped_a.items()}
    skipped |= {f"model_b {name}": why for name, why in skipped_b.items()}
    return xr.Dataset(
        {"cka": (("layer_a", "layer_b"), cka_table(rows, columns), quantities()["cka"].attrs)},
        coords={"layer_a": list(rows), "layer_b": list(columns)},
        attrs={
            "samples": samples,
            "mode": MODE,
            "skipped": [f"{name}: {why}" for name, why in skipped.items()],
        },
    )


def _features(model: nn.Module, x: Batch) -> tuple[dict[str, Tensor], dict[str, str]]:
    seen = without_references(capture(model, x))
    if not seen.layers:
        raise InputError(
            f"both models must have a linear layer or a convolution, got a "
            f"{type(seen.model).__name__} with none. Skipped: {seen.skipped}"
        )
    features = {
        layer.name: layer.counted_preactivations(seen.positions).flatten(1) for layer in seen.layers
    }
    return features, seen.skipped
