"""Try an installed lazyrich with its core dependencies alone, by the interpreter that has it.

python -I scripts/try_wheel.py
"""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import lazyrich
from lazyrich._public import EXTRAS

SOURCE = Path(__file__).parents[1] / "src" / "lazyrich"
INSTALLED = Path(lazyrich.__file__).parent
BARE = ("theory", "phases", "numerics", "vocabulary", "sweeps")  # these need no extra
SOLVE = "solve --gram 1e-4 2e-6 3e-4 --lr 0.1 0.1 --moments 1 1 1 --times 0,20,inf"
COMMANDS = ("--help", "--version", SOLVE, "presets", "cite --bibtex", "phase abc a=0,0 b=0,0 c=0")


def files(folder: Path) -> set[str]:
    """What a package holds, but for what Python compiles."""
    every = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in every if "__pycache__" not in path.parts}


def imported() -> tuple[int, int]:
    """Import every module; how many there are, and how many want an extra.

    Raises:
        ImportError: a module wants what is neither a core dependency nor an extra, or wants an
            extra where none is needed.
    """
    names = [found.name for found in walk_packages(lazyrich.__path__, "lazyrich.", onerror=_quiet)]
    without = 0
    for name in names:
        if name.endswith("__main__"):
            continue
        try:
            import_module(name)
        except ImportError as error:
            bare = name.split(".")[1] in BARE
            if bare or not (isinstance(error, lazyrich.MissingExtraError) or error.name in EXTRAS):
                raise
            without += 1
    return len(names), without


def _quiet(_: str) -> None:
    """A package that wants an extra is imported below, where the reason is looked at."""


def main() -> None:
    """Say what was tried; anything wrong raises."""
    assert "site-packages" in INSTALLED.parts, f"{INSTALLED} is no installed package"
    missing, foreign = files(SOURCE) - files(INSTALLED), files(INSTALLED) - files(SOURCE)
    assert not missing | foreign, f"not in the wheel: {missing}; only there: {foreign}"
    modules, without = imported()
    command = str(Path(sys.executable).with_name("lazyrich"))
    for line in COMMANDS:
        done = subprocess.run([command, *line.split()], capture_output=True, text=True)
        assert done.returncode == 0, f"lazyrich {line}: {done.stderr}"
        assert done.stdout, f"lazyrich {line} says nothing"
    refused = subprocess.run([command, "diagnose"], capture_output=True, text=True)
    assert refused.returncode == 2, refused.stderr
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}: {modules} modules, {without} of them for an extra; the command runs")


if __name__ == "__main__":
    main()
