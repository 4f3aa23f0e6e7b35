"""Everything that lazyrich raises on purpose.

    LazyRichError
    ├── InputError (also ValueError)     an argument is out of its range, or two do not fit together
    │   ├── NotFiniteError               a model or its output holds NaN or infinity
    │   ├── NoDescentError               the first step leads to no minimum of the loss
    │   └── NoDerivativeError            PyTorch has no derivative for some part of a forward pass
    ├── ConvergenceError                 a solver gave up; the message carries its own report
    ├── StoreError                       a store of results is in use, damaged, full or changed
    ├── WorkerError                      the workers cannot run a study
    └── MissingExtraError (also ImportError)  an optional dependency is not installed

A `StoreWarning` says that a store holds what one should know of before one trusts its numbers.
A run that diverges is not an error: it is a *status* of the result.
"""

from __future__ import annotations


class LazyRichError(Exception):
    """Base of every error that lazyrich raises on purpose."""


class InputError(LazyRichError, ValueError):
    """An argument is out of its range, or two arguments do not fit together."""


class NotFiniteError(InputError):
    """A model, its output or its gradients hold NaN or infinity: nothing can be measured."""


class NoDescentError(InputError):
    """The first step does not lead towards a minimum of the loss."""


class NoDerivativeError(InputError):
    """PyTorch has no derivative, of first or second order, for some part of a forward pass."""


class ConvergenceError(LazyRichError):
    """A numerical solver stopped before it reached its tolerance."""


class StoreError(LazyRichError):
    """A store of results is in use, damaged, full or of another study; the rest is unharmed."""


class WorkerError(LazyRichError):
    """The workers cannot run a study: they do not start, are lost, or have not its experiment."""


class StoreWarning(UserWarning):
    """A store holds damaged points, or points that different code has computed."""


class MissingExtraError(LazyRichError, ImportError):
    """A feature needs an optional dependency that is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)  # what pickle makes it again from

    def __str__(self) -> str:
        package, extra = self.args
        return (
            f"this needs {package}, which is not installed. "
            f"Install it with: pip install 'lazyrich[{extra}]'"
        )


for _error in (  # and one warning
    LazyRichError,
    InputError,
    NotFiniteError,
    NoDescentError,
    NoDerivativeError,
    ConvergenceError,
    StoreError,
    StoreWarning,
    WorkerError,
    MissingExtraError,
):
    _error.__module__ = "lazyrich"  # where users find it, and what they are shown
