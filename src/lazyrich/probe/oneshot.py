"""One number from one call: the neural tangent kernel and the neural feature ansatz."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.observables import ansatz
from lazyrich.observables.ansatz_sketch import Sketch, ansatz_from_sketches, sketch
from lazyrich.observables.kernel import full_kernel
from lazyrich.probe.capture import Capture, Layer, capture
from lazyrich.probe.isolation import Batch, unwrap
from lazyrich.probe.jacobian import jacobian_factors
from lazyrich.quantities import VOCABULARY

State = Mapping[str, Tensor]

_GROUPS = 10  # of samples, for standard errors


def ntk(
    model: nn.Module,
    x: Batch,
    *,
    lrs: Mapping[str, float] | None = None,
    memory: int = 2 * 2**30,
) -> Float[Tensor, "n k n k"]:
    """Empirical neural tangent kernel of any model.

    `Θ_ic,jc' = Σ_p η_p ∂f_c(x_i)/∂θ_p ∂f_c'(x_j)/∂θ_p` over all trainable parameters.

    Args:
        model: the network, measured in evaluation mode and left as it is.
        x: n samples as the model takes them: a tensor, a sequence of arguments or a mapping.
        lrs: learning rates η by parameter or module name, "" for all others; None for η = 1.
        memory: bytes that the kernel, and temporary arrays, may each take.

    Returns:
        Θ, (samples, outputs, samples, outputs), in the output's precision, at least float32.

    Raises:
        InputError: see `capture` and `jacobian_factors`; or the kernel does not fit into `memory`.

    Example:
        >>> ntk(nn.Linear(2, 1), torch.tensor([[1.0, 2.0]])).item()  # ‖x‖² + 1 for the bias
        6.0

    References:
        Jacot, Gabriel & Hongler, arXiv:1806.07572.
    """
    seen = capture(model, x)
    size = seen.outputs.numel() ** 2 * max(4, seen.outputs.element_size())
    if size > memory:
        raise InputError(
            f"`memory` must be at least {size:.2g} bytes for a kernel of {seen.outputs.numel()} "
            f"rows, got {memory:.2g}. Take fewer samples, or use `traced_kernel` or "
            "`kernel_matvec` on `jacobian_factors`."
        )
    factors = jacobian_factors(seen, lrs=lrs, memory=memory)
    return full_kernel(list(factors.values()), memory=memory)


def nfa(
    model: nn.Module,
    x: Batch,
    reference: nn.Module | State | None = None,
    *,
    exact: bool = False,
    power: float = 1.0,
    correlation: ansatz.Correlation = "cosine",
    seed: int = 0,
) -> xr.Dataset:
    """Neural feature ansatz of every layer.

    `ρ(WᵀW, (WᵀKW)^s)`, centred with `W − W_0` in place of W. By default K comes from two random
    probes a sample, two backward passes in all, and the correlation is free of their noise's bias.

    Args:
        model: the network, measured in evaluation mode and left as it is.
        x: samples as the model takes them: a tensor, a sequence of arguments or a mapping.
        reference: the model, or its state dict, with the initial weights `W_0`; for `cnfa`.
        exact: one backward pass for each output instead of two probes.
        power: s, 0 < s ≤ 1; other than 1 needs `exact`.
        correlation: cosine, or Pearson over all entries as in the authors' code.
        seed: of the probes; the global random state is not used.

    Returns:
        A row a layer: `nfa`; `cnfa` (NaN without a reference or movement); `null`, the value of
        `nfa` if K had no preferred directions (power 1); `stderr`, the error of `nfa` over samples
        and probes. The attribute `skipped` lists the modules left out, with reasons.

    Raises:
        InputError: see `capture`; a reference that does not fit; a power out of range or
            without `exact`; a model without a hidden linear layer.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> nfa(net, torch.randn(30, 3)).layer.values
        array(['0'], dtype=...)

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271.
    """
    if not 0 < power <= 1:
        raise InputError(f"`power` must be in (0, 1], got {power}. The ansatz uses 1 or 0.5.")
    if power != 1 and not exact:
        raise InputError(f"`power` must be 1 with random probes, got {power}. Pass exact=True.")
    seen = capture(model, x)
    layers = [layer for layer in seen.layers if layer.name != seen.readout]
    if not layers:
        raise InputError(
            f"`model` must have a linear layer below its readout, got {type(seen.model).__name__} "
            f"with none. Skipped: {seen.skipped}"
        )
    initial = [_initial(reference, layer) for layer in layers]
    if exact:
        covariances = _covariances(seen, layers)
        rows = [
            _exact_row(layer, start, k, power, correlation)
            for layer, start, k in zip(layers, initial, covariances, strict=True)
        ]
    else:
        sketches = _sketches(seen, layers, seed)
        rows = [
            _probed_row(layer, start, first, second, correlation)
            for layer, start, (first, second) in zip(layers, initial, sketches, strict=True)
        ]
    return _table(seen, [layer.name for layer in layers], rows, correlation)


def _sketches(seen: Capture, layers: list[Layer], seed: int) -> list[list[Sketch]]:
    """For each layer what two independent probes say of K."""
    sketches: list[list[Sketch]] = [[] for _ in layers]
    for direction in seen.probe_directions(2, seed=seed):
        for pair, rows in zip(sketches, _rows(seen, layers, direction), strict=True):
            pair.append(sketch(rows))
    return sketches


def _rows(seen: Capture, layers: list[Layer], direction: Tensor) -> list[Float[Tensor, "n t m"]]:
    names = {layer.name for layer in layers}
    found = zip(seen.layers, seen.gradients(direction), strict=False)  # layers come first
    return [layer.rows(g).flatten(2) for layer, g in found if layer.name in names]


def _covariances(seen: Capture, layers: list[Layer]) -> list[Float[Tensor, "groups m m"]]:
    """For each layer K of every group of samples, from one backward pass an output."""
    n = len(seen.outputs)
    parts = torch.arange(n).tensor_split(min(n, _GROUPS))
    totals: list[Tensor] = []
    for direction in seen.exact_directions():
        scaled = direction * (len(parts) / n) ** 0.5
        grams = [_grams(g, [len(p) for p in parts]) for g in _rows(seen, layers, scaled)]
        totals = [t.add_(k) for t, k in zip(totals, grams, strict=True)] if totals else grams
    return totals


def _grams(gradients: Float[Tensor, "n t m"], sizes: list[int]) -> Float[Tensor, "groups m m"]:
    m = gradients.shape[-1]
    wide = torch.promote_types(gradients.dtype, torch.float32)
    grams = torch.empty(len(sizes), m, m, dtype=wide, device=gradients.device)
    for group, rows in zip(grams, torch.split(gradients.to(wide), sizes), strict=True):
        torch.mm(rows.flatten(0, 1).T, rows.flatten(0, 1), out=group)
    return grams


def _probed_row(
    layer: Layer,
    initial: Tensor | None,
    first: Sketch,
    second: Sketch,
    correlation: ansatz.Correlation,
) -> dict[str, float]:
    found = ansatz_from_sketches(layer.matrix, first, second, correlation=correlation)
    centred = torch.nan
    if initial is not None:
        moved = layer.matrix.double() - _matrix(layer, initial)
        centred = ansatz_from_sketches(moved, first, second, correlation=correlation).value
    return {"nfa": found.value, "cnfa": centred, "null": found.null, "stderr": found.stderr}


def _exact_row(
    layer: Layer,
    initial: Tensor | None,
    covariances: Tensor,
    power: float,
    correlation: ansatz.Correlation,
) -> dict[str, float]:
    weight, k = layer.matrix.double(), covariances.mean(0)
    null = centred = torch.nan
    if power == 1:
        value, error = ansatz.correlation_with_error(
            weight, covariances, covariances, correlation=correlation
        )
        null = ansatz.haar_null(weight, k, correlation=correlation)
    else:
        value, error = _jackknife(weight, covariances, power, correlation)
    if initial is not None:
        moved = weight - _matrix(layer, initial)
        centred = ansatz.ansatz_correlation(moved, k, power=power, correlation=correlation)
    return {"nfa": value, "cnfa": centred, "null": null, "stderr": error}


def _jackknife(
    weight: Tensor, covariances: Tensor, power: float, correlation: ansatz.Correlation
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


def _initial(reference: nn.Module | State | None, layer: Layer) -> Tensor | None:
    if reference is None:
        return None
    if isinstance(reference, nn.Module):
        modules = dict(unwrap(reference).named_modules())
        weight = getattr(modules.get(layer.name), "weight", None)
    else:
        prefixes = ("", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.")
        key = f"{layer.name}.weight".removeprefix(".")
        weight = next((reference[p + key] for p in prefixes if p + key in reference), None)
    if weight is None:
        raise InputError(
            f"`reference` must hold the initial weight of `{layer.name}`, got none. Pass the model "
            "as it was at the start (copy.deepcopy) or its state dict."
        )
    assert layer.weight is not None
    if weight.shape != layer.weight.shape:
        raise InputError(
            f"`reference` must have the model's shapes, got {tuple(weight.shape)} for "
            f"`{layer.name}`, which is {tuple(layer.weight.shape)}."
        )
    return weight.detach().to(layer.weight.device).double()


def _matrix(layer: Layer, weight: Tensor) -> Tensor:
    return Layer(name=layer.name, module=layer.module, weight=weight, calls=()).matrix


def _table(
    seen: Capture,
    names: list[str],
    rows: list[dict[str, float]],
    correlation: ansatz.Correlation,
) -> xr.Dataset:
    skipped = dict(seen.skipped)
    if seen.readout:
        skipped[seen.readout] = "the readout: K = 1, its correlation is 1 by construction"
    return xr.Dataset(
        {
            name: ("layer", [row[name] for row in rows], VOCABULARY[name].attrs)
            for name in ("nfa", "cnfa", "null", "stderr")
        },
        coords={"layer": names},
        attrs={
            "correlation": correlation,
            "mode": "evaluation: dropout off, running statistics",
            "skipped": [f"{name or '(root)'}: {reason}" for name, reason in skipped.items()],
        },
    )
