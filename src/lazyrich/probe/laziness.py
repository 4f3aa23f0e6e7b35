"""The laziness index of a network at its start: how curved it is where it has to go."""

from __future__ import annotations

from collections.abc import Callable

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._arguments import whole
from lazyrich._errors import InputError, NoDerivativeError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.directions import checked_seed
from lazyrich.capture.isolation import brought_to, undisturbed
from lazyrich.capture.losses import Loss, loss_name
from lazyrich.capture.network import refuse_silent_ends
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.forecast.first_step import checked
from lazyrich.probe.tangent_kernel import ntk
from lazyrich.vocabulary.quantity import CHIZAT2019, Quantity

QUANTITIES = (
    Quantity(
        name="laziness_index",
        symbol="κ_α",
        meaning="laziness index ‖f − y‖ ‖D²f‖/‖Df‖² at the start, small of a lazy training",
        low=0.0,
        source=CHIZAT2019,
    ),
    Quantity(
        name="jacobian_norm",
        symbol="‖Df‖",
        meaning="largest singular value of the Jacobian, the root of the kernel's largest one",
        low=0.0,
        source=CHIZAT2019,
    ),
    Quantity(
        name="second_derivative_norm",
        symbol="‖D²f‖",
        meaning="largest size of the second derivative along any direction, a lower bound",
        low=0.0,
        source=CHIZAT2019,
    ),
)
STARTS = 3  # directions from which the power iteration begins


@exact_arithmetic()
def laziness_index(
    model: nn.Module,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    iterations: int = 100,
    seed: int = 0,
    memory: int = 2 * 2**30,
) -> xr.Dataset:
    """How far from linear a network is over the way that it has to go, before training.

    `κ = ‖f − y‖ ‖D²f‖/‖Df‖²` at the initial weights, over all samples and outputs; with an output
    scale, f = αh, that is `(1/α)‖αh − y‖ ‖D²h‖/‖Dh‖²`. Much below 1 the training is lazy. ‖Df‖ is
    exact; ‖D²f‖ is found by power iteration from three directions, and is a lower bound, so that
    κ is one, too.

    Args:
        model: the network before training, see `capture` for its mode; it is left as it is.
        batch: `(inputs, targets)`, or a mapping with `labels`, see `forecast`.
        loss: `"mse"` or `"squared_error"`, for which κ is the same.
        iterations: iterations of the power iteration, each a second derivative along one direction.
        seed: seed of the directions; the global random state is not used.
        memory: bytes that the kernel may take.

    Returns:
        `laziness_index`, `jacobian_norm` and `second_derivative_norm`.

    Raises:
        InputError: see `capture`; another loss; targets in another shape than the outputs.
        NoDerivativeError: PyTorch has no second derivative of some part of the model.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        >>> for weight, value in zip(net.parameters(), (3.0, 4.0)):
        ...     _ = nn.init.constant_(weight, value)
        >>> found = laziness_index(net, (torch.tensor([[2.0]]), torch.tensor([[4.0]])))
        >>> round(found.laziness_index.item(), 4)  # |24 − 4| · 2/(4 (9 + 16))
        0.4

    References:
        Chizat, Oyallon & Bach, arXiv:1812.07956; the power iteration is ours.
    """
    if loss not in ("mse", "squared_error"):
        raise InputError(
            f"`loss` must be 'mse' or 'squared_error', got {loss_name(loss)}: the index measures "
            "how far the outputs are from their targets. See lazyrich.richness for any loss"
        )
    if (count := whole(iterations)) is None or count < 1:
        raise InputError(f"`iterations` must be a whole number ≥ 1, got {iterations!r}")
    seed = checked_seed(seed)
    inputs, targets = inputs_and_targets(batch)
    network, _, _ = checked(model, (inputs, targets), loss, "all")
    targets = brought_to(network.module, targets)
    kernel = ntk(model, inputs, memory=memory)
    rows = kernel.shape[0] * kernel.shape[1]
    largest = float(torch.linalg.eigvalsh(kernel.double().reshape(rows, rows))[-1])

    def outputs(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [p.numel() for p in network.theta.values()])
        pairs = zip(network.theta.items(), parts, strict=True)
        weights = {name: part.view(p.shape).to(p) for (name, p), part in pairs}
        return network.of_counted(weights).flatten().to(flat)

    with undisturbed(network.module, twice=True):
        theta = torch.cat([p.flatten() for p in network.theta.values()])
        f = outputs(theta).detach().double()
        second = _second_derivative(outputs, theta, iterations=count, seed=seed)
    away = f - targets.double().flatten()
    gap = float((away if network.counted is None else away[network.counted.flatten()]).norm())
    values = (gap * second / largest if largest else float("inf"), largest**0.5, second)
    return xr.Dataset(
        {q.name: ((), value, q.attrs) for q, value in zip(QUANTITIES, values, strict=True)}
    )


def _second_derivative(
    outputs: Callable[[Tensor], Float[Tensor, " r"]],
    theta: Float[Tensor, " p"],
    *,
    iterations: int,
    seed: int,
) -> float:
    """The largest `‖D²f[u, v]‖` of unit vectors that is found.

    `g·D²f[u, v]` is largest for u along `H_g v`, `H_g = D²(g·f)`, and for g along `D²f[u, v]`: one
    step of each in turn. Two vectors, since eigenvalues of layered networks come as ±λ.
    """
    random, largest = torch.Generator().manual_seed(seed), 0.0
    count = len(outputs(theta))
    for _ in range(STARTS):
        u, v, g = (
            torch.randn(n, generator=random, dtype=torch.float64).to(theta)
            for n in (len(theta), len(theta), count)
        )
        u = u / u.norm()
        for _ in range(iterations):
            v, g = v / v.norm(), g / g.norm()
            turned, g = _along(outputs, theta, u, v, g)
            largest = max(largest, float(g.norm()))
            if not (turned.any() and g.any()):
                break
            u, v = v, turned
    return largest


def _along(
    outputs: Callable[[Tensor], Tensor], theta: Tensor, u: Tensor, v: Tensor, g: Tensor
) -> tuple[Tensor, Tensor]:
    """`H_g v` and `D²f[u, v]`, by derivatives of derivatives."""
    at, weight = theta.detach().requires_grad_(), g.detach().requires_grad_()
    with torch.enable_grad():
        try:
            (first,) = torch.autograd.grad(weight @ outputs(at), at, create_graph=True)
            if not first.requires_grad:
                return torch.zeros_like(v), torch.zeros_like(g)
            refuse_silent_ends((first,))
            (second,) = torch.autograd.grad(first @ v, at, create_graph=True, allow_unused=True)
            if second is None or not second.requires_grad:
                return torch.zeros_like(v), torch.zeros_like(g)
            refuse_silent_ends((second,))
            (curve,) = torch.autograd.grad(second @ u, weight, allow_unused=True)
        except RuntimeError as error:
            why = str(error).splitlines()[0].rstrip(".")
            raise NoDerivativeError(
                f"PyTorch must have second derivatives of the model, got {why}. Take an operation "
                "that it differentiates twice"
            ) from error
    return second.detach(), torch.zeros_like(g) if curve is None else curve
