"""A loss as a function of the outputs alone, with its first and second derivative."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, nan
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lazyrich._errors import InputError, NoDerivativeError
from lazyrich.capture.held_loss import HeldLoss
from lazyrich.capture.network import gradient, pull_back
from lazyrich.capture.padding import IGNORED
from lazyrich.vocabulary.losses import LOSSES

Loss = str | Callable[[Any, Any], Tensor]
"""A name of `LOSSES`, or any `(outputs, targets) -> scalar`."""


def loss_name(loss: Loss) -> str:
    """What to call a loss: its name, or words that tell a function from the named losses.

    Example:
        >>> def mse(outputs, targets):  # without a mean
        ...     return (outputs - targets).square().sum()
        >>> loss_name("mse"), loss_name(mse)
        ('mse', "the user's loss mse")
    """
    if isinstance(loss, str):
        return loss
    return f"the user's loss {getattr(loss, '__name__', type(loss).__name__)}"


@dataclass(frozen=True, kw_only=True)
class OutputLoss:
    """A loss with its targets fixed.

    Attributes:
        value: the map from outputs to one number.
        nonnegative: whether it is known that it is never negative.
        ignoring: whether some of its labels are −100, PyTorch's mark of what is left out.
    """

    value: Callable[[Tensor], Tensor]
    nonnegative: bool
    ignoring: bool

    def __call__(self, outputs: Tensor) -> Tensor:
        """The loss, a scalar."""
        return self.value(outputs).reshape(())


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How a loss falls while the outputs move with a constant velocity ḟ.

    Attributes:
        loss: L, before.
        slope: ⟨r, ḟ⟩ with r = ∂L/∂f.
        curvature: ⟨Hḟ, ḟ⟩ with H = ∂²L/∂f².
        nonnegative: whether the loss is known to be never negative.
    """

    loss: float
    slope: float
    curvature: float
    nonnegative: bool

    @property
    def time_to_fit(self) -> float:
        """τ = −⟨r, ḟ⟩/⟨Hḟ, ḟ⟩, but at most −2L/⟨r, ḟ⟩ for a loss that is never negative.

        The first is where the loss's quadratic model is least. At the second, a quadratic model
        with this slope touches 0; for a quadratic loss it is never the smaller one. A softmax that
        is saturated at wrong classes has a slope but hardly any curvature, and the first says
        nothing there. NaN if the motion does not lead towards a minimum.
        """
        if not self.slope < 0 or (self.curvature < 0 and not self.nonnegative):
            return nan
        bound = -2 * self.loss / self.slope if self.nonnegative else inf
        # the named losses are convex: their curvature is negative by rounding alone
        tau = min(-self.slope / self.curvature if self.curvature > 0 else inf, bound)
        return tau if isfinite(tau) else nan

    @property
    def least(self) -> float:
        """L − ⟨r, ḟ⟩²/2⟨Hḟ, ḟ⟩: what the loss would fall to by its quadratic model; or −∞."""
        return self.loss - self.slope**2 / (2 * self.curvature) if self.curvature > 0 else -inf


def output_loss(loss: Loss, outputs: Float[Tensor, "n *k"], targets: Any) -> OutputLoss:  # noqa: ANN401
    """Fix the targets of a loss, after a check that they fit the outputs.

    `"mse"` is `torch.nn.MSELoss`, the mean over samples and outputs; `"squared_error"` is the
    theory's L = E‖f − y‖², the mean over samples of the sum over outputs, without ½. ρ is the same
    for both, since a factor on the loss cancels in it. `"cross_entropy"` takes class labels, or
    class probabilities of the outputs' shape; classes are the last dimension if the labels have
    the shape of the rest, and the second one otherwise, as in PyTorch.

    Args:
        loss: `"mse"`, `"squared_error"`, `"cross_entropy"`, or `(outputs, targets) -> scalar`.
        outputs: the model's outputs, the first dimension being the samples.
        targets: what the loss compares them with.

    Returns:
        The loss as a function of the outputs.

    Raises:
        InputError: an unknown loss, targets that do not fit, or a loss that is no finite scalar.

    Example:
        >>> import torch
        >>> f, y = torch.zeros(2, 3), torch.ones(2, 3)
        >>> output_loss("mse", f, y)(f).item(), output_loss("squared_error", f, y)(f).item()
        (1.0, 3.0)
    """
    if callable(loss):
        value: Callable[[Tensor], Tensor] = HeldLoss(loss, targets)
    elif loss in ("mse", "squared_error"):
        _refuse_bad_regression_targets(loss, outputs, targets)
        y = targets.to(outputs.dtype)
        value = lambda f: squared_error(loss, f, y)  # noqa: E731
    elif loss == "cross_entropy":
        value = _cross_entropy(outputs, targets)
    else:
        raise InputError(
            f"`loss` must be {', '.join(map(repr, LOSSES))} or a callable (outputs, targets) -> "
            f"scalar, got {loss!r}."
        )
    now = value(outputs)
    if not isinstance(now, Tensor) or now.numel() != 1:
        came = tuple(now.shape) if isinstance(now, Tensor) else type(now).__name__
        raise InputError(f"the loss must return one number, got {came}. Reduce it by mean or sum.")
    if not now.isfinite():
        raise InputError(
            f"the loss must be finite before training, got {now.item()}. "
            "Look for NaN in the targets, or for outputs too large for the loss."
        )
    labels = isinstance(targets, Tensor) and not targets.is_floating_point()
    ignoring = labels and bool((targets == IGNORED).any())
    return OutputLoss(value=value, nonnegative=not callable(loss), ignoring=ignoring)


def descent_along(
    loss: OutputLoss, outputs: Float[Tensor, "n *k"], motion: Float[Tensor, "n *k"]
) -> Descent:
    """How the loss falls while the outputs move.

    Args:
        loss: the loss as a function of the outputs.
        outputs: f.
        motion: ḟ.

    Example:
        >>> import torch
        >>> f, y = torch.tensor([[0.0]]), torch.tensor([[3.0]])
        >>> descent_along(output_loss("mse", f, y), f, torch.tensor([[2.0]])).time_to_fit
        1.5
        >>> f = torch.tensor([[100.0, 0.0]])  # sure of the wrong class
        >>> wrong = output_loss("cross_entropy", f, torch.tensor([1]))
        >>> descent_along(wrong, f, torch.tensor([[-1.0, 1.0]])).time_to_fit
        100.0
    """
    # H is symmetric; PyTorch's losses lack forward-mode derivatives of second order
    f_dot = motion.double()
    try:
        H_f = pull_back(lambda f: gradient(loss, f), outputs, motion)
        curvature = (H_f.double() * f_dot).sum().item()
    except NoDerivativeError:  # as of CTC
        curvature = _difference_of_slopes(loss, outputs, motion)
    return Descent(
        loss=loss(outputs).item(),
        slope=_slope(loss, outputs, motion),
        curvature=curvature,
        nonnegative=loss.nonnegative,
    )


def _slope(loss: OutputLoss, outputs: Tensor, motion: Tensor) -> float:
    return (gradient(loss, outputs).double() * motion.double()).sum().item()


def _difference_of_slopes(loss: OutputLoss, outputs: Tensor, motion: Tensor) -> float:
    """ḟᵀHḟ by central differences, for a loss that can be differentiated once."""
    size, speed = outputs.double().norm().item(), motion.double().norm().item()
    if not speed:
        return 0.0
    h = torch.finfo(outputs.dtype).eps ** (1 / 3) * (size or 1.0) / speed
    later, earlier = (_slope(loss, outputs + step * motion, motion) for step in (h, -h))
    return (later - earlier) / (2 * h)


def distance_to_fit(
    loss: OutputLoss, outputs: Float[Tensor, "n *k"], counted: Tensor | None = None
) -> float:
    """‖τ ∂L/∂f‖, how far along −∂L/∂f the fit is; NaN if that is not known.

    Args:
        loss: the loss as a function of the outputs.
        outputs: f.
        counted: those that count, flattened or not; None if all do.

    Example:
        >>> import torch
        >>> f, y = torch.zeros(2, 1), torch.tensor([[3.0], [4.0]])
        >>> distance_to_fit(output_loss("mse", f, y), f)
        5.0
    """
    with torch.enable_grad():
        r = gradient(loss, outputs)
        r = r if counted is None else r * counted.view_as(r)
        tau = descent_along(loss, outputs, -r).time_to_fit
    return tau * r.double().norm().item()


def squared_error(loss: str, outputs: Float[Tensor, "n *k"], targets: Tensor) -> Tensor:
    """`mse` or `squared_error`: they differ in whether the outputs are averaged or summed."""
    square = (outputs - targets).square()
    return square.mean() if loss == "mse" else square.sum() / len(outputs)


def _refuse_bad_regression_targets(loss: str, outputs: Tensor, targets: Any) -> None:  # noqa: ANN401
    if not isinstance(targets, Tensor) or targets.shape != outputs.shape:
        came = tuple(targets.shape) if isinstance(targets, Tensor) else type(targets).__name__
        raise InputError(
            f"for loss={loss!r} the targets must have the outputs' shape {tuple(outputs.shape)}, "
            f"got {came}. Reshape them, encode labels one-hot, or use loss='cross_entropy'."
        )


def _cross_entropy(outputs: Tensor, targets: Any) -> Callable[[Tensor], Tensor]:  # noqa: ANN401
    if not isinstance(targets, Tensor) or outputs.ndim < 2:
        raise InputError(
            "loss='cross_entropy' needs outputs of shape (n, classes, …) and a tensor of targets, "
            f"got outputs of shape {tuple(outputs.shape)} and a {type(targets).__name__}. For "
            "outputs without classes take loss='mse'."
        )
    if targets.is_floating_point() and targets.shape == outputs.shape:
        if targets.min() < 0:
            raise InputError(
                f"class probabilities must not be negative, got {targets.min().item():.3g}. "
                "Divide each row by its sum, or pass integer class labels."
            )
        return lambda f: functional.cross_entropy(f, targets.to(f.dtype))
    last = targets.shape == outputs.shape[:-1]
    second = targets.shape == outputs.shape[:1] + outputs.shape[2:]
    if targets.is_floating_point() or not (last or second):
        raise InputError(
            f"for loss='cross_entropy' and outputs of shape {tuple(outputs.shape)} the targets "
            f"must be integer class labels of shape {tuple(outputs.shape[:-1])}, got "
            f"{targets.dtype} of shape {tuple(targets.shape)}. Convert them: targets.long() for "
            "labels, targets.squeeze(-1) for a column of labels, targets.float() for one-hot rows."
        )
    classes = outputs.shape[-1 if last else 1]
    labels = targets.long()
    known = labels[labels != IGNORED]
    if known.numel() == 0 or known.min() < 0 or known.max() >= classes:
        span = f"{labels.min().item()} to {labels.max().item()}"
        raise InputError(
            f"class labels must lie in 0 to {classes - 1} for {classes} outputs, got {span}. "
            "Count labels from 0, and give the model one output per class."
        )
    if last:
        return lambda f: functional.cross_entropy(f.reshape(-1, classes), labels.reshape(-1))
    return lambda f: functional.cross_entropy(f, labels)
