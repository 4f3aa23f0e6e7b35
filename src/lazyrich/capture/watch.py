"""What layers see during one forward pass: hooks on modules, and a mode for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lazyrich.capture import modules as layers
from lazyrich.capture.arrangement import (
    Order,
    arranged,
    arrangement,
    coded_directions,
    is_plain,
)
from lazyrich.capture.isolation import Leaves, dense_gradient
from lazyrich.capture.pieces import Piece, all_of, finder, is_wrapped
from lazyrich.capture.products import Operation, Products
from lazyrich.capture.readers import Product


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a module, or one product by an operation.

    Attributes:
        inputs: what it was given, detached; for a norm, already normalised.
        outputs: what it returned, detached.
        edge: where gradients on its output are read from the graph.
        take: function from a tensor shaped like the result of the operation to one like `outputs`;
            None if that is the same.
        turn: number of the operation it is, in the order of their calls.
        order: rows of every sample among those of the operation; None of a module's.
    """

    inputs: Tensor
    outputs: Tensor
    edge: Any
    take: Callable[[Tensor], Tensor] | None = None
    turn: int = -1
    order: Order | None = None

    def gradient(self, found: Tensor | None, name: str) -> Tensor:
        """A gradient on the output, as autograd gave it, in the layout of `outputs`."""
        if found is None or self.take is None:
            return dense_gradient(found, self.outputs, name)
        return self.take(dense_gradient(found, found, name))


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A layer as the pass met it.

    Attributes:
        module: the module that was called, or the form of a product outside of known ones.
        weight: the weight that acted, detached; None for a norm without.
        tensors: the parameters, or parts of them, act as its `weight` and `bias`.
        calls: the calls, in order.
    """

    module: layers.Form
    weight: Tensor | None
    tensors: dict[str, Piece]
    calls: list[Call] = field(default_factory=list)


class Sights:
    """Notes the calls of one forward pass of a model.

    Args:
        model: the plain module.
        leaves: the copies on which it runs.
        samples: number of samples in the batch.
    """

    def __init__(self, model: nn.Module, leaves: Leaves, samples: int) -> None:
        self.sights: dict[str, Sight] = {}
        self.reasons: dict[str, str] = {}
        self._model, self._leaves, self.samples = model, leaves, samples
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._find = finder(leaves, self._names.values())
        self._inside: list[bool] = []
        self._turn = 0
        self._tables: dict[int, tuple[Tensor, int, Product]] = {}

    @contextmanager
    def on(self) -> Iterator[None]:
        """Sights what runs inside."""
        with ExitStack() as stack:
            for name, module in self._model.named_modules():
                if layers.is_captured(module):
                    enter = module.register_forward_pre_hook(self._enter(name), with_kwargs=True)
                    stack.callback(enter.remove)
                    leave = module.register_forward_hook(
                        self._leave(name, self._tensors(module)), with_kwargs=True, always_call=True
                    )
                    stack.callback(leave.remove)
            stack.enter_context(Products(self._operation))
            yield

    def _enter(self, name: str) -> Any:  # noqa: ANN401 - torch's hook type
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:  # noqa: ANN401
            reason = layers.reason_to_skip(module, _first(args, kwargs), self.samples)
            if reason:
                self.reasons[name] = reason
            self._inside.append(reason is None)

        return hook

    def _leave(self, name: str, tensors: dict[str, Piece]) -> Any:  # noqa: ANN401
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:  # noqa: ANN401
            if not self._inside.pop() or not isinstance(output, Tensor):
                return output
            z = _begun(output)
            weight = getattr(module, "weight", None)
            sight = self.sights.get(name)
            if sight is None or not isinstance(sight.module, nn.Module):
                acting = None if weight is None else weight.detach()
                sight = Sight(module=module, weight=acting, tensors=tensors)
                self.sights[name] = sight
            h = _kept(_first(args, kwargs), weight)
            edge = torch.autograd.graph.get_gradient_edge(z)
            sight.calls.append(Call(inputs=h, outputs=z.detach(), edge=edge))
            return z.clone()  # an in-place activation must not change z

        return hook

    def _tensors(self, module: nn.Module) -> dict[str, Piece]:
        """A parametrized weight is no parameter and not listed."""
        return {
            role: all_of(self._names[id(p)], p)
            for role, p in module.named_parameters(recurse=False)
            if role in ("weight", "bias")
        }

    def _operation(self, operation: Operation) -> Tensor:
        turn, self._turn = self._turn, self._turn + 1
        z = operation.result
        if any(self._inside) or is_wrapped(z) or z.is_nested:
            return z
        try:
            found = [p for p in operation.products(self._find) if p.inputs.ndim > 1]
        except TypeError:  # called in a way of older versions, which the readers do not know
            return z
        products = found or self._joined(operation)
        if not products:
            return z
        z = _begun(z)
        edge = torch.autograd.graph.get_gradient_edge(z)
        for product in products:
            if isinstance(product.form, layers.Windows) and len(z) != self.samples:
                self._refuse(product)
                continue
            call = Call(
                inputs=_kept(product.inputs, product.weight),
                outputs=product.rows(z.detach()),
                edge=edge,
                take=product.rows,
                turn=turn,
            )
            self._sight(product).calls.append(call)
        result = z.clone()
        if operation.name == "embedding" and len(found) == 1:
            self._tables[id(result)] = (result, turn, found[0])
        return result

    def _joined(self, operation: Operation) -> list[Product]:
        """Vectors that all samples share, positions mostly, where they are added to each sample's.

        The lookup itself has no rows of samples; its sum has.
        """
        if operation.name != "add":
            return []
        z, every = operation.result, [self._tables.get(id(x)) for x in operation.operands]
        shared = [known for known in every if known and known[0].shape != z.shape]
        if len(shared) != 1 or len(operation.operands) != 2:
            return []
        ((_, turn, product),) = shared
        calls = self._sight(product).calls
        calls[:] = [call for call in calls if call.turn != turn]  # without the lookup's own
        tokens = product.inputs[..., 0].expand(z.shape[:-1])[..., None]
        return [replace(product, inputs=tokens)]

    def _refuse(self, product: Product) -> None:
        piece = self._find(product.weight)
        assert piece is not None  # only such products are made
        name = next(_names(piece, product.label))
        self.reasons[name] = layers.another_layout(product.inputs, self.samples)

    def _sight(self, product: Product) -> Sight:
        """That of the same part of the same parameter, or a new one."""
        piece = self._find(product.weight)
        assert piece is not None  # only such products are made
        bias = self._find(product.bias)
        for name in _names(piece, product.label):
            known = self.sights.get(name)
            if known is None:
                tensors = {"weight": piece, **({"bias": bias} if bias else {})}
                weight = product.weight.detach()
                made = Sight(module=product.form, weight=weight, tensors=tensors)
                return self.sights.setdefault(name, made)
            same = not isinstance(known.module, nn.Module) and known.module == product.form
            if same and known.tensors["weight"] == piece:
                if known.tensors.get("bias") != bias:
                    known.tensors.pop("bias", None)  # not in all calls: it has no factor
                return known
        raise AssertionError("the last name is of this piece alone")


Orders = Mapping[tuple[str, int], Order]
"""By layer and turn."""


def by_samples(
    watch: Sights,
    outputs: Tensor,
    counted: Tensor | None = None,
    positions: int = 0,
    orders: Orders | None = None,
) -> dict[str, Sight]:
    """All sights, the rows of products ordered by samples; without those that cannot be.

    Args:
        watch: the watch after the pass; its `reasons` are told what is left out.
        outputs: f, (samples, outputs), with its graph.
        counted: the outputs that count; None if all do.
        positions: number of positions of a padded sequence; 0 if none is padded.
        orders: orders of an earlier look. If they fit all rows, they are taken, unproved.
    """
    products = {name: sight for name, sight in watch.sights.items() if _is_of_rows(sight)}
    edges = {call.turn: call.edge for sight in products.values() for call in sight.calls}
    if not edges:
        return watch.sights
    if orders and all(_fits(call, orders.get((n, call.turn))) for n, call in _calls(products)):
        return watch.sights | {
            name: replace(sight, calls=[_in(x, orders[name, x.turn]) for x in sight.calls])
            for name, sight in products.items()
        }
    with torch.inference_mode(False):
        count = 1.0 if counted is None else counted
        plain, coded = (
            dict(zip(edges, _gradients(outputs, list(edges.values()), v * count), strict=True))
            for v in coded_directions(outputs.detach())
        )
    found: dict[str, Sight] = {}
    for name, sight in watch.sights.items():
        if _is_of_rows(sight):
            calls = [_ordered(x, plain, coded, (len(outputs), positions)) for x in sight.calls]
            kept = [call for call in calls if isinstance(call, Call)]
            mixed = any(call is None for call in calls)
            if mixed or not kept:
                why = _MIXED if mixed else _UNUSED
                with_matrix = layers.has_matrix(sight.module)
                watch.reasons[name] = why if with_matrix else layers.no_matrix(sight.module)
                continue
            sight = replace(sight, calls=kept)
        watch.reasons.pop(name, None)
        found[name] = sight
    return found


_MIXED = "its product joins samples, so that its gradients are of none of them"
_UNUSED = "the output does not depend on its product"


def _is_of_rows(sight: Sight) -> bool:
    return not isinstance(sight.module, nn.Module | layers.Windows)


def _gradients(outputs: Tensor, edges: Sequence[Any], v: Tensor) -> Sequence[Tensor | None]:
    found: Sequence[Tensor | None] = torch.autograd.grad(
        outputs, edges, v, retain_graph=True, allow_unused=True
    )
    return found


def _ordered(
    call: Call,
    plain: dict[int, Tensor | None],
    coded: dict[int, Tensor | None],
    sizes: tuple[int, int],
) -> Call | bool | None:
    """A call by samples; False if nothing depends on it, None if it joins them."""
    samples, positions = sizes
    one, other = plain[call.turn], coded[call.turn]
    assert call.take is not None  # that of a product
    if one is None or other is None or not (g := call.take(one)).any():
        return False
    order = arrangement(g, call.take(other), samples)
    if order is None:
        return None
    if positions and order.shape[1] == positions and (order < 0).any():
        order = functional.pad(order, (0, 1), value=-1)  # some rows are not all the positions
    return _in(call, order)


def _in(call: Call, order: Order) -> Call:
    """A product's call with its rows in that order."""
    take = call.take
    assert take is not None
    return replace(
        call,
        inputs=arranged(call.inputs, order),
        outputs=arranged(call.outputs, order),
        take=lambda z: arranged(take(z), order),
        order=order,
    )


def _calls(sights: Mapping[str, Sight]) -> Iterator[tuple[str, Call]]:
    return ((name, call) for name, sight in sights.items() for call in sight.calls)


def _fits(call: Call, order: Order | None) -> bool:
    """Whether a call has the rows of that order, one after the other."""
    return order is not None and is_plain(order, call.outputs.shape[:-1].numel())


def _begun(z: Tensor) -> Tensor:
    """Below frozen layers nothing has a graph: begin one here."""
    return z if z.requires_grad else z.detach().requires_grad_()


def _kept(h: Tensor, weight: Tensor | None) -> Tensor:
    """Inputs, dense; copied where autograd does not guard them against later in-place changes."""
    h = h.detach().to_dense()
    return h if weight is not None and weight.requires_grad else h.clone()


def _first(args: Any, kwargs: Any) -> Any:  # noqa: ANN401
    return args[0] if args else next(iter(kwargs.values()))


def _names(piece: Piece, label: str | None) -> Iterator[str]:
    """What a layer may be called, the shortest first; later ones where that is another layer."""
    owner, dot, own = piece.parameter.rpartition(".")
    if label:
        yield f"{owner}{dot}{label}"
    elif own == "weight":
        yield f"{owner}{piece.suffix()}"
    yield f"{piece.parameter}{piece.suffix()}"
    yield f"{piece.parameter}{piece.suffix()}[as {' × '.join(map(str, piece.size))}]"
    yield f"{piece.parameter}[{piece.offset}: {piece.size} by {piece.stride}]"
