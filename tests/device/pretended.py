"""A device that is pretended: tensors say that they are on it, and their numbers are here.

A machine without an accelerator runs the code of one with it, with all values. As on the real
device, an operation refuses tensors of two devices, `.numpy()` refuses a tensor that is not on the
CPU, and a tensor made without `device=` is on the CPU. What PyTorch allows is allowed: a CPU scalar
in a pointwise operation, an index on the CPU, and copies from one device to the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

NAME = "pretended"
aten = torch.ops.aten
BETWEEN_DEVICES = (aten.copy_.default, aten._to_copy.default)
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)
INDEXED += (
    aten._unsafe_index.Tensor,
    aten._unsafe_index_put.default,
    aten._index_put_impl_.default,
)


class There(torch.Tensor):
    """A tensor that says it is on the device."""

    @staticmethod
    def __new__(cls, here):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            layout=here.layout,
            device=DEVICE,
        )
        made.here = here
        return made

    def __repr__(self, **_):
        return f"There({self.here!r})"

    def tolist(self):
        return self.here.tolist()

    def numpy(self, **_):
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use .cpu() first."
        )

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of the mode")

    __torch_function__ = torch._C._disabled_torch_function_impl


class Pretended(TorchDispatchMode):
    """Sends every operation to the CPU, and checks that its tensors are on one device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        there = any(isinstance(x, There) for x in tensors)
        asked = kwargs.get("device")
        if there and func not in BETWEEN_DEVICES:
            _check(func, args, tensors)
        inner = tree_map_only(There, lambda x: x.here, (args, kwargs))
        if asked is not None:
            there = torch.device(asked).type == DEVICE.type
            inner[1]["device"] = torch.device("cpu")
        elif func is aten.copy_.default:
            there = isinstance(args[0], There)
        out = func(*inner[0], **inner[1])
        if func is aten._to_copy.default and asked is not None and out is inner[0][0]:
            out = out.clone()
        if not there or func is aten._local_scalar_dense.default:
            return out
        out = tree_map_only(torch.Tensor, _taken_there, out)
        return return_and_correct_aliasing(func, args, kwargs, out)


def _taken_there(here):
    if here._is_zerotensor():  # of forward-mode derivatives, without memory
        here = torch.zeros(here.shape, dtype=here.dtype)
    return There(here)


def _check(func, args, tensors):
    if func in INDEXED:
        tensors = [args[0], *(x for x in args[2:3] if isinstance(x, torch.Tensor))]
        if not isinstance(args[0], There):
            raise RuntimeError(f"{func}: an index on {DEVICE} of a tensor on the CPU")
    elif torch.Tag.pointwise in func.tags:
        tensors = [x for x in tensors if isinstance(x, There) or x.ndim]
    if any(not isinstance(x, There) for x in tensors):
        shapes = [(tuple(x.shape), str(x.device)) for x in tensors]
        raise RuntimeError(f"Expected all tensors of {func} on one device, got {shapes}")


class Backend(backend_registration._DummyBackendModule):
    """What `torch.get_device_module` gives: the device is there within `pretended` alone."""

    present = False

    def is_available(self):
        return Backend.present

    def device_count(self):
        return int(Backend.present)


class Hook(backend_registration._DummyPrivateUse1Hook):
    """What `torch.accelerator` asks: other tests of this process find no accelerator."""

    def is_available(self):
        return Backend.present


def _registered() -> torch.device:
    """The device, made once in a process."""
    backends = backend_registration
    if backends._privateuse1_backend_name != NAME:
        backends._setup_privateuseone_for_python_backend(NAME, Backend(), Hook())
    return torch.device(NAME, 0)


DEVICE = _registered()


@contextmanager
def pretended() -> Iterator[torch.device]:
    """A device that is there as long as the context."""
    with Pretended():
        # so that `torch.tensor(…, device=…)` makes its numbers here and takes them there
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        Backend.present = True
        try:
            yield DEVICE
        finally:
            Backend.present = False
            torch._C._set_only_lift_cpu_tensors(before)
