"""What keeps true of every public name, the names found by themselves."""

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from inspect import getdoc
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("lightning.pytorch")
pytest.importorskip("transformers")

from tests.contracts.public import ROOT, public_modules, public_paths

MODULES = [module.__name__ for module in public_modules()]
REFERENCE = re.compile(r"^::: (\S+)$", re.M)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SCRIPTS = sorted([*(ROOT / "examples").rglob("*.py"), *(ROOT / "papers").rglob("*.py")])
FROM = re.compile(r"^\s*(?:>>> )?(from lazyrich[\w.]* import (?:\([^)]*\)|[^\n(]+))", re.M)
PLAIN = re.compile(r"^\s*(?:>>> )?(import lazyrich[\w.]*)", re.M)


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_shows_its_public_names(name):
    module = sys.modules[name]
    assert dir(module) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(getattr(module, public) is not None for public in module.__all__)


def test_unknown_names_are_attribute_errors():
    for name in MODULES:
        with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'flown'"):
            sys.modules[name].flown  # noqa: B018


def test_an_object_has_one_public_path():
    paths = defaultdict(list)
    for path, value in public_paths().items():
        if not isinstance(value, str | int | float):  # equal words may be one object
            paths[id(value)].append(path)
    assert [found for found in paths.values() if len(found) > 1] == []


def test_a_name_has_one_public_path():
    counted = Counter(path.rpartition(".")[2] for path in public_paths())
    assert [name for name, count in counted.items() if count > 1] == []


def test_errors_say_that_they_are_public():
    errors = {
        path: value
        for path, value in public_paths().items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert len(errors) >= 8
    for path, error in errors.items():
        assert path == f"lazyrich.{error.__name__}" == f"{error.__module__}.{error.__qualname__}"


EVERYTHING = """
import importlib, pkgutil, sys, warnings
from types import ModuleType
warnings.simplefilter("ignore")
import lazyrich

def modules():
    for found in pkgutil.walk_packages(lazyrich.__path__, "lazyrich."):
        if found.name != "lazyrich.__main__":
            importlib.import_module(found.name)

def names(module):
    for name in module.__all__:
        value = getattr(module, name)
        path = f"{module.__name__}.{name}"
        if isinstance(value, ModuleType):
            assert value is sys.modules[path], path
            names(value)

for action in sys.argv[1].split(","):
    modules() if action == "modules" else names(lazyrich)

def collect(module):
    for name in module.__all__:
        value = getattr(module, name)
        if isinstance(value, ModuleType):
            collect(value)
            print("module", value.__name__)
        else:
            print("name", f"{module.__name__}.{name}")
collect(lazyrich)
"""


@pytest.mark.parametrize("order", ["modules,names", "names,modules"])
def test_no_submodule_shadows_a_public_name(order):
    """`two_layer_linear.flow` is the function, whether its module of that name is loaded or not."""
    command = [sys.executable, "-c", EVERYTHING, order]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    kinds = defaultdict(list)
    for line in found.stdout.splitlines():
        kind, path = line.split()
        kinds[kind].append(path)
    assert sorted(kinds["module"]) == sorted(MODULES[1:])
    assert sorted(kinds["name"]) == sorted(public_paths())


def test_every_public_name_is_documented_once():
    pages = [page.read_text("utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")]
    counted = Counter(path for page in pages for path in REFERENCE.findall(page))
    documented = {path for path in counted if path not in MODULES}
    assert documented == set(public_paths())
    assert [path for path, count in counted.items() if count > 1] == []


def imported(text):
    """What a text imports from the package, as whole paths."""
    for statement in FROM.findall(text):
        (node,) = ast.parse(re.sub(r"\n\s*(>>>|\.\.\.)", "\n", statement)).body
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    yield from (statement.split()[1] for statement in PLAIN.findall(text))


@pytest.mark.parametrize("file", [*PAGES, *SCRIPTS], ids=lambda f: str(f.relative_to(ROOT)))
def test_pages_and_scripts_import_from_public_places(file):
    known = {*MODULES, *public_paths(), "lazyrich.__version__"}
    assert set(imported(file.read_text("utf-8"))) - known == set()


def test_docstrings_of_public_objects_import_from_public_places():
    known = {*MODULES, *public_paths()}
    for path, value in public_paths().items():
        members = vars(value).values() if isinstance(value, type) else ()
        texts = [getdoc(one) or "" for one in (value, *members)]
        assert {found for text in texts for found in imported(text)} <= known, path


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (">>> from lazyrich.study import digits, fcn", ["study.digits", "study.fcn"]),
        ("    from lazyrich.study import (\n        digits,\n    )", ["study.digits"]),
        ("import lazyrich.study as made", ["study"]),
        ("lazyrich imports", []),
    ],
)
def test_what_an_import_is(text, paths):
    assert list(imported(text)) == [f"lazyrich.{path}" for path in paths]


def test_modules_are_found():
    assert {"lazyrich", "lazyrich.study", "lazyrich.theory.two_layer_linear"} <= set(MODULES)
    assert all(isinstance(sys.modules[name], ModuleType) for name in MODULES)
    assert len(PAGES) > 30
    assert len(SCRIPTS) > 20
