"""Speed limits: one layer learns fast and the others slowly, whatever the size of their gradients.

The wrapper is a `torch.optim.Optimizer` whose parameter groups, state and defaults are those of the
optimiser inside, so that schedulers, gradient scalers and loggers see an ordinary one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lazyrich._errors import InputError, NotFiniteError
from lazyrich.capture.isolation import Batch, unwrap
from lazyrich.capture.network import layer_of
from lazyrich.capture.norms import SQUARES_FIT
from lazyrich.probe.oneshot import nfa
from lazyrich.probe.schedule import Schedule, every

_KEY = "speed_limits"  # of the state dict
_OWN = ("optimizer", "model", "x", "refresh", "strength", "eps", "speeds", "target", "steps")


class SpeedLimited(Optimizer):
    """Any optimiser with a speed limit for every layer.

    Before each step the gradient of layer ℓ becomes

    `∇_ℓ ← C_ℓ ∇_ℓ / (ε + ‖∇_ℓ‖_F)`,

    and the optimiser inside does the rest, momentum and weight decay included. A layer is a module
    with parameters of its own: weight and bias share one norm and one speed. Give one of `speeds`,
    `target` (a fixed target) and `x` (the target is the hidden layer with the lowest `nfa`,
    chosen again on a schedule). `step` puts the raw gradients back, so that accumulation and logs
    see what `backward` left; this takes the memory of one more set of gradients while it runs.

    Args:
        optimizer: any `torch.optim.Optimizer`; from now on call the wrapper instead.
        model: the network, for the names of its layers, wrapped or not; unnecessary if the
            optimiser was built from `model.named_parameters()` and `x` is not given.
        speeds: C ≥ 0 by layer name as in `named_modules()`, "" for all others.
        target: name of the layer with C = `strength`; all others, the readout too, get
            1/`strength`.
        x: samples as the model takes them, on which the adaptive form measures `nfa`.
        strength: C > 0 of the target.
        refresh: steps at which the adaptive form should choose the target anew; None for every 100
            steps.
        eps: ε ≥ 0; with 0 a zero gradient stays zero.

    Attributes:
        optimizer: the one inside.
        speeds: C by layer name; may be changed between steps.
        target: the layer that learns fast, if there is one.
        steps: steps made.

    Raises:
        InputError: not one of the three forms; a layer that the optimiser has no parameter of; a
            parameter without a name; a number out of range; see also `nfa` for the adaptive form.

    Example:
        >>> layers = nn.Linear(3, 8, bias=False), nn.ReLU(), nn.Linear(8, 1)
        >>> net = nn.Sequential(*layers)
        >>> sgd = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> optimizer = SpeedLimited(sgd, model=net, target="0", strength=20)
        >>> before = net[0].weight.detach().clone()
        >>> net(torch.ones(5, 3)).square().mean().backward()
        >>> optimizer.step()
        >>> moved = (net[0].weight - before).norm().item()
        >>> round(moved, 4)  # 0.1 · 20, whatever the gradient
        2.0

    References:
        Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271, name a simple rule that raises the
        ansatz at a chosen layer. Their text was not at hand: the rule is the one in the first
        author's public code (dmbeaglehole/neural_collapse_rfm).
    """

    optimizer: Optimizer

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        model: nn.Module | None = None,
        speeds: Mapping[str, float] | None = None,
        target: str | None = None,
        x: Batch | None = None,
        strength: float = 20.0,
        refresh: Schedule | None = None,
        eps: float = 1e-8,
    ) -> None:
        _refuse_wrong_form(optimizer, model, speeds, target, x, refresh)
        _refuse_out_of_range("strength", strength, strictly=True)
        _refuse_out_of_range("eps", eps)
        adaptive = x is not None
        super().__setstate__({"optimizer": optimizer})  # hooks and profiling, but no own groups
        self.model = model if adaptive else None
        self.x = x
        self.refresh = (refresh or every(100)) if adaptive else None
        self.strength, self.eps = float(strength), float(eps)
        self.speeds = dict(speeds or {})
        self.target: str | None = None
        self.steps = 0
        self._layers = _layers(optimizer, model)
        self._raw: list[tuple[Tensor, Tensor | None]] = []
        if adaptive:
            self._aim(self._lowest())
        elif target is not None:
            self._aim(target)
        self._refuse_wrong_speeds(self.speeds)

    # what an optimiser is made of is that of the optimiser inside
    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Those of the optimiser inside."""
        return self.optimizer.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]  # noqa: ANN401 - as torch has it
        """That of the optimiser inside."""
        return self.optimizer.state

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """Those of the optimiser inside."""
        return self.optimizer.defaults

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As the optimiser inside does it."""
        self.optimizer.zero_grad(set_to_none)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group to the optimiser inside.

        Raises:
            InputError: a parameter that is not the model's.
        """
        given = param_group["params"]
        added = [given] if isinstance(given, Tensor) else list(given)
        layers = dict(self._layers)
        for item in added:
            if isinstance(item, tuple):
                layers[item[1]] = layer_of(item[0])
        _refuse_unnamed(layers, (i[1] if isinstance(i, tuple) else i for i in added))
        self.optimizer.add_param_group({**param_group, "params": added})
        self._layers = layers
        self._refuse_wrong_speeds(self.speeds)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401
        """One step of the optimiser inside, from limited gradients.

        Args:
            closure: evaluates the model again and returns the loss; its gradients are limited at
                every evaluation.

        Returns:
            What the optimiser inside returns.
        """
        if self.refresh is not None and self.refresh(self.steps):
            self._aim(self._lowest())
        try:
            if closure is None:
                self._limit()
                loss = self.optimizer.step()
            else:
                loss = self.optimizer.step(self._limited(closure))
        finally:
            self._restore()
        self.steps += 1
        return loss

    def _limited(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def limited() -> Any:  # noqa: ANN401 - whatever the closure returns
            self._restore()
            loss = closure()
            self._limit()
            return loss

        return limited

    @torch.no_grad()
    def _limit(self) -> None:
        """Put limited gradients in the place of the raw ones, which are kept."""
        own = ((p, p.grad) for p in _parameters(self.optimizer))
        raw = {p: _coalesced(g) for p, g in own if g is not None}
        factors = self.factors(raw)
        for p, g in raw.items():
            self._raw.append((p, p.grad))
            p.grad = g * factors[p].to(g.device)

    def factors(self, gradients: Mapping[Tensor, Tensor]) -> dict[Tensor, Tensor]:
        """`C/(ε + ‖∇‖_F)` of the layer of every parameter; 0 for a layer without a gradient.

        Args:
            gradients: the gradients, by parameter.
        """
        by_layer: dict[str, list[Tensor]] = {}
        for p in gradients:
            by_layer.setdefault(self._layers[p], []).append(p)
        by_parameter: dict[Tensor, Tensor] = {}
        for layer, parameters in by_layer.items():
            size = _norm([gradients[p] for p in parameters])
            factor = torch.where(size == 0, 0.0, self.speed(layer) / (self.eps + size))
            by_parameter |= dict.fromkeys(parameters, factor)
        return by_parameter

    def _restore(self) -> None:
        for p, gradient in self._raw:
            p.grad = gradient
        self._raw = []

    def speed(self, layer: str) -> float:
        """The speed C of a layer.

        Args:
            layer: its name.
        """
        return self.speeds[layer] if layer in self.speeds else self.speeds[""]

    def _aim(self, target: str | None) -> None:
        if target is None:
            return
        self.target = target
        self.speeds = {target: self.strength, "": 1 / self.strength}
        self._refuse_wrong_speeds(self.speeds)

    def _lowest(self) -> str | None:
        """The hidden layer of the lowest ansatz; the old one where nothing can be measured."""
        assert self.model is not None
        assert self.x is not None
        try:
            table = nfa(self.model, self.x, correlation="pearson")
        except NotFiniteError:
            if self.target is None:
                raise
            return self.target  # the run has diverged, which is not for an optimiser to say
        own = {self._layers[p] for p in _parameters(self.optimizer)}
        values = {str(x): float(table.nfa.sel(layer=x)) for x in table.layer.values}
        values = {x: value for x, value in values.items() if x in own and value == value}
        if not values and self.target is None:
            raise InputError(
                f"the optimiser must train a hidden layer with an ansatz, got {sorted(own)}. "
                "Give `target` or `speeds` instead of `x`."
            )
        return min(values, key=lambda x: values[x]) if values else self.target

    def _refuse_wrong_speeds(self, speeds: Mapping[str, float]) -> None:
        own = {self._layers[p]: None for p in _parameters(self.optimizer)}
        for layer, speed in speeds.items():
            if layer and layer not in own:
                raise InputError(
                    f"every speed must be that of a layer with parameters in the optimiser, got "
                    f"{layer!r}. Layers: {list(own)}."
                )
            _refuse_out_of_range(f"speeds[{layer!r}]", speed)
        left = [layer for layer in own if layer not in speeds]
        if left and "" not in speeds:
            raise InputError(
                f"`speeds` must name every layer, got none for {left}. Add them, or '' for all "
                "others."
            )

    def state_dict(self) -> dict[str, Any]:
        """That of the optimiser inside, with `speed_limits`: speeds, target and steps made."""
        own = {name: getattr(self, name) for name in ("strength", "eps", "target", "steps")}
        return {**self.optimizer.state_dict(), _KEY: {**own, "speeds": dict(self.speeds)}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state dict; from that of the plain optimiser, with the limits as they are.

        Args:
            state_dict: the state of a `SpeedLimited`, or of the optimiser inside.

        Raises:
            InputError: the speeds are those of other layers.
        """
        own = state_dict.get(_KEY)
        if own is not None:
            self._refuse_wrong_speeds(own["speeds"])
        self.optimizer.load_state_dict({k: v for k, v in state_dict.items() if k != _KEY})
        if own is not None:
            vars(self).update({**own, "speeds": dict(own["speeds"])})

    # hooks of state dicts act on the optimiser inside, which reads and writes them
    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """A hook of the optimiser inside."""
        return self.optimizer.register_state_dict_pre_hook(hook, prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """A hook of the optimiser inside."""
        return self.optimizer.register_state_dict_post_hook(hook, prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """A hook of the optimiser inside."""
        return self.optimizer.register_load_state_dict_pre_hook(hook, prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """A hook of the optimiser inside."""
        return self.optimizer.register_load_state_dict_post_hook(hook, prepend)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*_OWN, "_layers", "_raw")}

    def __repr__(self) -> str:
        return f"SpeedLimited(speeds={self.speeds}, eps={self.eps}, optimizer={self.optimizer!r})"


def _layers(optimizer: Optimizer, model: nn.Module | None) -> dict[Tensor, str]:
    """The name of the layer of every parameter."""
    named: Iterable[tuple[str, Tensor]] = (
        (name, p)
        for group in optimizer.param_groups
        for name, p in zip(group.get("param_names", ()), group["params"], strict=False)
    )
    if model is not None:
        named = unwrap(model).named_parameters()
    layers = {p: layer_of(name) for name, p in named}
    _refuse_unnamed(layers, _parameters(optimizer))
    return layers


def _parameters(optimizer: Optimizer) -> Iterator[Tensor]:
    return (p for group in optimizer.param_groups for p in group["params"])


def _coalesced(gradient: Tensor) -> Tensor:
    return gradient.coalesce() if gradient.is_sparse else gradient


def _norm(gradients: list[Tensor]) -> Tensor:
    """`‖∇‖_F` over all parameters of a layer, in float32 at least."""
    sizes = [_norm_of_any_size(g.values() if g.is_sparse else g) for g in gradients]
    if len(sizes) == 1:
        return sizes[0]
    return _norm_of_any_size(torch.stack([s.to(sizes[0].device) for s in sizes]))


def _norm_of_any_size(values: Tensor) -> Tensor:
    """`‖x‖`, also where float32 does not hold the squares; no value is read, which would wait."""
    values = torch.view_as_real(values) if values.is_complex() else values
    wide = torch.promote_types(values.dtype, torch.float32)
    size = torch.linalg.vector_norm(values, dtype=wide)
    if values.numel() == 0:
        return size
    unit = values.abs().amax().to(wide).clamp_min(torch.finfo(wide).tiny)
    fits = (size > SQUARES_FIT[0]) & (size < SQUARES_FIT[1])
    return torch.where(fits, size, unit * torch.linalg.vector_norm(values / unit, dtype=wide))


def _refuse_unnamed(layers: Mapping[Tensor, str], parameters: Iterable[Tensor]) -> None:
    for p in parameters:
        if p not in layers:
            raise InputError(
                f"every parameter of the optimiser must be one of the model's, got one of shape "
                f"{tuple(p.shape)} that is not. Pass the model that it trains as `model`."
            )


def _refuse_wrong_form(
    optimizer: Optimizer,
    model: nn.Module | None,
    speeds: Mapping[str, float] | None,
    target: str | None,
    x: Batch | None,
    refresh: Schedule | None,
) -> None:
    if not isinstance(optimizer, Optimizer):
        raise InputError(
            f"`optimizer` must be a torch.optim.Optimizer, got {type(optimizer).__name__}. "
            "Build it first, then wrap it."
        )
    forms = {"speeds": speeds, "target": target, "x": x}
    given = [name for name, value in forms.items() if value is not None]
    if len(given) != 1:
        raise InputError(f"one of `speeds`, `target` and `x` must be given, got {given or 'none'}.")
    if x is not None and model is None:
        raise InputError("`model` must be given with `x`, got none. Its ansatz is measured.")
    if x is None and refresh is not None:
        raise InputError("`refresh` must come with `x`, got it without. Only then is it used.")


def _refuse_out_of_range(name: str, value: float, *, strictly: bool = False) -> None:
    if not (0 < value < inf or (value == 0 and not strictly)):
        sign = ">" if strictly else "≥"
        raise InputError(f"`{name}` must be a finite number {sign} 0, got {value}.")
