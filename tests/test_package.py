"""What `import lazyrich` offers, and what it does not load."""

import subprocess
import sys

import pytest

import lazyrich


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
    assert found.stderr.splitlines()[-1].startswith("lazyrich._errors.MissingExtraError")
    assert "pip install 'lazyrich[plot]'" in found.stderr


def test_errors_are_what_python_calls_them():
    assert issubclass(lazyrich.InputError, ValueError)
    assert issubclass(lazyrich.MissingExtraError, ImportError)
    assert issubclass(lazyrich.ConvergenceError, lazyrich.LazyRichError)
    with pytest.raises(ImportError, match=r"pip install 'lazyrich\[torch\]'"):
        raise lazyrich.MissingExtraError("PyTorch", "torch")
