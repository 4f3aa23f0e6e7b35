"""A training as a sum of linear steps, and as a smoother: how many parameters it came to use.

The telescoping model adds up, along a training, what the network's own tangents make of the
optimiser's steps, `f̃_T(x) = f_{θ₀}(x) + Σ_t J_t(x) (θ_{t+1} − θ_t)`. Under squared error every
step is linear in the targets, once Jacobians and the optimiser's rates are taken as they were:

    f̃(x) = S(x) y + c(x),    Δθ = Δ_S y + Δ_c,    S ← S + J Δ_S,    c ← c + J Δ_c,

with the gradient `s J_Bᵀ(S_B y + c_B − y_B)` of the samples B of the step, and an optimiser that
keeps sums of gradients keeps those of both parts. `p = ‖S‖²_F` is its effective parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.capture import capture
from lazyrich.capture.first_look import conditions_of
from lazyrich.capture.isolation import Batch, brought_to, unwrap
from lazyrich.capture.jacobian import checked_memory
from lazyrich.capture.losses import Loss, loss_name
from lazyrich.capture.optimizer_step import checked_optimizer
from lazyrich.capture.per_sample import per_sample_gradients
from lazyrich.capture.weights import read_weights
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.step_rules import Columns, rules_of
from lazyrich.vocabulary.quantity import CURTH2023, DERIVED, JEFFARES2024, Quantity

QUANTITIES = (
    Quantity(
        name="effective_parameters",
        symbol="p",
        meaning="effective parameters of the training on its own samples, per output",
        low=0.0,
        source=CURTH2023,
    ),
    Quantity(
        name="test_effective_parameters",
        symbol="p_test",
        meaning="effective parameters of the training on test inputs, per output",
        low=0.0,
        source=CURTH2023,
    ),
    Quantity(
        name="telescoping_error",
        symbol="rms(f̃ − f)",
        meaning="how far the sum of linear steps is from the network, over all inputs",
        units="y",
        low=0.0,
        source=JEFFARES2024,
    ),
    Quantity(
        name="smoother_error",
        symbol="rms(Sy + c − f)",
        meaning="how far the smoother of the training is from the network, over all inputs",
        units="y",
        low=0.0,
        source=DERIVED,
    ),
)
SAME = 1e-3  # of a gradient: single precision, and what a loss differs by is more


class Telescope:
    """Follows a training step by step, as a linear function of its targets.

    Its `step` takes the place of the optimiser's. SGD with momentum, Adam and AdamW, with any
    minibatches, weight decay and schedules.

    Args:
        model: the network; layers that draw random numbers in training must be off, as in `eval`.
        batch: `(inputs, targets)`, all that is trained on, n samples.
        loss: `"mse"` or `"squared_error"`: under another loss no step is linear in the targets.
        optimizer: the optimiser that trains the model: `torch.optim.SGD`, `Adam` or `AdamW`, before
            its first step.
        test: other inputs, at which `f̃` and p are wanted, too.
        memory: bytes that Jacobians and the optimiser's memory of all targets may take.

    Raises:
        InputError: another loss, an optimiser that has stepped, or too little memory; another
            optimiser, at the first step.

    Example:
        >>> net = nn.Linear(3, 1, bias=False).double()
        >>> x, y = torch.eye(3).double(), torch.ones(3, 1).double()
        >>> sgd = torch.optim.SGD(net.parameters(), lr=0.3)
        >>> telescope = Telescope(net, (x, y), "squared_error", optimizer=sgd)
        >>> for _ in range(2):
        ...     sgd.zero_grad()
        ...     (net(x) - y).square().sum(1).mean().backward()
        ...     telescope.step()
        >>> round(telescope.measure().effective_parameters.item(), 4)  # 3 (1 − (1 − 0.2)²)²
        0.3888

    References:
        Jeffares, Curth & van der Schaar, arXiv:2411.00247; Curth, Jeffares & van der Schaar,
        arXiv:2310.18988. The smoother of a training with an optimiser's memory is ours.
    """

    def __init__(
        self,
        model: nn.Module,
        batch: LabelledBatch,
        loss: Loss = "mse",
        *,
        optimizer: Optimizer,
        test: Batch | None = None,
        memory: int = 2 * 2**30,
    ) -> None:
        checked_memory(memory)
        if loss not in ("mse", "squared_error"):
            raise InputError(
                f"`loss` must be 'mse' or 'squared_error', got {loss_name(loss)}: under another "
                "loss no step is linear in the targets, and a training has no effective parameters"
            )
        self._model, self._memory = unwrap(model), memory
        self._optimizer = checked_optimizer(optimizer)
        if self._optimizer.state:
            raise InputError(
                "`optimizer` must not have stepped, for its memory is followed from the start. "
                "Make the telescope before the training."
            )
        inputs, targets = (brought_to(self._model, part) for part in inputs_and_targets(batch))
        self._inputs = [inputs] if test is None else [inputs, brought_to(self._model, test)]
        tensors = read_weights(self._model, to_train=True).leaves()
        self._conditions = [conditions_of(self._model, tensors, x) for x in self._inputs]
        start = self._look()
        self._targets = targets.reshape(len(targets), -1).double().to(start)
        n, self._outputs = self._targets.shape
        if start.shape[1] != self._outputs:
            raise InputError(
                f"the targets must have {start.shape[1]} numbers a sample, as the outputs, got "
                f"{self._outputs}. Give labels one-hot: torch.nn.functional.one_hot(labels, "
                f"{start.shape[1]})"
            )
        self._require_room(start.numel(), self._targets.numel() + 1)
        self._curvature = 2.0 / (self._outputs if loss == "mse" else 1)
        self._telescoped = start.flatten()
        self._smoother = start.new_zeros(start.numel(), n * self._outputs + 1)
        self._smoother[:, -1] = self._telescoped
        self._memories: Columns = {}
        self._weights: Columns = {}
        for name, p in self._model.named_parameters():
            if p.requires_grad:
                self._weights[name] = start.new_zeros(p.numel(), n * self._outputs + 1)
                self._weights[name][:, -1] = p.detach().double().flatten()
        self.steps = 0

    @exact_arithmetic()
    def step(self, rows: Sequence[int] | Tensor | None = None) -> None:
        """Let the optimiser step with the gradients that the model has, and follow it.

        Args:
            rows: indices of the samples that these gradients are of; None for all.

        Raises:
            InputError: gradients that are not those of the loss on these samples, by how much.
        """
        outputs, jacobian = self._jacobian()
        parameters = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        at = self._places(rows)
        share = self._curvature * self._outputs / len(at)
        residual = outputs[at] - self._targets.flatten()[at]
        told = self._smoother[at].clone()  # of the targets and of 1, what the residual is
        told[torch.arange(len(at)), at] -= 1.0
        expected = {name: share * (j[at].T @ residual) for name, j in jacobian.items()}
        rules = rules_of(self._optimizer, self._model, parameters)
        _require_gradients(parameters, {name: expected[name] for name in rules})
        before = {name: p.detach().double().flatten().clone() for name, p in parameters.items()}
        self._optimizer.step()
        moved = torch.zeros_like(self._smoother)
        for name, p in parameters.items():
            made = p.detach().double().flatten() - before[name]
            self._telescoped = self._telescoped + jacobian[name] @ made
            if name in rules:
                gradient = share * (jacobian[name][at].T @ told)
                change, kept = rules[name].made_of(
                    gradient, self._weights[name], self._memories.get(name)
                )
                self._memories.update({} if kept is None else {name: kept})
                self._weights[name] = self._weights[name] + change
                moved += jacobian[name] @ change
        self._smoother = self._smoother + moved
        self.steps += 1

    def _places(self, rows: Sequence[int] | Tensor | None) -> Tensor:
        """Where the outputs of some samples are among all."""
        n = len(self._targets)
        taken = torch.arange(n) if rows is None else torch.as_tensor(rows).cpu()
        if taken.ndim != 1 or not len(taken) or taken.min() < 0 or taken.max() >= n:
            raise InputError(f"`rows` must be numbers of samples from 0 to {n - 1}, got {rows}")
        at = taken[:, None] * self._outputs + torch.arange(self._outputs)
        return at.flatten().to(self._targets.device)

    def predict(self) -> Float[Tensor, "n k"]:
        """`f̃ = S y + c`, of the training inputs, then of the test inputs."""
        known = torch.cat([self._targets.flatten(), self._targets.new_ones(1)])
        return (self._smoother @ known).view(-1, self._outputs)

    @property
    def telescoped(self) -> Float[Tensor, "n k"]:
        """The sum of linear steps that the optimiser made, in the same order."""
        return self._telescoped.view(-1, self._outputs)

    @property
    def smoother(self) -> Float[Tensor, "n k m q"]:
        """S: how an output of each input depends on each target."""
        k = self._outputs
        return self._smoother[:, :-1].view(-1, k, len(self._targets), k)

    @exact_arithmetic()
    def measure(self) -> xr.Dataset:
        """The effective parameters after the steps so far, and how far both models are off.

        `p = (n/|I|) Σ_{x∈I} ‖s(x)‖²/k`, of a projection its rank; on test inputs it may be more
        than n.

        Returns:
            `effective_parameters`, `test_effective_parameters` where there are test inputs,
            `telescoping_error` and `smoother_error`, with the coordinate `step`.
        """
        outputs, n = self._look(), len(self._targets)
        squared = self.smoother.square().sum((1, 2, 3)) / self._outputs
        values = {"effective_parameters": squared[:n].sum()}
        if len(squared) > n:
            values["test_effective_parameters"] = n * squared[n:].mean()
        for name, model in (("telescoping", self.telescoped), ("smoother", self.predict())):
            values[f"{name}_error"] = (model - outputs).square().mean().sqrt()
        attrs = {quantity.name: quantity.attrs for quantity in QUANTITIES}
        return xr.Dataset(
            {name: ((), float(value), attrs[name]) for name, value in values.items()},
            coords={"step": self.steps},
        )

    def _look(self) -> Float[Tensor, "n k"]:
        """All outputs at the present weights."""
        looks = zip(self._inputs, self._conditions, strict=True)
        found = [capture(self._model, x, held).outputs.detach() for x, held in looks]
        return torch.cat([f.double().reshape(len(f), -1) for f in found])

    def _jacobian(self) -> tuple[Float[Tensor, "nk"], dict[str, Float[Tensor, "nk p"]]]:
        """All outputs, and what they change by with each parameter."""
        outputs, parts = [], []
        for at, inputs in enumerate(self._inputs):
            seen = capture(self._model, inputs, self._conditions[at])
            names = [name for name, leaf in seen.leaves.items() if leaf.requires_grad]
            directions = torch.stack(list(seen.exact_directions())).detach()
            parts.append(
                per_sample_gradients(seen, names, directions=directions, memory=self._memory)
            )
            outputs.append(seen.outputs.detach().double().flatten())
        joined = {
            name: torch.cat([part[name].double().flatten(0, 1) for part in parts])
            for name in parts[0]
        }
        return torch.cat(outputs), joined

    def _require_room(self, rows: int, columns: int) -> None:
        size = sum(p.numel() for p in self._model.parameters() if p.requires_grad)
        needed = 8 * size * (rows + 3 * columns)
        if needed > self._memory:
            raise InputError(
                f"`memory` must be at least {needed:.2g} bytes for Jacobians of {rows} outputs and "
                f"steps of {columns - 1} targets in {size} parameters, got {self._memory:.2g}. "
                "Take fewer samples"
            )


def _require_gradients(parameters: Mapping[str, nn.Parameter], expected: Columns) -> None:
    """Refuse gradients that are not those of the loss."""
    off = size = 0.0
    for name, gradient in expected.items():
        given = parameters[name].grad
        assert given is not None  # of what the optimiser owns
        off += float((given.double().flatten() - gradient).square().sum())
        size += float(gradient.square().sum())
    if off**0.5 > SAME * size**0.5 + torch.finfo(torch.float32).eps:
        raise InputError(
            f"the gradients must be those of the loss on the samples of this step, are off by "
            f"{(off / (size or 1.0)) ** 0.5:.2g} of their size. Is `loss` what is minimised, and "
            "`rows` what it is taken of?"
        )
