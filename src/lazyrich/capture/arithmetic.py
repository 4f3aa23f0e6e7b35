"""Products as exact as their numbers: no TF32 and no autocast, whatever a training runs with.

CUDA rounds the factors of float32 convolutions to the 10 bits of TF32 unless it is told not to, and
those of matrix products where the user has asked for it (`torch.set_float32_matmul_precision`). A
kernel of such products would be wrong in its fourth digit, and its small changes altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

from lazyrich.capture.operations import without_autocast


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Float32 stays float32, and nothing is cast; what the user has set is put back.

    Example:
        >>> x = torch.ones(2, 2)
        >>> with torch.autocast("cpu", dtype=torch.bfloat16), exact_arithmetic():
        ...     (x @ x).dtype
        torch.float32
    """
    with ExitStack() as stack:
        stack.enter_context(tf32(False))
        stack.enter_context(without_autocast())
        yield


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Whether products of float32 on an accelerator may round their factors to TF32.

    Args:
        allowed: whether they may.
    """
    with ExitStack() as stack:
        for owner, name, value in _switches(allowed):
            stack.callback(_switch(owner, name, value))
        yield


def _switch(owner: Any, name: str, value: object) -> Callable[[], None]:  # noqa: ANN401 - a module
    """Set a switch; returns what puts it back."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    return partial(setattr, owner, name, before)


def _switches(allowed: bool) -> Iterator[tuple[Any, str, object]]:
    """Owner, name and value of all switches that this PyTorch has."""
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):  # before PyTorch 2.9
        yield backends.cuda.matmul, "allow_tf32", allowed
        yield backends.cudnn, "allow_tf32", allowed
        return
    if _is_plain(backends.cudnn):  # first, for it sets those of convolutions and RNNs
        yield backends.cudnn, "allow_tf32", allowed
    value = "tf32" if allowed else "ieee"
    for owner in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        yield owner, "fp32_precision", value
    for owner in (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn):
        yield owner, "fp32_precision", "ieee"  # of this processor, some of which have bfloat16


def _is_plain(cudnn: Any) -> bool:  # noqa: ANN401 - a module
    """Whether its old switch can be read: not where the user has set the new ones apart."""
    try:
        return isinstance(cudnn.allow_tf32, bool)
    except RuntimeError:
        return False
