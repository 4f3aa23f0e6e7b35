"""What a PyTorch module is as a chain of layers: its weights, its output scale, its power."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from lazyrich._errors import InputError
from lazyrich.capture.isolation import undisturbed, unwrap
from lazyrich.capture.weights import read_weights
from lazyrich.numerics.exact import Array
from lazyrich.study.matching.case import Case, as_weights, require_shapes
from lazyrich.study.matching.theories import SEEN

SMALLEST = 1e-30  # of an output that is there


def case_of_module(model: nn.Module, case: Case) -> Case:
    """The case of a module: its trainable matrices in their order, and how far it is from them.

    Args:
        model: two or more linear layers; what is between them may make it no chain, and is then
            a residual.
        case: case of the data, with samples.

    Raises:
        InputError: parameters that are no chain of layers, data without samples.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"`weights` must be a list of arrays or a module, got a {type(model).__name__}"
        )
    if case.inputs is None:
        raise InputError(
            "`data` must be samples (inputs, targets) for a module, whose output is seen on them, "
            "got moments. Pass the samples, or the weights as a list of arrays"
        )
    found = read_weights(unwrap(model), to_train=True).trainable
    arrays = [p.detach().double().cpu().numpy() for p in found.values()]
    matrices = [a for a in arrays if a.ndim == 2]
    biases = sum(a.size for a in arrays if a.ndim == 1) if matrices else 0
    if any(a.ndim not in (1, 2) for a in arrays):
        raise InputError(
            f"the model must be a chain of linear layers, got parameters of shapes "
            f"{[a.shape for a in arrays]}. Its regime is measured: lazyrich.forecast"
        )
    inputs = case.inputs
    case = replace(case, weights=as_weights(matrices or arrays), biases=biases)
    require_shapes(case)
    return _gaps(model, case, inputs)


def _gaps(model: nn.Module, case: Case, inputs: Array) -> Case:
    """The output scale and the power that the outputs have, and what they leave unexplained."""
    f = _outputs(model, inputs)
    linear, gap = _fit(f, inputs @ case.map_now.T)
    case = replace(case, output_scale=linear, linear_gap=gap, power_gap=gap)
    if gap <= SEEN or not case.two:
        return case
    twice = float(np.linalg.norm(_outputs(model, 2 * inputs)))
    once = float(np.linalg.norm(f))
    if not (once > SMALLEST and twice > once):
        return case
    power = round(np.log2(twice / once), 6)  # single precision
    w, u = case.weights
    hidden = inputs @ w.T
    scale, gap = _fit(f, (np.sign(hidden) * np.abs(hidden) ** power) @ u.T)
    if power < 1 or gap > SEEN:
        return replace(case, power_gap=min(gap, case.linear_gap))
    return replace(case, output_scale=scale, power=power, power_gap=gap)


def _outputs(model: nn.Module, inputs: Array) -> Array:
    """f(x), (n, k), without a trace."""
    network = unwrap(model)
    like = next(network.parameters())
    x = torch.as_tensor(inputs).to(like.device, like.dtype)
    with undisturbed(network), torch.no_grad():
        f = network(x)
    found: Array = f.reshape(len(inputs), -1).double().cpu().numpy()
    return found


def _fit(f: Array, expected: Array) -> tuple[float, float]:
    """The γ with `f ≈ γ expected`, and the share of f that it leaves."""
    size, power = float(np.linalg.norm(f)), float(np.sum(expected**2))
    scale = float(np.sum(f * expected)) / power if power > SMALLEST and f.any() else 1.0
    scale = round(scale) if abs(scale - round(scale)) < SEEN and round(scale) else scale
    gap = float(np.linalg.norm(f - scale * expected))
    return scale, gap / size if size > SMALLEST else gap
