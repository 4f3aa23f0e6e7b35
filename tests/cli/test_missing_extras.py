"""Every command, and every public name, without one of the extras: one sentence, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import Probe

ROOT = Path(__file__).parents[2]
BLOCKED = """
import sys
from importlib.machinery import PathFinder

BLOCKED = sys.argv[1].split(",")

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        blocked = name.partition(".")[0] in BLOCKED
        return None if blocked else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
"""
COMMAND = BLOCKED + "sys.argv[:2] = ['lazyrich']; from lazyrich.cli import main; main()"
EXTRAS = {  # what is installed together
    "torch": ("torch", "jaxtyping"),
    "plot": ("matplotlib",),
    "data": ("sklearn", "pooch"),
    "store": ("netCDF4", "zarr", "pyarrow"),
    "lightning": ("lightning",),
    "huggingface": ("transformers", "accelerate"),
    "dask": ("dask", "distributed"),
}
SOLVE = ("solve", "--gram", 1, 0, 1, "--moments", 1, 1, 1, "--times", 0)
DIAGRAM = ("diagram", "--x", "output_scale=1:2:3", "--y", "lr=1:2:3")
DIAGNOSE = ("diagnose", "--samples", 32, "--epochs", 1, "--width", 4)
STUDY = 'name = "decay"\nexperiment = "lazyrich.sweeps:Decay"\n[axes]\nrate = [0.1]\n'
COMMANDS = {  # and the extras that each cannot do without
    SOLVE: (),
    (*SOLVE, "--plot", "a.png"): ("plot",),
    ("phase", "--preset", "ntk", "--widths", 10): (),
    ("presets", "--widths", 10): (),
    DIAGRAM: (),
    (*DIAGRAM, "--plot", "b.png"): ("plot",),
    DIAGNOSE: ("torch", "data"),
    (*DIAGNOSE, "--html", "c.html"): ("torch", "plot", "data"),
    ("report", "run.nc", "d.html"): ("torch", "plot", "store"),
    ("report", "run.zarr", "d.html"): ("torch", "plot", "store"),
    ("reproduce", "--papers", ROOT / "papers"): ("plot",),
    ("sweep", "study.toml", "--out", "out", "--workers", 1): (),
    ("sweep", "study.toml", "--out", "out", "--export", "a.nc"): ("store",),
    ("sweep", "study.toml", "--out", "out", "--export", "a.parquet"): ("store",),
    ("sweep", "study.toml", "--out", "out", "--scheduler", "tcp://127.0.0.1:1"): ("dask",),
}
HINT = "Install it with: pip install 'lazyrich["


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("bare")
    (place / "study.toml").write_text(STUDY)
    torch.manual_seed(0)
    probe = Probe(
        nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), (torch.ones(9, 3), torch.zeros(9, 1))
    )
    probe.measure(0)
    probe.save(place / "run.nc")
    probe.save(place / "run.zarr")
    return place


def blocked(folder, code, extras, *arguments):
    modules = ",".join(module for extra in extras for module in EXTRAS[extra])
    call = [sys.executable, "-c", code, modules, *map(str, arguments)]
    return subprocess.run(call, cwd=folder, capture_output=True, text=True)


def one_sentence(done, wanted):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("lazyrich: ")
    assert HINT in done.stderr
    assert done.stderr.partition(HINT)[2].partition("]")[0] in wanted


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(map(str, command))[:60])
def test_after_a_plain_install_every_command_says_what_it_needs(folder, command):
    """What needs nothing works; what needs an extra says so, before it does anything else."""
    done = blocked(folder, COMMAND, EXTRAS, *command)
    if COMMANDS[command]:
        one_sentence(done, COMMANDS[command])
        assert done.stdout == ""
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [(command, extra) for command, extras in COMMANDS.items() for extra in extras],
    ids=lambda part: part if isinstance(part, str) else " ".join(map(str, part))[:60],
)
def test_each_extra_that_a_command_needs_is_named(folder, command, extra):
    one_sentence(blocked(folder, COMMAND, [extra], *command), [extra])


NAMES = (
    BLOCKED
    + """
from types import ModuleType
import lazyrich

def report(module):
    for name in module.__all__:
        try:
            value = getattr(module, name)
        except lazyrich.MissingExtraError as error:
            print(error)
        else:
            if isinstance(value, ModuleType):
                report(value)

if sys.argv[2] == "every name":
    report(lazyrich)
for statement in sys.argv[3:]:
    try:
        exec(statement)
    except lazyrich.MissingExtraError as error:
        print(error)
"""
)
STATEMENTS = {
    "torch": "import lazyrich.optim",
    "plot": "from lazyrich.plot import phase_diagram",
    "data": "lazyrich.study.digits()",
    "store": "from lazyrich._files import write_arrays; import xarray; "
    "write_arrays(xarray.Dataset(), 'a.nc')",
    "lightning": "from lazyrich import LightningCallback",
    "huggingface": "lazyrich.HuggingFaceCallback",
    "dask": "lazyrich.sweeps.dask_cluster('tcp://127.0.0.1:1').__enter__()",
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_public_name_says_which_extra_it_lacks(folder, extra):
    every = "every name" if extra in ("torch", "plot") else "the statement alone"
    done = blocked(folder, NAMES, [extra], every, STATEMENTS[extra])
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said
    assert all(line.endswith(f"pip install 'lazyrich[{extra}]'") for line in said)


def test_a_part_that_an_installed_package_lacks_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError) as caught, lazyrich._public.extras_named():
        raise ModuleNotFoundError("No module named 'torch.something'", name="torch.something")
    assert not isinstance(caught.value, lazyrich.MissingExtraError)
