"""How fast every layer's features move by the layer's own update, relative to their size.

    s_l = ‖J_l v_l‖ / ‖z_l‖

with z_l the output of layer l, v_l the velocity of its own parameters and J_l = ∂z_l/∂θ_l. What
comes up from the layers below is left out, so that each s_l follows the layer's own learning rate.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.utils._pytree import tree_leaves

from lazyrich.probe.network import Network, layer_of
from lazyrich.probe.step import Step


def own_speeds(network: Network, step: Step) -> dict[str, float]:
    """The relative feature speed s_l of every layer, by its own update alone, per step.

    Args:
        network: the model on a batch.
        step: the velocity of its parameters.

    Returns:
        s_l by module path. Layers without a speed are left out: those that do not move, whose
        output is zero, or that are never called as a module (their weights are read by another).

    Reference:
        Chizat & Netrapalli, The Feature Speed Formula, arXiv:2311.18718, ask for such a balance;
        they count what comes up from below, too.
    """
    speeds = {}
    for layer in dict.fromkeys(layer_of(name) for name in network.theta):
        own = {name: p for name, p in network.theta.items() if layer_of(name) == layer}
        motion = {name: step.velocity[name] for name in own}
        module = network.module.get_submodule(layer)

        def features(
            own: dict[str, Tensor], module: nn.Module = module
        ) -> tuple[Tensor, ...]:
            return _outputs_of(module, network, own)

        z, z_dot = jvp(features, (own,), (motion,))
        size = sum(t.double().square().sum().item() for t in z)
        square = sum(t.double().square().sum().item() for t in z_dot)
        if size > 0 and square > 0:
            speeds[layer] = (square / size) ** 0.5
    return speeds


def _outputs_of(
    module: nn.Module, network: Network, own: dict[str, Tensor]
) -> tuple[Tensor, ...]:
    """What a module gives, at every call, in one forward pass of the network."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _args: object, output: object) -> None:
        leaves = tree_leaves(output)
        seen.extend(x for x in leaves if isinstance(x, Tensor) and x.is_floating_point())

    handle = module.register_forward_hook(keep)
    try:
        tensors = {**network.constants, **network.theta, **own}
        functional_call(network.module, tensors, network.args, network.kwargs)
    finally:
        handle.remove()
    return tuple(seen)
