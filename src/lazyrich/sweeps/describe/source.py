"""Which code an experiment is: the version of this package, and a hash of its own files."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import CodeType
from typing import Any

from lazyrich.sweeps.describe.experiment import Experiment


def code_of(experiment: type[Experiment]) -> dict[str, str]:
    """The version of lazyrich, and the SHA-256 of the files in which an experiment is written.

    The files are those that define it and its methods, inherited ones included; what they import
    is not in the hash, except this package, which the version stands for.

    Args:
        experiment: the class.

    Returns:
        `lazyrich` and `source`; the source is "" where there is no file.

    Example:
        >>> from lazyrich.sweeps import Decay
        >>> sorted(code_of(Decay))
        ['lazyrich', 'source']
    """
    from lazyrich import __version__

    names = {name for kind in experiment.__mro__ for name in _files(kind)}
    texts = [text for name in sorted(names) if (text := _read(name)) is not None]
    source = sha256(b"".join(texts)).hexdigest() if texts else ""
    return {"lazyrich": __version__, "source": source}


def changed_code(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The beginning of a sentence: which code is another one.

    Args:
        was: the recorded fingerprint, of `code_of`.
        now: the present fingerprint, of `code_of`.

    Example:
        >>> changed_code({"lazyrich": "1", "source": "a"}, {"lazyrich": "2", "source": "b"})
        "lazyrich (1, now 2) and the experiment's own files have changed"
    """
    parts = []
    if was["lazyrich"] != now["lazyrich"]:
        parts.append(f"lazyrich ({was['lazyrich']}, now {now['lazyrich']})")
    if was["source"] != now["source"]:
        parts.append("the experiment's own files")
    verb = "has" if len(parts) == 1 and "files" not in parts[0] else "have"
    return f"{' and '.join(parts)} {verb} changed"


def mixed_devices(places: Sequence[str]) -> str:
    """What is to be said of points that were computed on different devices.

    Args:
        places: device and precision, each once.

    Example:
        >>> print(mixed_devices(["cpu, full", "cuda (H100), full"]).partition(":")[0])
        points of this study were computed on different devices
    """
    return (
        f"points of this study were computed on different devices: on {'; on '.join(places)}. They "
        "differ in the last digits of every step, and in more between precisions. Run the study "
        "into another folder to compute all of them alike."
    )


def _files(kind: type[Any]) -> set[str]:
    """The files in which the methods of one class are written, unless they are Python's own."""
    if kind.__module__ in sys.stdlib_module_names:
        return set()
    parts = [inspect.unwrap(getattr(part, "__func__", part)) for part in vars(kind).values()]
    codes = [getattr(part, "__code__", None) for part in parts]
    names = {code.co_filename for code in codes if isinstance(code, CodeType)}
    module = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return (names | {module or ""}) - {dataclasses.__file__, ""}


def _read(name: str) -> bytes | None:
    """The content of a file; None if there is none, as for methods that dataclasses make."""
    try:
        return Path(name).read_bytes()
    except OSError:
        return None
