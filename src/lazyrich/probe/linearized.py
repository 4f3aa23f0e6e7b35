"""A network made linear in its parameters, as a module to train and as a solved training curve."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lazyrich._errors import InputError, NoDerivativeError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.conditions import Conditions
from lazyrich.capture.first_look import conditions_of
from lazyrich.capture.isolation import (
    Batch,
    batch_size,
    brought_to,
    rows,
    tensors_in,
    undisturbed,
    unwrap,
    widen,
)
from lazyrich.capture.jacobian import checked_memory
from lazyrich.capture.losses import Loss, OutputLoss, loss_name, output_loss
from lazyrich.capture.network import Parameters, derivative, pull_back
from lazyrich.capture.weights import read_weights
from lazyrich.probe.arguments import LabelledBatch, inputs_and_targets
from lazyrich.probe.forecast.linearised import Linearisation
from lazyrich.probe.linear_training import (
    LinearTraining,
    Moments,
    When,
    carried,
    checked_moments,
    descent_pulls,
    solved_training,
)
from lazyrich.probe.tangent_kernel import ntk


def linearize(
    model: nn.Module,
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    memory: int = 2 * 2**30,
) -> Linearized:
    """The model's first-order expansion in its parameters, to be trained or solved.

    `f_lin(x, θ) = f(x, θ₀) + J(x)(θ − θ₀)`, θ₀ being the parameters as they are now.

    Args:
        model: the network, see `capture` for its mode; it is copied, and later training of it
            changes nothing here.
        batch: `(inputs, targets)`, or a mapping with `labels`, see `forecast`; what
            `Linearized.predict` trains on. As a module it takes any inputs.
        loss: the loss of that training, as in `forecast`; `"mse"` and `"squared_error"` are solved,
            others followed step by step.
        memory: bytes that a kernel of `predict` may take.

    Returns:
        A module with the model's trainable parameters, under their names, in float32 or better.

    Raises:
        InputError: a model that cannot be copied or has no trainable parameter; a batch that is no
            pair.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> y = torch.tensor([[1.0], [-1.0]])
        >>> linear = linearize(net, (x, y))
        >>> torch.equal(linear(x), net(x))
        True
        >>> torch.allclose(linear.predict(x, time=float("inf")), y, atol=1e-4)  # interpolates
        True

    References:
        Lee, Xiao et al., arXiv:1902.06720; as in `neural_tangents.linearize` and
        `neural_tangents.predict.gradient_descent_mse`.
    """
    pair = inputs_and_targets(batch)
    checked_memory(memory)
    network = unwrap(model)
    read_weights(network, to_train=True)
    try:
        twin = copy.deepcopy(network)
    except Exception as error:
        raise InputError(
            f"the model must be a module that `copy.deepcopy` can copy, got {error}. Linearise it "
            "before its first forward pass, or drop what it stores."
        ) from error
    return Linearized(twin, pair, loss, memory=memory)


class Linearized(nn.Module):
    """A network that is linear in its parameters: train it as any module, or `predict`.

    It is made by `linearize`. Its state dict is that of the model's trainable parameters, so that
    `load_state_dict` puts it where the model has trained to. Gradients reach the parameters; they
    do not reach the inputs.

    References:
        Lee, Xiao et al., arXiv:1902.06720.
    """

    def __init__(
        self,
        network: nn.Module,
        batch: LabelledBatch,
        loss: Loss,
        *,
        memory: int,
    ) -> None:
        super().__init__()
        self._network = (network,)  # in a tuple, so that its weights are not this module's
        self._batch, self._loss, self._memory = inputs_and_targets(batch), loss, memory
        self._conditions: Conditions | None = None
        self._train: _TrainingBatch | None = None
        for name, start in self._start().items():
            *path, last = name.split(".")
            owner: nn.Module = self
            for part in path:
                if part not in owner._modules:
                    owner.add_module(part, nn.Module())
                owner = owner.get_submodule(part)
            owner.register_parameter(last, nn.Parameter(start.clone()))

    def forward(self, *args: Any, **kwargs: Any) -> Float[Tensor, "n *k"]:  # noqa: ANN401
        """The outputs at the present parameters, `f(x, θ₀) + J(x)(θ − θ₀)`.

        Args:
            args: arguments as the model takes them.
            kwargs: the same by name.

        Raises:
            InputError: an input requires a gradient; see `capture`.
        """
        jacobian = self._jacobian(self._as_batch(args, kwargs))
        moved = [p - jacobian.start[name] for name, p in self.named_parameters()]
        return cast(Tensor, _Affine.apply(jacobian, *moved))  # type: ignore[no-untyped-call]

    @exact_arithmetic()
    def predict(
        self,
        x: Batch | None = None,
        *,
        time: When | None = None,
        steps: When | None = None,
        lr: float | None = None,
    ) -> Float[Tensor, "*times n *k"]:
        """Outputs after training from θ₀ on the batch of `linearize`, without training.

        With `L = s‖f − y‖²/2`, `sΘ(X, X) = U diag(λ) Uᵀ` and `φ = (1 − e^{−λt})/λ` under gradient
        flow, `(1 − (1 − ηλ)^n)/λ` under gradient descent,

            f(x) = f₀(x) − sΘ(x, X) U diag(φ) Uᵀ (f₀(X) − y);

        infinite `time` or `steps` gives kernel regression. s is 2/nk for `"mse"`, 2/n for
        `"squared_error"`. Under another loss `f_n(x) = f₀(x) − Θ(x, X) Σ_{i<n} η ∂L/∂f_i`.

        Args:
            x: inputs as the model takes them; None for those trained on.
            time: t ≥ 0 of gradient flow, one or several, may be infinite; or else `steps`.
            steps: n ≥ 0 of full-batch gradient descent, one or several, may be infinite.
            lr: its learning rate η > 0.

        Returns:
            Outputs in the model's shape and precision; of several times along a new first axis.

        Raises:
            InputError: not exactly one of `time` and `steps`, or out of range; a learning rate
                that is missing, misplaced or too large for infinitely many steps; targets that do
                not fit the loss; time or infinitely many steps under another loss; a kernel that
                does not fit into `memory`.

        Example:
            >>> linear = linearize(nn.Linear(1, 1), (torch.ones(2, 1), torch.zeros(2, 1)))
            >>> linear.predict(steps=[0, 10, 100], lr=0.1).shape
            torch.Size([3, 2, 1])

        References:
            Lee, Xiao et al., arXiv:1902.06720, eqs. 7 to 9.
        """
        moments = checked_moments(time, steps, lr)
        train = self._training_batch(moments)
        f = train.outputs if x is None else self._outputs(x)
        start = f.reshape(len(f), -1).double()
        if train.solved and x is None:
            found = [train.solved.reached(phi) for phi in moments.travels(train.solved.eigenvalues)]
        else:
            theta = train.kernel
            if x is not None:
                theta = ntk(self._network[0], x, train.inputs, memory=self._memory)
            found = [carried(start, theta, pull) for pull in train.pulls(moments)]
        outputs = [moved.to(f).view_as(f) for moved in found]
        return torch.stack(outputs) if moments.several else outputs[0]

    def effective_parameters(
        self,
        *,
        time: When | None = None,
        steps: When | None = None,
        lr: float | None = None,
    ) -> Float[Tensor, "*times"]:
        """Effective parameters of that training, per output: `‖S‖²_F/k` of `f = S y + c`.

        `S = U diag(λφ) Uᵀ`, see `predict`: after n steps `1 − (1 − ηλ)^n` of each eigenvector has
        been learned, and the rank of the kernel in the end. It is what `Telescope` comes to where
        the kernel does not move.

        Args:
            time: t ≥ 0 of gradient flow, one or several, may be infinite; or else `steps`.
            steps: n ≥ 0 of full-batch gradient descent, one or several, may be infinite.
            lr: its learning rate η > 0.

        Raises:
            InputError: as `predict`; a loss that is not squared error.

        Example:
            >>> linear = linearize(nn.Linear(2, 1), (torch.eye(2), torch.ones(2, 1)))
            >>> round(linear.effective_parameters(time=float("inf")).item(), 4)
            2.0

        References:
            Curth, Jeffares & van der Schaar, arXiv:2310.18988.
        """
        moments = checked_moments(time, steps, lr)
        train = self._training_batch(moments)
        if train.solved is None:
            raise InputError(
                f"`loss` must be 'mse' or 'squared_error', got {loss_name(self._loss)}: under "
                "another loss a training is no linear function of its targets"
            )
        lam, outputs = train.solved.eigenvalues, train.outputs[0].numel()
        travels = moments.travels(lam)
        counts = torch.stack([((lam * phi) ** 2).sum() / outputs for phi in travels])
        return counts if moments.several else counts[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Linearized:
        """Moving or converting this module does so with what it was made of."""
        self._network[0]._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._conditions = self._train = None
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def _start(self) -> Parameters:
        """θ₀, in float32 or better."""
        parameters = self._network[0].named_parameters()
        return {name: widen(p.detach()) for name, p in parameters if p.requires_grad}

    def _jacobian(self, x: Batch) -> _Jacobian:
        batch_size(x)  # refuses bad batches
        network, start = self._network[0], self._start()
        named = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        fixed = {n: widen(t.detach()) for n, t in named.items() if n not in start}
        tensors = {**fixed, **start}
        if self._conditions is None:
            self._conditions = conditions_of(network, tensors, x)
        with undisturbed(network, twice=True):
            settled = self._conditions.settle(network, tensors, x)
        conditions, samples = self._conditions, batch_size(x)

        def outputs(theta: Parameters) -> Tensor:
            return rows(conditions.call(network, {**fixed, **theta}, x, settled), samples)

        return _Jacobian(network, outputs, start)

    def _outputs(self, x: Batch) -> Float[Tensor, "n *k"]:
        """f₀, in the model's shape."""
        jacobian = self._jacobian(x)
        with undisturbed(jacobian.network), torch.no_grad():
            return jacobian.function(jacobian.start)

    def _training_batch(self, moments: Moments) -> _TrainingBatch:
        """What training from θ₀ starts with, found once."""
        solvable = self._loss in ("mse", "squared_error")
        if not solvable and (moments.lr is None or inf in moments.values):
            raise InputError(
                f"`steps` must be given, and finite, for {loss_name(self._loss)}. Gradient flow "
                "and its end are solved for loss='mse' and loss='squared_error' alone."
            )
        if self._train is None:
            inputs, targets = (brought_to(self._network[0], part) for part in self._batch)
            f = self._outputs(inputs)
            loss = output_loss(self._loss, f, targets)
            kernel, solved = ntk(self._network[0], inputs, memory=self._memory), None
            if solvable:
                curvature = 2 / (f.numel() if self._loss == "mse" else len(f))
                y = targets.reshape(len(f), -1)
                solved = solved_training(kernel, f.reshape(len(f), -1), y, curvature)
            self._train = _TrainingBatch(
                inputs=inputs, outputs=f, loss=loss, kernel=kernel, solved=solved
            )
        return self._train

    def _as_batch(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """Arguments of a call as one batch; those by position get their names if both occur."""
        if args and kwargs:
            bound = inspect.signature(self._network[0].forward).bind(*args, **kwargs)
            args, kwargs = (), bound.arguments
        x: Batch = kwargs or (args[0] if len(args) == 1 else args)
        if any(t.requires_grad for t in tensors_in(x)):
            raise InputError(
                "the inputs must not require a gradient, got one that does. Detach it: gradients "
                "reach the parameters of a linearised network alone."
            )
        return x


@dataclass(frozen=True, kw_only=True)
class _TrainingBatch:
    """What is trained on: inputs, f₀ in the model's shape, L(f), Θ(X, X), and the solution."""

    inputs: Batch
    outputs: Tensor
    loss: OutputLoss
    kernel: Tensor
    solved: LinearTraining | None

    def pulls(self, moments: Moments) -> list[Tensor]:
        """See `carried`."""
        if self.solved:
            return [self.solved.pull(phi) for phi in moments.travels(self.solved.eigenvalues)]
        shape, start = self.outputs.shape, self.outputs.reshape(len(self.outputs), -1)
        assert moments.lr is not None  # of steps, which are finite
        steps = [int(n) for n in moments.values]
        return descent_pulls(
            self.kernel, start, lambda f: self.loss(f.view(shape)), moments.lr, steps
        )


class _Jacobian:
    """J of one batch at θ₀, never formed.

    By reverse mode both ways, where PyTorch can: forward mode also moves what never learns, such as
    the row of a padding token.
    """

    def __init__(
        self, network: nn.Module, function: Callable[[Parameters], Tensor], start: Parameters
    ) -> None:
        self.network, self.function, self.start = network, function, start
        self._graph: Linearisation | None = None

    def times(self, along: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """f₀ and Jv."""
        v = dict(zip(self.start, along, strict=True))
        with undisturbed(self.network, twice=True):
            try:
                self._graph = self._graph or Linearisation(self.function, self.start)
                return self._graph.outputs, self._graph.times(v)
            except (RuntimeError, NoDerivativeError):  # an operation has no second derivative
                self._graph = None
                return derivative(self.function, self.start, v)

    def transposed(self, u: Tensor) -> tuple[Tensor, ...]:
        """Jᵀu."""
        with undisturbed(self.network, twice=True):
            if self._graph:
                found = self._graph.transposed(u)
            else:
                found = pull_back(self.function, self.start, u)
        return tuple(found[name] for name in self.start)


class _Affine(torch.autograd.Function):
    """`f₀ + Jv` as a function of v, whose derivative needs no graph."""

    @staticmethod
    def forward(ctx: Any, jacobian: _Jacobian, *along: Tensor) -> Tensor:  # noqa: ANN401
        ctx.jacobian = jacobian
        start, moved = jacobian.times(along)
        return start + moved

    @staticmethod
    def backward(ctx: Any, *u: Tensor) -> Any:  # noqa: ANN401
        return None, *_Transposed.apply(ctx.jacobian, *u)  # type: ignore[no-untyped-call]


class _Transposed(torch.autograd.Function):
    """`Jᵀu` as a function of u; its derivative is J again."""

    @staticmethod
    def forward(ctx: Any, jacobian: _Jacobian, u: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        ctx.jacobian = jacobian
        return jacobian.transposed(u)

    @staticmethod
    def backward(ctx: Any, *v: Tensor) -> Any:  # noqa: ANN401
        return None, ctx.jacobian.times(v)[1]
