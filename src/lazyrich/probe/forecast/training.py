"""How a rehearsal trains: with a copy of the user's optimiser, on leaves of its own."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer, SparseAdam
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lazyrich._errors import InputError
from lazyrich.capture.isolation import HALF
from lazyrich.capture.network import Parameters
from lazyrich.capture.optimizer_step import has_hooks

Rates = Callable[[int], float] | LRScheduler
"""What multiplies the learning rates after so many steps, or a scheduler of the optimiser."""


class Apprentice:
    """A copy of an optimiser that works on leaves of its own; the user's own is only read.

    Args:
        optimizer: any, with its groups and its state. Step hooks and what schedulers have put
            around its `step` are left out.
        module: the model whose parameters it owns.
        theta: where the leaves start, by name.
        rates: what multiplies the learning rates as a function of the steps made, or a scheduler
            of this optimiser, which is copied, too.

    Attributes:
        leaves: θ, by name.
        owned: names of those that the optimiser owns.
        notes: what a reader has to know, in sentences.

    Raises:
        InputError: the optimiser owns none of the parameters, or the scheduler is another's.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        module: nn.Module,
        theta: Parameters,
        rates: Rates | None = None,
    ) -> None:
        own = {id(p): name for name, p in module.named_parameters() if name in theta}
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if not held & own.keys():
            raise InputError(
                f"the optimiser must own the model's parameters, got one that owns none of the "
                f"{len(own)} trainable tensors. Build it from model.parameters() of this very "
                "model."
            )
        self.leaves: Parameters = {n: nn.Parameter(p.detach().clone()) for n, p in theta.items()}
        memo: dict[int, Any] = {
            id(p): self.leaves[n] if n in theta else p.detach().clone()
            for n, p in module.named_parameters()
            if n in theta or id(p) in held
        }
        self._optimizer = _copied(optimizer, memo)
        self._rates = _copied_schedule(rates, optimizer, memo) if rates is not None else None
        self._first = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._by_closure = needs_closure(optimizer)
        self._by_rows = isinstance(optimizer, SparseAdam)
        self.steps = 0
        self._scale(0)
        self.owned = [name for i, name in own.items() if i in held]
        left_out = ", ".join(sorted(name for i, name in own.items() if i not in held))
        notes = [f"The optimiser does not own {left_out}: counted as frozen."] if left_out else []
        if has_hooks(optimizer) and (
            optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
        ):
            notes.append("Step hooks of the optimiser are left out of the rehearsal.")
        self.notes = tuple(notes)

    def train_at(self, lrs: list[float]) -> None:
        """Set the learning rates, one for each group."""
        self._first = lrs
        self._set(self._first)

    def step(self, loss: float, gradient: Parameters, evaluate: Callable[[], Any]) -> None:
        """Make one step.

        Args:
            loss: at θ, for schedulers that ask for it.
            gradient: at θ, by name.
            evaluate: sets the gradient at the leaves' present values, and returns the loss; for
                optimisers that evaluate it several times a step.
        """
        if self._by_closure:
            self._optimizer.step(evaluate)
        else:
            self.set_gradient(gradient)
            self._optimizer.step()
        self.steps += 1
        self._advance(loss)

    def set_gradient(self, gradient: Parameters) -> None:
        """Put it where optimisers look for it, by rows if they take nothing else."""
        for name, leaf in self.leaves.items():
            row = gradient[name].detach().to(leaf)
            leaf.grad = row.to_sparse(1) if self._by_rows else row

    def _advance(self, loss: float) -> None:
        with warnings.catch_warnings():  # the copy has no wrapper that counts its steps
            warnings.filterwarnings("ignore", ".*lr_scheduler", UserWarning)
            warnings.filterwarnings("ignore", ".*optimizer.step", UserWarning)
            if isinstance(self._rates, ReduceLROnPlateau):
                self._rates.step(loss)
            elif isinstance(self._rates, LRScheduler):
                self._rates.step()
            else:
                self._scale(self.steps)

    def _scale(self, step: int) -> None:
        if callable(self._rates) and not isinstance(self._rates, LRScheduler):
            factor = float(self._rates(step))
            self._set([factor * lr for lr in self._first])

    def _set(self, lrs: list[float]) -> None:
        for group, lr in zip(self._optimizer.param_groups, lrs, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether it evaluates the loss itself, as L-BFGS does, or one inside it."""
    given = inspect.signature(type(optimizer).step).parameters.get("closure")
    inside = (one for one in vars(optimizer).values() if isinstance(one, Optimizer))
    asks = given is not None and given.default is inspect.Parameter.empty
    return asks or any(map(needs_closure, inside))


def _copied(optimizer: Optimizer, memo: dict[int, Any]) -> Optimizer:
    """With every attribute, which the optimiser's own way of being copied would drop."""
    twin: Optimizer = object.__new__(type(optimizer))
    memo[id(optimizer)] = twin
    for name, value in vars(optimizer).items():
        if isinstance(value, Optimizer):  # inside a wrapper
            _copied(value, memo)
        if name == "step":  # a scheduler's wrapper, which would step the user's own
            continue
        hooks = name.endswith("_hooks")
        vars(twin)[name] = type(value)() if hooks else copy.deepcopy(value, memo)
    for p, state in twin.state.items():
        wide = {key: _as_wide_as(value, p) for key, value in state.items()}
        state.update(wide)
    return twin


def _as_wide_as(value: Any, p: Tensor) -> Any:  # noqa: ANN401 - whatever optimisers keep
    return value.to(p.dtype) if isinstance(value, Tensor) and value.dtype in HALF else value


def _copied_schedule(rates: Rates, optimizer: Optimizer, memo: dict[int, Any]) -> Rates:
    if not isinstance(rates, LRScheduler):
        return rates
    if rates.optimizer is not optimizer:
        raise InputError(
            "the scheduler must be one of the optimiser that is given, got one of another. Build "
            "it from this optimiser."
        )
    twin: LRScheduler = object.__new__(type(rates))
    memo[id(rates)] = twin
    vars(twin).update({name: copy.deepcopy(v, memo) for name, v in vars(rates).items()})
    return twin
