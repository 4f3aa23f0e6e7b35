"""How fast every layer's features move by the layer's own update, relative to their size.

    s_l = ‖J_l v_l‖ / ‖z_l‖

with z_l the output of layer l, v_l the velocity of its own parameters and J_l = ∂z_l/∂θ_l. What
comes up from the layers below is left out, so that each s_l follows the layer's own learning rate.
"""

from __future__ import annotations

from torch import Tensor

from lazyrich.capture.network import Network, derivative, layer_of, layer_outputs
from lazyrich.capture.optimizer_step import Step


def own_speeds(network: Network, step: Step) -> dict[str, float]:
    """The relative feature speed s_l of every layer, by its own update alone, per step.

    Args:
        network: the model on a batch; call this inside `undisturbed`.
        step: the velocity of its parameters.

    Returns:
        s_l by module path. Layers without a speed are left out: those that do not move, whose
        output is zero, or that are never called as a module (their weights are read by another).

    Reference:
        Chizat & Netrapalli, The Feature Speed Formula, arXiv:2311.18718; their speeds also count
        what comes up from below.
    """
    speeds = {}
    for layer in layer_outputs(network, network.theta):
        own = {name: p for name, p in network.theta.items() if layer_of(name) == layer}
        motion = {name: step.velocity[name] for name in own}

        def features(own: dict[str, Tensor], layer: str = layer) -> tuple[Tensor, ...]:
            return layer_outputs(network, {**network.theta, **own})[layer]

        z, z_dot = derivative(features, own, motion)
        size, square = (
            sum(x.double().square().sum().item() for x in outputs) for outputs in (z, z_dot)
        )
        if size > 0 and square > 0:
            speeds[layer] = (square / size) ** 0.5
    return speeds
