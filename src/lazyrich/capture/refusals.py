"""Modules whose weights cannot be exchanged for copies, refused in a sentence each."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from lazyrich._errors import InputError

_SPREAD = (
    "the model's weights must be whole on each process, got `{}`, which is spread over processes "
    "(FSDP, tensor parallelism or DeepSpeed). Train with DistributedDataParallel, or measure a "
    "whole copy of the model from a checkpoint."
)


def refuse_foreign_weights(model: nn.Module) -> None:
    """Refuse TorchScript, weights without values, and those that are spread over processes.

    Args:
        model: without wrappers.

    Raises:
        InputError: a part of it is one of these.
    """
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                "the model must be a module of Python, got TorchScript at "
                f"`{path or '(root)'}`, whose weights cannot be exchanged for copies. Measure it "
                "as it was before `torch.jit.script` or `torch.jit.trace`."
            )
        if hasattr(module, "_fsdp_wrapped_module"):
            raise InputError(_SPREAD.format(path or "(root)"))
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer):
            raise InputError(
                f"the model's weights must have their shapes, got `{name}` of a lazy module that "
                "was never called. Call the model once on a batch, and make the optimiser then."
            )
        if tensor.is_meta:
            raise InputError(
                f"the model's weights must have values, got `{name}` on the device `meta`. Move "
                "the model with `to_empty(device=...)` and initialise it."
            )
        if _is_spread(tensor):
            raise InputError(_SPREAD.format(name))


def _is_spread(tensor: Tensor) -> bool:
    # by what they bear: the classes of DTensor, FSDP's and DeepSpeed's load much, or are not there
    return any(hasattr(tensor, mark) for mark in ("device_mesh", "_fsdp_extension", "ds_id"))
