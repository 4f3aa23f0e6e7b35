"""What the observables are compared with: the recipes of torch.func, nngeometry and the papers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from nngeometry.backend import TorchHooksJacobianBackend
from nngeometry.layercollection import LayerCollection
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lazyrich.capture import modules as geometry


def kernel_by_jacobians(model: nn.Module, x: Tensor) -> Tensor:
    """Per-sample Jacobians by vmap(jacrev), contracted: torch.func's own recipe for the NTK."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def one(p: dict[str, Tensor], sample: Tensor) -> Tensor:
        return torch.func.functional_call(model, p, (sample[None],))[0]

    found = torch.func.vmap(torch.func.jacrev(one), (None, 0))(parameters, x)
    n, k = len(x), next(iter(found.values())).shape[1]
    kernel = torch.zeros(n * k, n * k)
    for j in found.values():
        rows = j.reshape(n * k, -1)
        kernel += rows @ rows.T
    return kernel.view(n, k, n, k)


def kernel_by_nngeometry(model: nn.Module, x: Tensor) -> Tensor:
    """The Gram matrix of nngeometry, one batch, with our order of axes."""
    backend = TorchHooksJacobianBackend(model, layer_collection=LayerCollection.from_model(model))
    loader = DataLoader(TensorDataset(x.clone()), batch_size=len(x))
    return backend.get_gram_matrix(loader).permute(1, 0, 3, 2)


def ansatz_by_perturbations(model: nn.Module, x: Tensor, *, chunk: int = 128) -> dict[str, float]:
    """Zero perturbations of all pre-activations, vmap(jacrev), then the d×d matrices.

    The route of the code of arXiv:2402.05271, with its chunks of examples.
    """
    modules = {n: m for n, m in model.named_modules() if geometry.is_linear(m)}
    modules.popitem()  # the readout
    shifts = _zero_shifts(model, modules, x)
    covariances: dict[str, Tensor] = {}

    def outputs(shift: dict[str, Tensor], sample: Tensor) -> Tensor:
        with _shifted(modules, shift):
            return model(sample[None])[0]

    with torch.no_grad():
        for part in x.split(chunk):
            found = torch.func.vmap(torch.func.jacrev(outputs), (None, 0))(shifts, part)
            for name, g in found.items():
                rows = geometry.output_rows(modules[name], g.flatten(0, 2)).flatten(0, 2)
                covariances[name] = covariances.get(name, 0) + rows.T @ rows
        values = {}
        for name, k in covariances.items():
            w = geometry.weight_rows(modules[name], modules[name].weight)[0]
            f, g = w.T @ w, w.T @ k @ w
            values[name] = float((f * g).sum() / (f.norm() * g.norm()))
    return values


@torch.no_grad()
def similarity_by_hooks(model: nn.Module, other: nn.Module, x: Tensor) -> np.ndarray:
    """Unbiased linear CKA of all layers of two networks, in float32 throughout."""
    grams = [[_centred_gram(h) for h in _features(network, x)] for network in (model, other)]
    table = [[_hsic(a, b) for b in grams[1]] for a in grams[0]]
    own = [[_hsic(a, a) for a in side] for side in grams]
    return np.array(
        [
            [float(v / (p * q).sqrt()) for v, q in zip(row, own[1], strict=True)]
            for row, p in zip(table, own[0], strict=True)
        ]
    )


def _features(model: nn.Module, x: Tensor) -> list[Tensor]:
    found: list[Tensor] = []
    with ExitStack() as stack:
        for module in model.modules():
            if geometry.is_linear(module):
                hook = module.register_forward_hook(lambda _, __, z: found.append(z.flatten(1)))
                stack.callback(hook.remove)
        model(x)
    return found


def _centred_gram(h: Tensor) -> Tensor:
    h = h - h.mean(0)
    return (h @ h.T).fill_diagonal_(0)


def _hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741 - the paper's letters
    """HSIC_1 of matrices without a diagonal, times n(n − 3)."""
    n = len(k)
    rows, columns = k.sum(0), l.sum(0)
    mean = rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return (k * l).sum() + mean - 2 * (rows @ columns) / (n - 2)


def _zero_shifts(model: nn.Module, modules: dict[str, nn.Module], x: Tensor) -> dict[str, Tensor]:
    shifts: dict[str, Tensor] = {}
    with ExitStack() as stack, torch.no_grad():
        for name, module in modules.items():

            def keep(_: nn.Module, __: object, z: Tensor, name: str = name) -> None:
                shifts[name] = torch.zeros_like(z)

            stack.callback(module.register_forward_hook(keep).remove)
        model(x[:1])
    return shifts


@contextmanager
def _shifted(modules: dict[str, nn.Module], shift: dict[str, Tensor]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, module in modules.items():

            def add(_: nn.Module, __: object, z: Tensor, name: str = name) -> Tensor:
                return z + shift[name]

            stack.callback(module.register_forward_hook(add).remove)
        yield
