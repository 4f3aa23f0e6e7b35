"""What `import lazyrich` offers, and what it does not load."""

import pickle
import subprocess
import sys

import pytest

import lazyrich
from lazyrich import _errors


def test_every_public_name_resolves():
    assert dir(lazyrich) == sorted(lazyrich.__all__)
    for name in lazyrich.__all__:
        assert getattr(lazyrich, name) is not None


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="module 'lazyrich' has no attribute 'flown'"):
        lazyrich.flown  # noqa: B018


@pytest.mark.parametrize("statement", ["import lazyrich", "from lazyrich import flow, descent"])
def test_theory_loads_neither_torch_nor_matplotlib(statement):
    check = (
        f"import sys; {statement}; print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_a_missing_matplotlib_is_said():
    code = "import sys; sys.modules['matplotlib'] = None; import lazyrich; lazyrich.plot"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr.splitlines()[-1].startswith("lazyrich.MissingExtraError")
    assert "pip install 'lazyrich[plot]'" in found.stderr


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
