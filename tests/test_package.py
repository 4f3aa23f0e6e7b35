"""What `import lazyrich` loads, and what is said where an extra is missing."""

import pickle
import subprocess
import sys

import pytest

import lazyrich
from lazyrich import _errors

HEAVY = ("numpy", "scipy", "xarray", "numba", "torch", "matplotlib")
EXTRAS = ("torch", "jaxtyping", "matplotlib", "sklearn", "pooch", "netCDF4", "zarr", "pyarrow")
FRAMEWORKS = ("lightning", "transformers", "accelerate", "dask", "distributed")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import lazyrich", []),
        ("from lazyrich import theory, sweeps, study, vocabulary", []),
        ("from lazyrich.vocabulary import Quantity, Phase", []),
        ("from lazyrich.theory.two_layer_linear import flow", ["numpy", "scipy", "xarray"]),
        ("from lazyrich.theory.two_layer_linear import descent", [*HEAVY[:4]]),
    ],
)
def test_only_what_is_used_is_loaded(statement, loaded):
    found = run(f"import sys; {statement}; print([m for m in {HEAVY} if m in sys.modules])")
    assert found.stdout.strip() == str(loaded), found.stderr


WITHOUT_EXTRAS = f"""
import sys
from importlib.machinery import PathFinder
from types import ModuleType

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in {(*EXTRAS, *FRAMEWORKS)} else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
import lazyrich

def report(module):
    for name in module.__all__:
        try:
            value = getattr(module, name)
        except lazyrich.MissingExtraError as error:
            print(f"{{module.__name__}}.{{name}}: {{error}}")
        else:
            if isinstance(value, ModuleType):
                report(value)

report(lazyrich)
"""


@pytest.fixture(scope="module")
def missing():
    """What is said of each name that does not load without the extras."""
    found = run(WITHOUT_EXTRAS)
    assert found.returncode == 0, found.stderr
    return dict(line.split(": ", 1) for line in found.stdout.splitlines())


@pytest.mark.parametrize(
    ("path", "package", "extra"),
    [
        ("lazyrich.Probe", "PyTorch", "torch"),
        ("lazyrich.probe.Dialled", "PyTorch", "torch"),
        ("lazyrich.study.train", "PyTorch", "torch"),
        ("lazyrich.observables", "PyTorch", "torch"),
        ("lazyrich.optim", "PyTorch", "torch"),
        ("lazyrich.plot", "matplotlib", "plot"),
        ("lazyrich.write_report", "matplotlib", "plot"),
        ("lazyrich.LightningCallback", "Lightning", "lightning"),
        ("lazyrich.HuggingFaceCallback", "Transformers", "huggingface"),
    ],
)
def test_a_missing_extra_is_said_in_one_sentence(missing, path, package, extra):
    assert missing[path] == (
        f"this needs {package}, which is not installed. "
        f"Install it with: pip install 'lazyrich[{extra}]'"
    )


def test_the_theory_and_the_sweeps_need_no_extra(missing):
    without = ("lazyrich.theory", "lazyrich.phases", "lazyrich.sweeps", "lazyrich.vocabulary")
    assert [path for path in missing if path.startswith(without)] == []
    assert not {"lazyrich.PRESETS", "lazyrich.parameter_diagram", "lazyrich.sweep"} & set(missing)


def test_a_module_that_is_no_extra_is_a_plain_import_error():
    found = run("import sys; sys.modules['numpy'] = None; import lazyrich; lazyrich.mechanisms")
    assert found.stderr.splitlines()[-1].startswith("ModuleNotFoundError: import of numpy")


def test_errors_are_what_python_calls_them():
    assert issubclass(lazyrich.InputError, ValueError)
    assert issubclass(lazyrich.MissingExtraError, ImportError)
    assert issubclass(lazyrich.ConvergenceError, lazyrich.LazyRichError)
    with pytest.raises(ImportError, match=r"pip install 'lazyrich\[torch\]'"):
        raise lazyrich.MissingExtraError("PyTorch", "torch")


ERRORS = [error for error in vars(_errors).values() if isinstance(error, type)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_errors_are_public_and_say_so(error):
    assert f"{error.__module__}.{error.__qualname__}" == f"lazyrich.{error.__name__}"
    assert getattr(lazyrich, error.__name__) is error
    arguments = ("PyTorch", "torch") if error is lazyrich.MissingExtraError else ("the reason",)
    raised = error(*arguments)
    back = pickle.loads(pickle.dumps(raised))
    assert (type(back), str(back)) == (error, str(raised))
