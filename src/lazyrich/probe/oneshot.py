"""The neural feature ansatz from one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import xarray as xr
from torch import Tensor, nn

from lazyrich._arguments import as_number, shown
from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.capture import Capture, Layer, capture
from lazyrich.capture.conditions import MODE
from lazyrich.capture.directions import Directions, checked_directions, checked_seed
from lazyrich.capture.isolation import Batch, unwrap
from lazyrich.capture.sketch import Sketch
from lazyrich.observables import ansatz
from lazyrich.observables.ansatz import Correlation
from lazyrich.observables.ansatz_sketch import ansatz_from_sketches, share_with_error
from lazyrich.observables.catalogue import quantities
from lazyrich.probe.heads import Heads, Part, hidden_parts, part_covariances, part_sketches
from lazyrich.probe.steer.centred import without_references
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name

State = Mapping[str, Tensor]
Power = float | Literal["depth"]
"""The exponent s of the AGOP, or `"depth"` for one over the layers from here to the output."""

QUANTITIES = (
    Quantity(
        name="double_cnfa",
        dims=("layer",),
        symbol="ρ(W̄ᵀW̄, W̄ᵀ(K − K₀)W̄)",
        meaning="cnfa with the change of the gradients' covariance since the start",
        low=-1.0,
        high=1.0,
        source=DERIVED,
    ),
)


_COLUMNS = ("nfa", "nfa_stderr", "nfa_null", "cnfa", "cnfa_stderr", "cnfa_null", "centred_share")


@exact_arithmetic()
def nfa(
    model: nn.Module,
    x: Batch,
    reference: nn.Module | State | None = None,
    *,
    directions: Directions = 2,
    power: Power = 1.0,
    correlation: Correlation = "cosine",
    heads: Heads | None = None,
    double_centred: bool = False,
    centred_gradients: bool = False,
    seed: int = 0,
) -> xr.Dataset:
    """Neural feature ansatz of every layer, or of every head of a transformer's layers.

    `ρ(WᵀW, (WᵀKW)^s)`, centred with `W − W_0` in place of W. By default K comes from two random
    output directions of every sample, two backward passes in all, and the correlation is free of
    the bias of their noise. Of a head, W and K are its rows: `W_headᵀK_head W_head` is the AGOP
    with respect to the layer's input where only that head listens to it.

    Args:
        model: the network, see `capture` for its mode; it is left as it is.
        x: samples as the model takes them: a tensor, a sequence of arguments or a mapping, of which
            positions that its `attention_mask` leaves out do not count.
        reference: the model, or its state dict, with the initial weights `W_0`; for the centred
            columns.
        directions: random output directions of every sample, ≥ 2, one backward pass each; a model
            with no more outputs than that has an exact K, by one for each output. So has, with
            `"all"`, every model.
        power: s, 0 < s ≤ 1; other than 1 needs `directions="all"`. `"depth"` is 1/L of every
            layer, with L the linear layers from it to the output, both counted: the power that
            holds exactly in balanced deep linear networks.
        correlation: cosine, or Pearson over all entries as in the authors' code.
        heads: number of heads by layer name or pattern, such as `{"*.query": 8, "*.key": 8}`; head
            i is the i-th of as many equal blocks of the layer's outputs. A layer `1.query` becomes
            the rows `1.query[0]`, `1.query[1]`, …
        double_centred: whether to measure `double_cnfa` too, with the change of K; needs
            `directions="all"`, power 1 and a module as `reference`, for its K_0 on the same
            samples.
        centred_gradients: whether K is that of the gradients less their mean over samples, taken
            for each output and position; needs `directions="all"`. Then WᵀKW is the AGOP of the
            Jacobian less its mean.
        seed: seed of the directions; the global random state is not used.

    Returns:
        A row a layer: `nfa`; `cnfa` (NaN without a reference or movement); `nfa_null` and
        `cnfa_null`, their values if K had no preferred directions (power 1); `nfa_stderr` and
        `cnfa_stderr`, their errors over samples and directions; `centred_share`, the weight of the
        centred part (power 1). The attribute `skipped` lists the modules left out, with reasons.

    Raises:
        InputError: see `capture`; a reference that does not fit; a power out of range or with
            random directions; a model without a hidden linear layer; heads that do not fit a layer;
            `double_centred` or `centred_gradients` without what it needs.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> nfa(net, torch.randn(30, 3)).layer.values
        array(['0'], dtype=...)
        >>> nfa(net, torch.randn(30, 3), heads={"0": 2}).layer.values
        array(['0[0]', '0[1]'], dtype=...)

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271; per head: Radhakrishnan et al.,
        Science 383 (2024). Powers by depth: Tansley et al., arXiv:2510.15563.
    """
    checked_seed(seed)
    checked = checked_directions(directions)
    _refuse_what_needs_all(power, centred_gradients, checked)
    start_model = _whole_start(reference, checked, power) if double_centred else None
    seen = without_references(capture(model, x))
    parts = hidden_parts(seen, heads)
    initial = [_initial(reference, part) for part in parts]
    if checked == "all":
        covariances = part_covariances(seen, parts, centred=centred_gradients)
        before: Sequence[Tensor | None] = [None] * len(parts)
        if start_model:
            at_start = without_references(capture(start_model, x))
            theirs = hidden_parts(at_start, heads)
            before = part_covariances(at_start, theirs, centred=centred_gradients)
        powers = _powers(seen, parts, power)
        rows = [
            _exact_row(part, start, k, k_0, s, correlation)
            for part, start, k, k_0, s in zip(
                parts, initial, covariances, before, powers, strict=True
            )
        ]
    else:
        sketches = part_sketches(seen, parts, checked, seed)
        rows = [
            _sketched_row(part, start, first, second, correlation)
            for part, start, (first, second) in zip(parts, initial, sketches, strict=True)
        ]
    return _table(seen, [part.name for part in parts], rows, correlation)


def _refuse_what_needs_all(power: Power, centred_gradients: bool, directions: Directions) -> None:
    if power != "depth" and not 0 < (as_number(power) or 0) <= 1:
        raise InputError(
            f'`power` must be in (0, 1] or "depth", got {shown(power)}. The ansatz uses 1 or 0.5.'
        )
    if power != 1 and directions != "all":
        raise InputError(
            f'`power` must be 1 with random directions, got {power}. Pass directions="all".'
        )
    if centred_gradients and directions != "all":
        raise InputError(
            '`centred_gradients` must come with directions="all", got '
            f"directions={directions}. Random ones differ between samples and have no mean."
        )


def _whole_start(
    reference: nn.Module | State | None, directions: Directions, power: Power
) -> nn.Module:
    if not isinstance(reference, nn.Module) or directions != "all" or power != 1:
        raise InputError(
            '`double_centred` must come with directions="all", power=1 and a module as '
            f"`reference`, got directions={directions}, power={power} and a "
            f"{type(reference).__name__}. Pass a deepcopy of the model as it was at the start."
        )
    return reference


def _powers(seen: Capture, parts: Sequence[Part], power: Power) -> list[float]:
    """S of every part."""
    if power != "depth":
        return [power] * len(parts)
    names = [layer.name for layer in seen.layers]
    return [1 / (len(names) - names.index(part.layer.name)) for part in parts]


def _sketched_row(
    part: Part,
    initial: Tensor | None,
    first: Sketch,
    second: Sketch,
    correlation: Correlation,
) -> dict[str, float]:
    plain = ansatz_from_sketches(part.weight, first, second, correlation=correlation)
    row = {"nfa": plain.value, "nfa_null": plain.null, "nfa_stderr": plain.stderr}
    if initial is not None:
        moved = part.weight.double() - initial
        centred = ansatz_from_sketches(moved, first, second, correlation=correlation)
        row |= {"cnfa": centred.value, "cnfa_null": centred.null}
        row |= {"cnfa_stderr": centred.stderr, "centred_share": share_with_error(centred, plain)[0]}
    return row


def _exact_row(
    part: Part,
    initial: Tensor | None,
    covariances: Tensor,
    before: Tensor | None,
    power: float,
    correlation: Correlation,
) -> dict[str, float]:
    weight, k = part.weight.double(), covariances.mean(0)

    def with_error(w: Tensor) -> tuple[float, float]:
        if power != 1:
            return _jackknife(w, covariances, power, correlation)
        return ansatz.correlation_with_error(w, covariances, covariances, correlation=correlation)

    row = {}
    row["nfa"], row["nfa_stderr"] = with_error(weight)
    if power == 1:
        row["nfa_null"] = ansatz.haar_null(weight, k, correlation=correlation)
    if initial is not None:
        moved = weight - initial
        row["cnfa"], row["cnfa_stderr"] = with_error(moved)
    if initial is not None and power == 1:
        row["cnfa_null"] = ansatz.haar_null(moved, k, correlation=correlation)
        row["centred_share"] = ansatz.centred_share(weight, moved, k)
    if initial is not None and before is not None:
        change = k - before.mean(0)
        row["double_cnfa"] = ansatz.ansatz_correlation(moved, change, correlation=correlation)
    return row


def _jackknife(
    weight: Tensor, covariances: Tensor, power: float, correlation: Correlation
) -> tuple[float, float]:
    """Any power and its standard error by leaving out one group of samples at a time."""

    def value(k: Tensor) -> float:
        return ansatz.ansatz_correlation(weight, k, power=power, correlation=correlation)

    groups, total = len(covariances), covariances.sum(0)
    if groups == 1:
        return value(total), float("nan")
    left = torch.tensor([value((total - k) / (groups - 1)) for k in covariances])
    spread = (left - left.mean()).square().sum() * (groups - 1) / groups
    return value(total / groups), float(spread.sqrt())


def _initial(reference: nn.Module | State | None, part: Part) -> Tensor | None:
    """The part's rows of `W_0`, in float64."""
    if reference is None:
        return None
    layer = part.layer
    if not isinstance(reference, nn.Module | Mapping):
        raise InputError(
            f"`reference` must be a model or its state dict, got {shown(reference)}. Pass the "
            "model as it was at the start (copy.deepcopy)."
        )
    weight = _held(reference, layer)
    if weight is None:
        raise InputError(
            f"`reference` must hold the initial weight of `{layer.name}`, got none. Pass the model "
            "as it was at the start (copy.deepcopy) or its state dict."
        )
    assert layer.weight is not None
    piece = layer.tensors.get("weight")
    shape = piece.shape if piece else tuple(layer.weight.shape)
    if tuple(weight.shape) != shape:
        raise InputError(
            f"`reference` must have the model's shapes, got {tuple(weight.shape)} for "
            f"`{layer.name}`, which is {shape}. Pass this very model as it was at the start "
            "(copy.deepcopy) or its state dict."
        )
    own = piece.of(weight.detach()) if piece else weight.detach()
    return part.of(own.to(layer.weight.device).double())


def _held(reference: nn.Module | Mapping[str, Any], layer: Layer) -> Tensor | None:
    """A layer's parameter, or its weight as a module computes it, in a model or state dict."""
    piece = layer.tensors.get("weight")
    name = piece.parameter if piece else f"{layer.name}.weight".removeprefix(".")
    if isinstance(reference, nn.Module):
        path, _, role = name.rpartition(".")
        modules = dict(unwrap(reference).named_modules())
        found: Tensor | None = getattr(modules.get(path), role, None)
        return found
    prefixes = ("", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.")
    return next((reference[p + name] for p in prefixes if p + name in reference), None)


def _table(
    seen: Capture,
    names: list[str],
    rows: list[dict[str, float]],
    correlation: Correlation,
) -> xr.Dataset:
    skipped = dict(seen.skipped)
    if seen.readout:
        skipped[seen.readout] = "the readout: K = 1, its correlation is 1 by construction"
    columns = dict.fromkeys((*_COLUMNS, *rows[0]))
    known = quantities() | by_name(QUANTITIES)
    return xr.Dataset(
        {
            name: ("layer", [row.get(name, torch.nan) for row in rows], known[name].attrs)
            for name in columns
        },
        coords={"layer": names},
        attrs={
            "correlation": correlation,
            "mode": MODE,
            "skipped": [f"{name or '(root)'}: {reason}" for name, reason in skipped.items()],
        },
    )
