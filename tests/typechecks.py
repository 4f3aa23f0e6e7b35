"""Every call of the measuring rooms is held to its annotations, the shapes of arrays included.

What jaxtyping's own hook does with beartype, done once a call instead of twice and once a function
instead of each time that a nested one is defined: with its hook the checks took two thirds of the
time of these tests. `jaxtyping.config` switches them off as it does there.
"""

import ast
import functools
import inspect
import sys
import typing
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from types import FunctionType, SimpleNamespace

ROOMS = ("lazyrich.capture", "lazyrich.observables", "lazyrich.probe")
DECORATOR = "__checked__"

_checks = {}
"""The check of a function by the identity of its code, which the check itself keeps alive."""


def install():
    """Check all that is imported from the rooms from now on."""
    if loaded := [room for room in ROOMS if room in sys.modules]:
        raise RuntimeError(f"imported before their calls could be checked: {loaded}")
    sys.meta_path.insert(0, _Finder())


def checked(what):
    """A function, or a dataclass, whose calls fail where they break their annotations."""
    if inspect.isclass(what):
        if "__dataclass_fields__" in vars(what) and "__init__" in vars(what):
            what.__init__ = checked(what.__init__)
        return what
    if id(what.__code__) not in _checks:
        _checks[id(what.__code__)] = _check(what)
    return _checks[id(what.__code__)](what)


def _check(function):
    """What makes the checked one of a function of this code, whatever its closure holds."""
    import beartype
    import jaxtyping

    hints = _hints(function)
    bare = _like(function, function.__kwdefaults__, hints)
    # for a generator, too, at the call and not when the first value is wanted
    bare.__code__ = bare.__code__.replace(co_flags=bare.__code__.co_flags & ~inspect.CO_GENERATOR)
    strict = beartype.beartype(bare)
    if strict is bare:  # nothing is annotated
        return lambda one: one
    shaped = any(_has_shape(hint) for hint in hints.values())
    config, scope = jaxtyping.config, jaxtyping.jaxtyped

    def wrap(one):
        held = {k: one if v is bare else v for k, v in strict.__kwdefaults__.items()}
        assert one in held.values(), "beartype keeps the function that it calls elsewhere"
        check = _like(strict, held, {})

        @functools.wraps(one)
        def call(*args, **kwargs):
            if config.jaxtyping_disable:
                return one(*args, **kwargs)
            if not shaped:
                return check(*args, **kwargs)
            with scope("context"):  # sizes have names within one call
                return check(*args, **kwargs)

        return call

    return wrap


def _like(function, keywords, hints):
    code, names = function.__code__, function.__globals__
    twin = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    twin.__kwdefaults__, twin.__annotations__ = keywords, hints
    twin.__module__, twin.__qualname__ = function.__module__, function.__qualname__
    return twin


def _hints(function):
    """The annotations as types; those that only a type checker can read are left out."""
    found = {}
    for name, annotation in function.__annotations__.items():
        one = SimpleNamespace(__annotations__={name: annotation})
        try:
            found |= typing.get_type_hints(one, function.__globals__, include_extras=True)
        except Exception:  # a name that stands under TYPE_CHECKING, or in a closure
            continue
    return found


def _has_shape(hint):
    import jaxtyping

    if inspect.isclass(hint) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    inner = typing.get_args(hint)
    flat = [x for one in inner for x in (one if isinstance(one, list) else [one])]
    return any(_has_shape(one) for one in flat)


class _Decorated(ast.NodeTransformer):
    """Functions are checked within their other decorators, classes when they are complete."""

    def visit_FunctionDef(self, node):
        node.decorator_list.append(ast.copy_location(ast.Name(DECORATOR, ast.Load()), node))
        return self.generic_visit(node)

    def visit_ClassDef(self, node):
        node.decorator_list.insert(0, ast.copy_location(ast.Name(DECORATOR, ast.Load()), node))
        return self.generic_visit(node)


class _Loader(SourceFileLoader):
    def get_code(self, fullname):
        path = self.get_filename(fullname)
        tree = _Decorated().visit(ast.parse(self.get_data(path), path))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module):
        setattr(module, DECORATOR, checked)
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if not any(f"{fullname}.".startswith(f"{room}.") for room in ROOMS):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec
