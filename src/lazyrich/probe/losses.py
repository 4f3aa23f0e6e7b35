"""A loss as a function of the outputs alone, with its first and second derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor
from torch.func import grad, vjp
from torch.nn import functional

from lazyrich._errors import InputError

Loss = str | Callable[[Any, Any], Tensor]
"""`"mse"`, `"cross_entropy"`, or any `(outputs, targets) -> scalar`."""

OutputLoss = Callable[[Tensor], Tensor]


def output_loss(loss: Loss, outputs: Float[Tensor, "n *k"], targets: Any) -> OutputLoss:  # noqa: ANN401
    """Fix the targets of a loss, after a check that they fit the outputs.

    `"mse"` is the theory's L = E‖f − y‖²: the mean over samples of the sum over outputs, without
    ½. `torch.nn.MSELoss` also averages over outputs; ρ is the same for both, since a factor on the
    loss cancels in it. `"cross_entropy"` takes class labels, or class probabilities of the
    outputs' shape; classes are the last dimension if the labels have the shape of the rest, and
    the second one otherwise, as in PyTorch.

    Args:
        loss: `"mse"`, `"cross_entropy"` or a callable `(outputs, targets) -> scalar`.
        outputs: the model's outputs, the first dimension being the samples.
        targets: what the loss compares them with.

    Returns:
        The map from outputs to a scalar.

    Raises:
        InputError: an unknown loss, targets that do not fit, or a loss that is no finite scalar.

    Example:
        >>> import torch
        >>> L = output_loss("mse", torch.zeros(2, 3), torch.ones(2, 3))
        >>> L(torch.zeros(2, 3)).item()
        3.0
    """
    if callable(loss):
        fixed: OutputLoss = lambda f: loss(f, targets)  # noqa: E731
    elif loss == "mse":
        _refuse_bad_regression_targets(outputs, targets)
        y = targets.to(outputs.dtype)
        fixed = lambda f: (f - y).square().sum() / f.shape[0]  # noqa: E731
    elif loss == "cross_entropy":
        fixed = _cross_entropy(outputs, targets)
    else:
        raise InputError(
            f"`loss` must be 'mse', 'cross_entropy' or a callable (outputs, targets) -> scalar, "
            f"got {loss!r}."
        )
    value = fixed(outputs)
    if not isinstance(value, Tensor) or value.numel() != 1:
        came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"the loss must return one number, got {came}. Reduce it by mean or sum.")
    if not value.isfinite():
        raise InputError(
            f"the loss must be finite before training, got {value.item()}. "
            "Look for NaN in the targets, or for outputs too large for the loss."
        )
    return lambda f: fixed(f).reshape(())


def slope_and_curvature(
    loss: OutputLoss, outputs: Float[Tensor, "n *k"], motion: Float[Tensor, "n *k"]
) -> tuple[float, float]:
    """⟨r, ḟ⟩ and ⟨Hḟ, ḟ⟩, with r = ∂L/∂f and H = ∂²L/∂f²."""
    # H is symmetric; PyTorch's losses lack forward-mode derivatives of second order
    r, times_H = cast(tuple[Tensor, Any], vjp(grad(loss), outputs))
    H_f = times_H(motion)[0]
    f_dot = motion.double()
    return (r.double() * f_dot).sum().item(), (H_f.double() * f_dot).sum().item()


def _refuse_bad_regression_targets(outputs: Tensor, targets: Any) -> None:  # noqa: ANN401
    if not isinstance(targets, Tensor) or targets.shape != outputs.shape:
        came = tuple(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(
            f"for loss='mse' the targets must have the outputs' shape {tuple(outputs.shape)}, "
            f"got {came}. Reshape them, encode labels one-hot, or use loss='cross_entropy'."
        )


def _cross_entropy(outputs: Tensor, targets: Any) -> OutputLoss:  # noqa: ANN401
    if not isinstance(targets, Tensor) or outputs.ndim < 2:
        raise InputError(
            "loss='cross_entropy' needs outputs of shape (n, classes, …) and a tensor of targets, "
            f"got outputs of shape {tuple(outputs.shape)} and a {type(targets).__name__}."
        )
    if targets.is_floating_point() and targets.shape == outputs.shape:
        return lambda f: functional.cross_entropy(f, targets.to(f.dtype))
    last = targets.shape == outputs.shape[:-1]
    second = targets.shape == outputs.shape[:1] + outputs.shape[2:]
    if targets.is_floating_point() or not (last or second):
        raise InputError(
            f"for loss='cross_entropy' and outputs of shape {tuple(outputs.shape)} the targets "
            f"must be integer class labels of shape {tuple(outputs.shape[:-1])}, got "
            f"{targets.dtype} of shape {tuple(targets.shape)}."
        )
    classes = outputs.shape[-1 if last else 1]
    labels = targets.long()
    known = labels[labels != -100]  # PyTorch's mark of a label to be ignored
    if known.numel() == 0 or known.min() < 0 or known.max() >= classes:
        span = f"{labels.min().item()} to {labels.max().item()}"
        raise InputError(
            f"class labels must lie in 0 to {classes - 1} for {classes} outputs, got {span}. "
            "Count labels from 0, and give the model one output per class."
        )
    if last:
        return lambda f: functional.cross_entropy(f.reshape(-1, classes), labels.reshape(-1))
    return lambda f: functional.cross_entropy(f, labels)
