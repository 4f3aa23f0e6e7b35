"""Which code an experiment is: the version of this package, and a hash of its own files."""

from __future__ import annotations

import dataclasses
import sys
from hashlib import sha256
from pathlib import Path
from types import CodeType
from typing import Any

from lazyrich.sweeps.describe.experiment import Experiment


def code_of(experiment: type[Experiment]) -> dict[str, str]:
    """The version of lazyrich, and the SHA-256 of the files in which an experiment is written.

    The files are those that define its methods, inherited ones included; what they import is not
    in the hash, except this package, which the version stands for.

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


def _files(kind: type[Any]) -> set[str]:
    """The files in which the methods of one class are written, unless they are Python's own."""
    if kind.__module__ in sys.stdlib_module_names:
        return set()
    parts = [getattr(part, "__func__", part) for part in vars(kind).values()]
    codes = [getattr(part, "__code__", None) for part in parts]
    names = {code.co_filename for code in codes if isinstance(code, CodeType)}
    return names - {dataclasses.__file__}


def _read(name: str) -> bytes | None:
    """The content of a file; None if there is none, as for methods that dataclasses make."""
    try:
        return Path(name).read_bytes()
    except OSError:
        return None
