"""Samples and data sets: what networks learn, and what the loss compares their outputs with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from lazyrich._errors import InputError
from lazyrich.vocabulary.losses import LossName


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Inputs, and what they should be mapped to.

    Attributes:
        x: inputs, float, (samples, *shape of one).
        y: class labels, counted from 0, int64 (samples,); or targets, float (samples, outputs).

    Raises:
        InputError: `x` and `y` do not fit together.

    Example:
        >>> few = Samples(x=torch.eye(3), y=torch.tensor([0, 1, 1]))
        >>> len(few), few.at(torch.tensor([2])).y
        (3, tensor([1]))
    """

    x: Float[Tensor, "n *shape"]
    y: Tensor

    def __post_init__(self) -> None:
        labels = self.y.ndim == 1 and self.y.dtype == torch.int64
        if not labels and not (self.y.ndim == 2 and self.y.is_floating_point()):
            raise InputError(
                "`y` must be int64 labels (samples,) or float targets (samples, outputs), got "
                f"{self.y.dtype} {tuple(self.y.shape)}. Convert it with .long() or .float()."
            )
        if self.x.ndim < 2 or len(self.x) != len(self.y):
            raise InputError(
                f"`x` must be (samples, *shape of one) with as many samples as `y`, "
                f"{len(self.y)}, got {tuple(self.x.shape)}. Give one input for each target."
            )

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: torch.device) -> Samples:
        """The samples on a device."""
        return Samples(x=self.x.to(device), y=self.y.to(device))

    def at(self, rows: Int[Tensor, "m"]) -> Samples:
        """The samples in these rows, in their order."""
        return Samples(x=self.x[rows], y=self.y[rows])


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Samples to learn from and samples to test on.

    Attributes:
        name: name of the data set.
        train: the training part.
        test: the test part.
        classes: how many classes there are; 0 for regression.

    Raises:
        InputError: the two parts do not fit together, or labels do not fit the classes.

    Example:
        >>> from lazyrich.study import digits
        >>> data = digits()
        >>> data.inputs, data.outputs, len(data.train), len(data.test)
        ((1, 8, 8), 10, 1442, 355)
    """

    name: str
    train: Samples
    test: Samples
    classes: int

    def __post_init__(self) -> None:
        for part in (self.train, self.test):
            _check_labels(self.name, part.y, self.classes)
        if self.train.x.shape[1:] != self.test.x.shape[1:]:
            raise InputError(
                f"`train` and `test` of {self.name} must hold inputs of one shape, got "
                f"{self.inputs} and {tuple(self.test.x.shape[1:])}. Prepare both in the same way."
            )

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of one input."""
        return tuple(self.train.x.shape[1:])

    @property
    def digest(self) -> str:
        """The first 16 digits of the SHA-256 of all inputs and targets: other data, another text.

        Example:
            >>> from lazyrich.study import digits
            >>> data = digits()
            >>> data.digest == digits().digest != data.take(100, seed=0).digest
            True
        """
        digest = sha256()
        for values in (self.train.x, self.train.y, self.test.x, self.test.y):
            digest.update(f"{tuple(values.shape)} {values.dtype} ".encode())
            digest.update(values.contiguous().cpu().numpy().data)
        return digest.hexdigest()[:16]

    @property
    def outputs(self) -> int:
        """How many outputs a network needs: one a class, or one a target."""
        return self.classes or self.train.y.shape[1]

    def to(self, device: torch.device) -> DataSet:
        """Both parts on a device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def take(self, train: int | None, test: int | None = None, *, seed: int) -> DataSet:
        """A random choice of samples, without repetition.

        The classes are as equal in number as they can be: their numbers differ by one at most, as
        long as no class runs out. A larger choice with the same seed contains the smaller one.

        Args:
            train: how many training samples; None takes all, in their order.
            test: how many test samples; None takes all, in their order.
            seed: seed of the choice.

        Raises:
            InputError: if there are not as many.

        Example:
            >>> from lazyrich.study import digits
            >>> few = digits().take(20, 10, seed=0)
            >>> torch.bincount(few.train.y).tolist()
            [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
        """
        return DataSet(
            name=self.name,
            train=self._choice("train", self.train, train, seed),
            test=self._choice("test", self.test, test, seed),
            classes=self.classes,
        )

    def balanced(self, per_class: int, *, seed: int) -> Samples:
        """A random choice of training samples, the same number of every class.

        The class frequencies of a small random batch would decide its first direction of descent.
        Of a class that has fewer samples, all are taken.

        Args:
            per_class: samples of each class, at least 1.
            seed: seed of the choice.

        Raises:
            InputError: the data set has no classes.

        Example:
            >>> from lazyrich.study import digits
            >>> len(digits().balanced(per_class=3, seed=0))
            30
        """
        if not self.classes:
            raise InputError(
                f"`balanced` needs classes, got {self.name}, a regression. Use "
                "take(samples, seed=...).train."
            )
        if per_class < 1:
            raise InputError(f"`per_class` must be at least 1, got {per_class}. Ask for one.")
        order = _order(len(self.train), seed)
        labels = self.train.y.cpu()[order]
        rows = [order[labels == label][:per_class] for label in range(self.classes)]
        return self.train.at(torch.cat(rows))

    def _choice(self, part: str, samples: Samples, size: int | None, seed: int) -> Samples:
        if size is None:
            return samples
        if not 1 <= size <= len(samples):
            raise InputError(
                f"`{part}` must lie in 1 to {len(samples)} for {self.name}, got {size}. Take fewer "
                "samples, or None for all."
            )
        order = _order(len(samples), seed)
        if self.classes:
            turns = _turns(samples.y.cpu()[order], self.classes)
            chosen = torch.argsort(turns, stable=True)[:size].sort().values
        else:
            chosen = torch.arange(size)
        return samples.at(order[chosen])


def targets(samples: Samples, classes: int, loss: LossName) -> Tensor:
    """What the loss compares the outputs with.

    Cross-entropy takes the labels. A squared error takes, for classes, their one-hot vectors
    minus 1/C, whose entries add up to zero, so that a constant output explains nothing of balanced
    classes; and for a regression the targets as they are.

    Args:
        samples: the samples of the data set.
        classes: C; 0 for regression.
        loss: `"mse"`, `"squared_error"` or `"cross_entropy"`.

    Returns:
        int64 (samples,) for cross-entropy, float (samples, outputs) for a squared error.

    Raises:
        InputError: a cross-entropy is asked of a regression, or labels have no classes.

    Example:
        >>> targets(Samples(x=torch.eye(2), y=torch.tensor([0, 1])), 2, "mse")
        tensor([[ 0.5000, -0.5000],
                [-0.5000,  0.5000]])
    """
    _check_labels("the data set", samples.y, classes)
    if loss == "cross_entropy":
        if not classes:
            raise InputError(
                '`loss` must be "mse" or "squared_error" for a regression, got "cross_entropy", '
                "which needs classes. On one output the two are the same."
            )
        return samples.y
    if not classes:
        return samples.y
    return functional.one_hot(samples.y, classes).to(samples.x.dtype) - 1 / classes


def _check_labels(name: str, y: Tensor, classes: int) -> None:
    if (y.ndim == 1) != (classes > 0):
        raise InputError(
            f"`classes` must be 0 for float targets and their number for labels, got {classes} and "
            f"`y` of shape {tuple(y.shape)} in {name}. For labels "
            "pass classes=int(y.max()) + 1, for float targets leave it out."
        )
    if classes and len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise InputError(
            f"labels of {name} must lie in 0 to {classes - 1}, got {int(y.min())} to "
            f"{int(y.max())}. Count the classes from 0."
        )


def _order(samples: int, seed: int) -> Int[Tensor, "n"]:
    return torch.randperm(samples, generator=torch.Generator().manual_seed(seed))


def _turns(y: Int[Tensor, "n"], classes: int) -> Int[Tensor, "n"]:
    """How many samples of its own class come before each sample."""
    one_hot = functional.one_hot(y, classes)
    return (one_hot.cumsum(0) - 1).gather(1, y[:, None])[:, 0]
