"""A class or function of the package has a name of its own: no other module defines it too."""

import ast
from collections import defaultdict
from pathlib import Path

import lazyrich

SOURCE = Path(lazyrich.__file__).parent
# A command of the command line has the name of the function that it calls: sweep, solve.
COMMANDS = SOURCE / "cli"


def defined(source):
    """Classes and functions that a module defines under a name without a leading underscore."""
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in ast.parse(source).body if isinstance(node, kinds)}
    return {name for name in names if not name.startswith("_")}


def shared(sources):
    """Names that several modules define, with these modules."""
    homes = defaultdict(list)
    for module, source in sources.items():
        for name in defined(source):
            homes[name].append(module)
    return {name: sorted(modules) for name, modules in homes.items() if len(modules) > 1}


def test_no_name_is_defined_twice():
    files = [file for file in SOURCE.rglob("*.py") if COMMANDS not in file.parents]
    assert len(files) > 100
    assert shared({str(f.relative_to(SOURCE)): f.read_text("utf-8") for f in files}) == {}


def test_what_counts():
    two = {"a": "class Start: pass\ndef run(): pass", "b": "def run(): pass\ndef _run(): pass"}
    assert shared(two) == {"run": ["a", "b"]}
    assert shared({"a": "def _run(): pass", "b": "def _run(): pass"}) == {}
    assert shared({"a": "from b import run", "b": "def run(): pass"}) == {}
