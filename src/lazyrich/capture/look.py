"""One look at the network during training, shared by all observables of that measurement.

Its parts are made when an observable first asks for them: one forward pass, one set of backward
passes, one kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer

from lazyrich.capture.backward_passes import BackwardPasses, backward_passes
from lazyrich.capture.capture import Capture, Layer
from lazyrich.capture.centred_kernel import Columns, centred, centred_columns
from lazyrich.capture.directions import Directions, random_count, random_signs
from lazyrich.capture.features import Features, features_of
from lazyrich.capture.isolation import Batch, undisturbed
from lazyrich.capture.jacobian import each_factor, learning_rates
from lazyrich.capture.kept_gradients import KeptGradients, Kernel, kept_gradients, kernels_of
from lazyrich.capture.losses import OutputLoss, distance_to_fit
from lazyrich.capture.network import (
    Network,
    Parameters,
    derivative,
    gradient,
    layer_outputs,
    network_of,
    turns_of,
)
from lazyrich.capture.norms import LayerNorms, layer_norms
from lazyrich.capture.optimizer_step import gradient_step, next_step
from lazyrich.capture.padding import asked_outputs, without_padding
from lazyrich.capture.sampled_kernel import block_squares, pair_sums, sampled_traces
from lazyrich.capture.samples import tokens_of_each
from lazyrich.capture.trust import Structure, structure, trusted_now

CENTRED_DIRECTIONS = 2  # vectors over all outputs of all samples
_MANY = 500  # outputs of a sequence of tokens, of which one vector does


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What stays the same in all measurements of a probe.

    Attributes:
        model: the module that trains.
        inputs: the probe samples.
        directions: random output directions of every sample; all outputs if these are not more.
        seed: seed of the directions.
        lrs: learning rates η inside the kernel, by parameter or module name; None for η = 1.
        memory: bytes that the kernel, and temporary arrays, may each take.
        kernel: whether kernels are asked for.
    """

    model: nn.Module
    inputs: Batch
    directions: Directions
    seed: int
    lrs: Mapping[str, float] | None
    memory: int
    kernel: bool


@dataclass(frozen=True, kw_only=True)
class PreviousKernel:
    """The kernel of the measurement before.

    Attributes:
        step: when it was made.
        kernel: Θ.
    """

    step: int
    kernel: Kernel


@dataclass(frozen=True, kw_only=True)
class Look:
    """The network at one time.

    Attributes:
        plan: what is measured and how.
        capture: one forward pass and its graph.
        fixed_loss: the loss as a function of the outputs, in the model's own shape.
        first: what the network was like at the first look; None if this is it.
        optimizer: the optimiser whose next step gives the features their speed; None for gradient
            descent.
        step: optimiser steps made so far.
        previous: the last kernel of an earlier step, if one was kept.
    """

    plan: Plan
    capture: Capture
    fixed_loss: OutputLoss
    first: Structure | None = None
    optimizer: Optimizer | None = None
    step: int = 0
    previous: PreviousKernel | None = None

    @property
    def f(self) -> Float[Tensor, "n k"]:
        """The outputs, without their graph."""
        return self.capture.outputs.detach()

    def loss_of(self, outputs: Float[Tensor, "n k"]) -> Tensor:
        """The loss of flattened outputs."""
        return self.fixed_loss(outputs.view(self.capture.shape))

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Captured layers that learn, in forward order; those that act as at the first look."""
        learning = (x for x in self.capture.layers if x.trains(self.capture.leaves))
        return tuple(learning if self.first is None else self.first.still_acting(learning))

    @property
    def random(self) -> bool:
        """Whether gradients are taken along random directions and not for all outputs."""
        return self._random_count is not None

    @property
    def _random_count(self) -> int | None:
        return random_count(self.plan.directions, self.f.shape[1])

    @cached_property
    def kept(self) -> KeptGradients:
        """What is kept of gradients at all layers along the plan's output directions."""
        passes, trusted = self.backward_passes(), None
        if self.plan.kernel:
            trusted = trusted_now(self.capture, self.first, passes)
        return kept_gradients(
            passes,
            self.layers,
            kernels={} if trusted is None else self._kernels(passes, trusted),
            trusted=trusted,
            readout=self.capture.readout,
            random=self.random,
            seed=self.plan.seed,
        )

    def backward_passes(self) -> BackwardPasses:
        """Gradients at all layers along the plan's output directions; as large as all else."""
        count = self._random_count
        if count is None:
            return backward_passes(self.capture)
        signs = random_signs(self.capture.outputs, count, seed=self.plan.seed)
        return backward_passes(self.capture, torch.stack([*map(self.capture.of_counted, signs)]))

    def next_step(self) -> tuple[Network, Parameters]:
        """The network at its present parameters, and how they are going to move."""
        network = network_of(self.capture)
        with undisturbed(network.module, twice=True):
            slope = gradient(lambda theta: self.fixed_loss(network(theta)), network.theta)
            if self.optimizer is None:
                return network, gradient_step(slope).velocity
            step = next_step(self.optimizer, network.module, network.theta, slope)
        return network, step.velocity

    @cached_property
    def motion(self) -> dict[str, tuple[Float[Tensor, " p"], Float[Tensor, " p"]]]:
        """Every layer's z, and its ż under the next step of all parameters, in one pass."""
        network, velocity = self.next_step()
        with undisturbed(network.module, twice=True):
            both = derivative(
                lambda theta: layer_outputs(network, theta, turns_of(self.layers)),
                network.theta,
                velocity,
            )
        z, z_dot = (
            {
                name: torch.cat([self._counted(x).flatten() for x in calls])
                for name, calls in tree.items()
            }
            for tree in both
        )
        return {
            layer.name: (z[layer.name], z_dot[layer.name])
            for layer in self.layers
            if layer.name in z
        }

    @cached_property
    def rates(self) -> dict[str, float]:
        """Learning rates inside the kernel, by parameter."""
        trainable = [name for name, leaf in self.capture.leaves.items() if leaf.requires_grad]
        return learning_rates(trainable, self.plan.lrs)

    def _kernels(self, along: BackwardPasses, trusted: tuple[str, ...]) -> dict[str, Kernel]:
        modules = (name for name, _ in self.capture.model.named_modules())
        names = dict.fromkeys([*modules, *(layer.name for layer in self.capture.layers)])
        names |= dict.fromkeys(self.first.parts if self.first else ())
        factors = each_factor(
            self.capture,
            lrs=self.plan.lrs,
            memory=self.plan.memory,
            along=along,
            trusted=trusted,
        )
        return kernels_of(factors, list(names), memory=self.plan.memory)

    @property
    def kernels(self) -> dict[str, Kernel]:
        """The kernel's part from every layer that owns parameters."""
        return self.kept.kernels

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel of all parameters."""
        return torch.stack(list(self.kernels.values())).sum(0)

    @cached_property
    def centred_kernel(self) -> Columns:
        """HΘH: its columns if all outputs are directions, else HΘHe for a few random vectors e."""
        if not self.random:
            return centred_columns(self.kernel)
        network, columns = network_of(self.capture), []
        with undisturbed(network.module, twice=True):
            many = tokens_of_each(self.plan.inputs) > 1 and self.f.shape[1] >= _MANY
            count = 1 if many else CENTRED_DIRECTIONS
            for signs in random_signs(self.f, count, seed=self.plan.seed + 1):
                e = centred(self.capture.of_counted(signs)).to(signs)
                gradients = self.capture.backward(e, list(network.theta))[1]
                along = {name: self.rates[name] * g for name, g in gradients.items()}
                moved = derivative(network, network.theta, along)[1]
                columns.append(centred(moved.reshape(e.shape)).to(e))
        return torch.stack(columns)

    @cached_property
    def norms(self) -> list[LayerNorms]:
        """Norms of weights, inputs and pre-activations of all layers."""
        positions = self.capture.positions
        return [
            layer_norms(x.matrix, x.counted_inputs(positions), x.counted_preactivations(positions))
            for x in self.layers
        ]

    @cached_property
    def features(self) -> dict[str, Features]:
        """What every layer gives, of every sample."""
        at = self.capture.positions
        return {x.name: features_of(x.counted_preactivations(at).flatten(1)) for x in self.layers}

    def _counted(self, rows: Tensor) -> Tensor:
        """What a layer gave or was given, with zeros at padded positions."""
        return without_padding(rows, self.capture.positions)

    @cached_property
    def residual_at_zero(self) -> Float[Tensor, "n k"]:
        """What the loss asks of an output that is zero, `−∂L/∂f` there: the targets up to scale."""
        with torch.enable_grad():
            slope: Tensor = gradient(self.loss_of, torch.zeros_like(self.f))
            return -self.capture.of_counted(slope)


def asked_only(seen: Capture, loss: OutputLoss) -> Capture:
    """A capture whose outputs count only where the loss looks at them.

    Args:
        seen: the capture.
        loss: the loss, with labels −100 or without. It is asked at f = 0, where no softmax is
            saturated.
    """
    if not loss.ignoring:
        return seen
    with torch.enable_grad():
        slope = gradient(loss, torch.zeros(seen.shape).to(seen.outputs))
    return replace(seen, counted=asked_outputs(slope, seen.counted))


@dataclass(frozen=True, kw_only=True)
class KernelStart:
    """The first kernel.

    Attributes:
        whole: Θ_0.
        layers: every part of it, by the module that owns the parameters, whatever its kind.
        squares: `‖Θ_0‖²` of the whole, then of the layers, as `pair_sums`.
        traces: traces of every sample's block with itself.
    """

    whole: Kernel
    layers: dict[str, Kernel]
    squares: Float[Tensor, "parts 2 n1"]
    traces: Float[Tensor, " n"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The network at the first measurement, with which all later ones are compared.

    Attributes:
        network: the model as a function of its parameters, at their first values θ_0.
        outputs: f_0.
        distance_to_fit: ‖τ ∂L/∂f‖, how far along −∂L/∂f the fit is; NaN if unknown.
        kernel: what later kernels are compared with; None if none will be.
        centred: the same of sample-centred kernels, see `Look`.
        norms: norms of all layers.
        weights: W_0 of all layers.
        features: features of all layers.
        structure: structure with which later looks are taken.
        residual_at_zero: the same as in `Look`.
        skipped: modules and parameters that are not among the layers, and why.
        studied: share of the kernel's trace that layers with a weight to study bring; NaN without a
            kernel.
    """

    network: Network
    outputs: Float[Tensor, "n k"]
    distance_to_fit: float
    kernel: KernelStart | None
    centred: Columns | None
    norms: list[LayerNorms]
    weights: dict[str, Float[Tensor, "m d"]]
    features: dict[str, Features]
    structure: Structure
    residual_at_zero: Float[Tensor, "n k"]
    skipped: dict[str, str]
    studied: float

    @property
    def layers(self) -> list[str]:
        """All that has a part in the kernel or a weight to study, nearly in forward order.

        What has no weight to study, such as an attention, a norm or the model itself with vectors
        of its own, follows what stands before it among the modules.
        """
        names, before = list(self.weights), -1
        parts = self.kernel.layers if self.kernel else {}
        for name, _ in self.network.module.named_modules():
            if name in parts and name not in names:
                names.insert(before + 1, name)
            before = names.index(name) if name in names else before
        return names


def reference_of(look: Look, *, centred: bool) -> Reference:
    """Keep what later measurements compare with: copies, no graph.

    Args:
        look: the first one.
        centred: whether sample-centred kernels will be compared.
    """
    seen, kernel = look.capture, look.plan.kernel
    frozen = {layer.name for layer in seen.layers} - {layer.name for layer in look.layers}
    return Reference(
        network=network_of(seen),
        outputs=look.f,
        distance_to_fit=distance_to_fit(look.fixed_loss, look.f.view(seen.shape), seen.counted),
        kernel=_kernel_start(look) if kernel else None,
        centred=look.centred_kernel if centred else None,
        norms=look.norms,
        weights={layer.name: layer.matrix for layer in look.layers},
        features=look.features,
        structure=structure(
            seen,
            look.layers,
            trusted=look.kept.trusted if kernel else None,
            parts=look.kernels if kernel else (),
        ),
        residual_at_zero=look.residual_at_zero,
        skipped={**seen.skipped, **dict.fromkeys(sorted(frozen), "all its parameters are frozen")},
        studied=_studied(look) if kernel else nan,
    )


def _studied(look: Look) -> float:
    """`Σ_l tr Θ_l / tr Θ` over the layers, those that are tied to embeddings included."""
    pieces = [layer.tensors.get("weight") for layer in look.layers]
    tied = {piece.parameter.removesuffix(".weight") for piece in pieces if piece and piece.whole}
    names = tied | {layer.name for layer in look.layers}
    traces = {
        name: float(sampled_traces(theta, random=look.random).sum())
        for name, theta in look.kernels.items()
    }
    total = sum(traces.values())
    return sum(trace for name, trace in traces.items() if name in names) / total if total else nan


def _kernel_start(look: Look) -> KernelStart:
    parts = (look.kernel, *look.kernels.values())
    squares = [block_squares(theta, random=look.random) for theta in parts]
    return KernelStart(
        whole=look.kernel,
        layers=dict(look.kernels),
        squares=pair_sums(torch.stack(squares)),
        traces=sampled_traces(look.kernel, random=look.random),
    )
