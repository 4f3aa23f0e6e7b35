"""Numbers that say how a kernel moved and what it prefers."""

from __future__ import annotations

from math import inf, nan

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.look import Look, Reference
from lazyrich.capture.norms import norm
from lazyrich.capture.sampled_kernel import (
    Estimate,
    block_squares,
    change_interval,
    jackknife_error,
    pair_sums,
    rotation_interval,
    sampled_traces,
)
from lazyrich.observables.observable import Observable, Row
from lazyrich.vocabulary.quantity import BARATIN2021, DERIVED, Quantity
from lazyrich.vocabulary.shared import KERNEL_DISTANCE, NTK_CHANGE

Kernel = Float[Tensor, "..."]


@torch.no_grad()
def relative_change(kernel: Kernel, reference: Kernel) -> float:
    """Relative displacement, `‖Θ − Θ_0‖_F / ‖Θ_0‖_F`.

    Args:
        kernel: Θ, any shape.
        reference: Θ_0, the same shape.

    Returns:
        A number ≥ 0; NaN if Θ_0 = 0.

    Example:
        >>> relative_change(2 * torch.eye(3), torch.eye(3))
        1.0

    References:
        Xu & Ziyin, arXiv:2401.07085.
    """
    difference = kernel.double() - reference.double()
    return float(difference.norm() / reference.double().norm())


@torch.no_grad()
def kernel_distance(kernel: Kernel, reference: Kernel) -> float:
    """Rotation without scale, `1 − ⟨Θ, Θ_0⟩/(‖Θ‖‖Θ_0‖)` (Fort et al. 2020, arXiv:2010.15110).

    Args:
        kernel: Θ, any shape.
        reference: Θ_0, the same shape.

    Returns:
        A number in [0, 2]; computed as ½‖Θ/‖Θ‖ − Θ_0/‖Θ_0‖‖², which keeps small distances.

    Example:
        >>> kernel_distance(2 * torch.eye(3), torch.eye(3))
        0.0
    """
    a, b = kernel.double(), reference.double()
    return float(0.5 * (a / a.norm() - b / b.norm()).square().sum())


@torch.no_grad()
def trace_ratio(kernel: Float[Tensor, "n k n k"], reference: Float[Tensor, "n k n k"]) -> float:
    """Growth of the kernel's scale, `tr Θ / tr Θ_0`.

    Args:
        kernel: Θ.
        reference: Θ_0.

    Returns:
        A number ≥ 0; NaN if both are zero.
    """
    return float(_matrix(kernel).trace() / _matrix(reference).trace())


def velocity(later: Kernel, earlier: Kernel, elapsed: float) -> float:
    """Relative change a unit of time, `‖Θ(t+s) − Θ(t)‖ / (s ‖Θ(t)‖)`.

    Args:
        later: Θ(t+s).
        earlier: Θ(t).
        elapsed: s > 0, in the unit of time that the caller counts in.

    Returns:
        A rate ≥ 0 in 1/time.
    """
    return relative_change(later, earlier) / elapsed


@torch.no_grad()
def effective_rank(kernel: Float[Tensor, "n k n k"]) -> float:
    """Exponential of the entropy of the kernel's spectrum, `exp(−Σ p_i ln p_i)`, p = λ/Σλ.

    Args:
        kernel: Θ, positive semi-definite.

    Returns:
        Between 1 and n·k (Roy & Vetterli 2007).

    Example:
        >>> round(effective_rank(torch.eye(6).view(3, 2, 3, 2)), 12)
        6.0

    References:
        Roy & Vetterli, The effective rank, EUSIPCO 2007.
    """
    eigenvalues = torch.linalg.eigvalsh(_matrix(kernel)).clamp(min=0)
    p = eigenvalues / eigenvalues.sum()
    return float(torch.special.entr(p).sum().exp())


@torch.no_grad()
def target_alignment(kernel: Float[Tensor, "n k n k"], targets: Float[Tensor, "n k"]) -> float:
    """Alignment of the kernel with the task, `yᵀΘy / (‖Θ‖_F ‖y‖²)`.

    Args:
        kernel: Θ.
        targets: y, (samples, outputs), centred by the caller if wanted.

    Returns:
        Between 0 and 1 (Baratin et al. 2021, arXiv:2008.00938).

    Example:
        >>> y = torch.tensor([[1.0], [-1.0]])
        >>> round(target_alignment((y @ y.T).view(2, 1, 2, 1), y), 12)
        1.0
    """
    theta, y = _matrix(kernel), targets.double().flatten()
    return float(y @ theta @ y / (theta.norm() * (y @ y)))


def _matrix(kernel: Float[Tensor, "n k n k"]) -> Float[Tensor, "nk nk"]:
    return kernel.double().flatten(2).flatten(0, 1)


def _kernel(look: Look, reference: Reference) -> Row:
    start, random = reference.kernel, look.random
    assert start is not None  # kept for this observable
    there = [i for i, name in enumerate(start.layers) if name in look.kernels]
    names = [list(start.layers)[i] for i in there]
    parts = [(look.kernel, start.whole)]
    parts += [(look.kernels[name], start.layers[name]) for name in names]
    of_start = start.squares[[0, *(i + 1 for i in there)]]
    squares = [block_squares(theta - theta_0, random=random) for theta, theta_0 in parts]
    squares.append(block_squares(look.kernel, random=random))
    *changes, now = pair_sums(torch.stack(squares))
    change = change_interval(torch.stack(changes), of_start, random=random)
    rotation = rotation_interval(changes[0], start.squares[0], now, random=random)
    traces = _with_left_out(sampled_traces(look.kernel, random=random))
    growth = traces / _with_left_out(start.traces)
    sizes = of_start[:, 0].clamp(min=0).sqrt()
    shares = (sizes[1:] / sizes[0]).clamp(max=1)

    def by_layer(values: Tensor) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    row: Row = {f"ntk_change{end}": float(x[0]) for end, x in _columns(change).items()}
    row |= {f"kernel_distance{end}": float(x) for end, x in _columns(rotation).items()}
    row |= {f"layer_ntk_change{end}": by_layer(x[1:]) for end, x in _columns(change).items()}
    return row | {
        "ntk_trace_ratio": float(growth[0]) if start.traces.any() else nan,
        "ntk_trace_ratio_stderr": float(jackknife_error(growth[1:])),
        **_target_alignment(look, reference, now[0].clamp(min=0).sqrt()),
        **({} if random else {"effective_rank": effective_rank(look.kernel)}),
        "layer_ntk_share": by_layer(shares[:, 0]),
        "layer_ntk_share_stderr": by_layer(jackknife_error(shares[:, 1:])),
    }


def _columns(of: Estimate) -> dict[str, Tensor]:
    return {"": of.value, "_stderr": of.stderr, "_low": of.low, "_high": of.high}


def _with_left_out(x: Float[Tensor, " n"]) -> Float[Tensor, " n1"]:
    """A sum, then the same without each of its terms."""
    total = x.cpu().sum()[None]
    return torch.cat([total, total - x.cpu()])


def _target_alignment(look: Look, reference: Reference, sizes: Float[Tensor, " n1"]) -> Row:
    """`yᵀΘy / (‖Θ‖‖y‖²)`, with `yᵀΘy = ‖J̃ᵀy‖²` by one more backward pass.

    Args:
        look: the network now.
        reference: reference loss for the targets.
        sizes: ‖Θ‖, the only part that may be estimated, then without each sample.
    """
    y = reference.residual_at_zero
    trainable = [name for name, leaf in look.capture.leaves.items() if leaf.requires_grad]
    gradients = look.capture.backward(y, trainable)[1]
    rates = look.rates
    along = sum(rates[name] * norm(g) ** 2 for name, g in gradients.items())
    scale = float(sizes[0]) * norm(y) ** 2
    value = along / scale if scale and scale < inf else nan
    return {
        "target_alignment": value,
        "target_alignment_stderr": value * float(jackknife_error(sizes[1:]) / sizes[0]),
    }


def _velocity(look: Look, _: Reference) -> Row:
    earlier, random = look.previous, look.random
    if earlier is None:
        return {"ntk_velocity": nan, "ntk_velocity_stderr": nan}
    sums = (
        pair_sums(block_squares(theta, random=random))
        for theta in (look.kernel - earlier.kernel, earlier.kernel)
    )
    change = change_interval(*sums, random=random)
    elapsed = look.step - earlier.step
    return {
        "ntk_velocity": float(change.value) / elapsed,
        "ntk_velocity_stderr": float(change.stderr) / elapsed,
    }


KERNEL_CHANGE = Observable(
    quantities=(
        NTK_CHANGE,
        KERNEL_DISTANCE,
        Quantity(
            name="ntk_trace_ratio",
            stderr=True,
            symbol="tr Θ/tr Θ₀",
            meaning="trace of the neural tangent kernel in terms of that at the start",
            low=0.0,
            source=DERIVED,
        ),
        Quantity(
            name="target_alignment",
            stderr=True,
            symbol="yᵀΘy/(‖Θ‖‖y‖²)",
            meaning="alignment of the neural tangent kernel with the targets",
            low=0.0,
            high=1.0,
            source=BARATIN2021,
        ),
        Quantity(
            name="effective_rank",
            symbol="exp H(λ)",
            meaning="exponential of the entropy of the neural tangent kernel's spectrum",
            low=1.0,
            source="Roy & Vetterli, The effective rank, EUSIPCO 2007",
        ),
        Quantity(
            name="layer_ntk_change",
            dims=("layer",),
            interval=True,
            stderr=True,
            symbol="‖ΔΘ_l‖/‖Θ_l,0‖",
            meaning="relative change of one layer's part of the kernel since the start",
            low=0.0,
            source=DERIVED,
        ),
        Quantity(
            name="layer_ntk_share",
            stderr=True,
            dims=("layer",),
            symbol="‖Θ_l,0‖/‖Θ₀‖",
            meaning="size of one layer's part of the kernel at the start, in units of the whole",
            low=0.0,
            high=1.0,
            source=DERIVED,
        ),
    ),
    measure=_kernel,
    kernel=True,
)
NTK_VELOCITY = Observable(
    quantities=(
        Quantity(
            name="ntk_velocity",
            stderr=True,
            symbol="‖Θ_t − Θ_s‖/((t − s)‖Θ_s‖)",
            meaning="relative change of the kernel per step since the measurement before",
            units="1/step",
            low=0.0,
            source=DERIVED,
        ),
    ),
    measure=_velocity,
    default=False,
    kernel=True,
)
