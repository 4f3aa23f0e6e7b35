"""A network at its start and after training, from two files, compared without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lazyrich._errors import InputError
from lazyrich.capture.losses import Loss
from lazyrich.cli.factory import told_error
from lazyrich.probe.probe import Probe

INSIDE = ("state_dict", "model_state_dict", "model")  # where trainers keep the weights
STEPS = ("global_step", "step")
IN_FOLDER = ("model.safetensors", "pytorch_model.bin")
MOST = 5  # names in an error


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights of a file.

    Attributes:
        path: path of the file.
        weights: the weights by name.
        step: how many steps were made; None where the file does not say.
    """

    path: Path
    weights: Mapping[str, Tensor]
    step: int | None


def read_checkpoint(path: Path, option: str) -> Checkpoint:
    """Read a state dict, a trainer's checkpoint with one inside, or a folder of Hugging Face's.

    Args:
        path: path of the checkpoint.
        option: the option that named it.

    Raises:
        InputError: there is none, or it holds something else.
    """
    if not path.exists():
        raise InputError(f"there is no file {str(path)!r}. Give {option} a checkpoint.")
    file = path
    if path.is_dir():
        file = next((path / name for name in IN_FOLDER if (path / name).is_file()), path)
        if file == path:
            raise InputError(
                f"{option} must be a file, or a folder with {' or '.join(IN_FOLDER)}, got "
                f"{str(path)!r}"
            )
    held = _held(file, option)
    weights = next((held[key] for key in INSIDE if isinstance(held.get(key), Mapping)), held)
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        others = [f"{k} ({type(v).__name__})" for k, v in weights.items()]
        raise InputError(
            f"{option} must be a state dict, or hold one as {', '.join(INSIDE)}, got {file.name!r} "
            f"with {_named(others) or 'nothing in it'}. Save model.state_dict(), alone or under "
            "one of these names"
        )
    return Checkpoint(path=path, weights=weights, step=_step(path, held))


def _held(file: Path, option: str) -> Mapping[str, Any]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        held = torch.load(file, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise InputError(
            f"{file.name!r} needs the package safetensors to be read. Install it with: pip install "
            "safetensors"
        ) from error
    except Exception as error:  # whatever a broken or foreign file raises
        raise InputError(
            f"{option} must be a file of tensors and plain values, which {file.name!r} is not: "
            f"{told_error(error)}. Save the state_dict."
        ) from error
    if not isinstance(held, Mapping):
        raise InputError(
            f"{option} must hold a state dict, got a {type(held).__name__} in {file.name!r}. Save "
            "model.state_dict()."
        )
    return held


def _step(path: Path, held: Mapping[str, Any]) -> int | None:
    """The number of steps that a trainer wrote beside the weights."""
    state = path / "trainer_state.json"
    known = json.loads(state.read_text("utf-8")) if state.is_file() else held
    found = next((known[key] for key in STEPS if isinstance(known.get(key), int)), None)
    return None if found is None else int(found)


def put_into(network: nn.Module, checkpoint: Checkpoint) -> None:
    """Give a network the weights of a checkpoint.

    Names may have something before them that is the same for all, such as a trainer's `model.`.

    Args:
        network: any.
        checkpoint: the checkpoint, with its weights.

    Raises:
        InputError: names or shapes do not match; they are told.
    """
    wanted, given = network.state_dict(), checkpoint.weights
    prefix = _prefix(list(wanted), list(given))
    own = {name.removeprefix(prefix): w for name, w in given.items() if name.startswith(prefix)}
    missing = [name for name in wanted if name not in own]
    extra = [name for name in own if name not in wanted]
    if missing or extra:
        raise InputError(
            f"{checkpoint.path.name!r} must hold the weights of the network: it lacks "
            f"{_named(missing) or 'none'}, and has {_named(extra) or 'none'} besides. Name the "
            "network that it was saved from"
        )
    other = [
        f"{name} {tuple(own[name].shape)} instead of {tuple(w.shape)}"
        for name, w in wanted.items()
        if own[name].shape != w.shape
    ]
    if other:
        raise InputError(
            f"{checkpoint.path.name!r} must hold weights of the network's shapes, got "
            f"{_named(other)}. Name the network that it was saved from, with its sizes"
        )
    network.load_state_dict(own)


def _prefix(wanted: Sequence[str], given: Sequence[str]) -> str:
    """What stands before all names of a network in a checkpoint; nothing if no text does."""
    names = set(given)
    first = wanted[0] if wanted else ""
    found = [name.removesuffix(first) for name in given if first and name.endswith(first)]
    fitting = [one for one in found if all(one + name in names for name in wanted)]
    return min(fitting, key=len, default="")


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST
    return ", ".join(names[:MOST]) + (f" and {more} more" if more > 0 else "")


def between(
    network: nn.Module, initial: Path, trained: Path, batch: tuple[Any, Any], loss: Loss, seed: int
) -> tuple[Probe, tuple[str, ...]]:
    """Measure a network at its start and after training.

    Args:
        network: the network to train; it ends with the trained weights.
        initial: checkpoint of the start.
        trained: checkpoint of the end.
        batch: the batch to look at.
        loss: loss of the outputs.
        seed: seed of random directions.

    Returns:
        The probe, and what has to be known besides.
    """
    first, last = read_checkpoint(initial, "--initial"), read_checkpoint(trained, "--trained")
    put_into(network, last)  # refuses what does not fit before anything is measured
    put_into(network, first)
    probe = Probe(network, batch, loss, samples=None, seed=seed)
    begun = first.step or 0
    probe.measure(begun)
    put_into(network, last)
    known = last.step is not None and last.step > begun
    probe.measure(last.step if known and last.step is not None else begun + 1)
    unsaid = "The files do not say how many steps were made between them: it stands as one."
    return probe, () if known else (unsaid,)
