from dataclasses import dataclass

import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.result import Result
from lazyrich.sweeps.run.sweep import sweep
from tests.sweeps.trials import Ghostly, Needy, Odd, Seedless, Still, Thawed, Trial


@dataclass(frozen=True)
class InTheMainFile:
    seed: int = 0

    def run(self):
        return None


InTheMainFile.__module__ = "__main__"


def local():
    @dataclass(frozen=True)
    class Local:
        seed: int = 0

    return Local


REFUSALS = [
    ({"name": ""}, "`name` must be text"),
    ({"base": {"widht": 1}}, "`base` must name fields .* got 'widht'. Did you mean 'width'"),
    ({"base": {"zzz": 1}}, "There are bias, "),
    ({"base": [1]}, "`base` must be a table"),
    ({"base": {"seed": 1}}, "`base` must leave the seed alone"),
    ({"base": {"width": "wide"}}, "the field `width` must be int, got 'wide'"),
    ({"base": {"width": 1.5}}, "must be int, got 1.5"),
    ({"base": {"width": True}}, "must be int, got True"),
    ({"base": {"rate": 10**400}}, "this number is too large"),
    ({"base": {"rate": float("nan")}}, "must be a finite number, got nan"),
    ({"base": {"other": float("inf")}}, "must be a finite number, got inf"),
    ({"base": {"other": "\ud800"}}, "must be text that UTF-8 can hold"),
    ({"base": {"other": {1: 2}}}, "must be a table whose names are text"),
    ({"base": {"other": object}}, "must be a plain value"),
    ({"base": {"loss": "msee"}}, "must be one of 'mse', 'cross_entropy', got 'msee'"),
    ({"base": {"lr": "auto"}}, "must be float or one of 'largest-stable', got 'auto'"),
    ({"base": {"bias": 1}}, "must be bool, got 1"),
    ({"base": {"scales": 1.0}}, "must be a list, got 1.0"),
    ({"base": {"pair": [1]}}, "must be a list of 2"),
    ({"base": {"options": 1}}, "must be a table, got 1"),
    ({"base": {"rate": 20.0}}, "suit Trial, got seed=0: rate times width is above 1000. Change"),
    ({"axes": {"rate": [1, 20]}}, "suit Trial, got rate=20.0, seed=0: rate times"),
    ({"axes": {"rate": [1], "width": [1, 2000]}}, "got rate=1.0, width=2000, seed=0"),
    ({"axes": {"seed": [1]}}, "`axes` must leave the seed alone"),
    ({"axes": {"with": [1]}}, "got 'with'. Did you mean 'width'.* needs tables"),
    ({"axes": {"width": 3}}, r"`axes.width` must be a list or a range, got 3. Write \[1, 2\]"),
    ({"axes": {"width": "abc"}}, "must be a list or a range, got 'abc'"),
    ({"axes": {"width": []}}, "`axes.width` must have a value"),
    ({"axes": {"width": [object()]}}, "`axes.width` must hold plain values"),
    ({"axes": {"width": {"lin": [1, 2, 3]}}}, "must be a list or a range"),
    ({"axes": {"rate": {"log": [1, 2]}}}, "`axes.rate.log` must be low, high and count"),
    ({"axes": {"rate": {"log": [0, 2, 3]}}}, "must have two different limits"),
    ({"axes": {"rate": {"linear": [0, 2, 1]}}}, "must have two different limits"),
    ({"axes": {"width": {"linear": [1, 3, 9]}}}, "must have values that differ, got 1 and 1"),
    ({"axes": {"rate": [1, 1.0]}}, "`axes.rate` must have values that differ, got 1.0 and 1.0"),
    ({"axes": {"r": [{"label": "a", "rate": 1}, 2]}}, "must hold tables with a label or plain"),
    ({"axes": {"r": [{"label": "a", "rat": 1}]}}, "`axes.r` must name fields .* 'rate'"),
    ({"axes": {"r": [{"label": None, "rate": 1}]}}, "`axes.r.label` must be text or a number"),
    (
        {"axes": {"r": [{"label": "a", "rate": 0.1}, {"label": "b"}]}},
        "must have values that differ, got 'a' and 'b'",
    ),
    (
        {"axes": {"r": [{"label": "a", "rate": 1}, {"label": "a", "rate": 2}]}},
        "must have values that differ, got 'a' and 'a'",
    ),
    (
        {"axes": {"r": [{"label": "a", "rate": 1}], "rate": [2]}},
        "`axes` must set every field once, got `rate` in 'r' and in 'rate'",
    ),
    ({"seeds": 0}, "`seeds` must be a count"),
    ({"seeds": [1, 1]}, "`seeds` must be a count"),
    ({"seeds": "12"}, "`seeds` must be a count"),
    ({"seeds": True}, "`seeds` must be a count"),
    ({"extra": 3}, "`extra` must be a list of points, got 3. Write a table for every"),
    ({"extra": "ab"}, "`extra` must be a list of points, got 'ab'"),
    ({"extra": {"width": 1}}, "`extra` must be a list of points"),
    ({"axes": {"width": [1]}, "extra": [{"rate": 1}]}, r"`extra` must give every axis \(width\)"),
    ({"axes": {"width": [1]}, "extra": [object()]}, "`extra` must hold plain values"),
    ({"axes": {"width": [1]}, "extra": [{"width": "x"}]}, "`width` must be int"),
    ({"axes": {"width": [1]}, "extra": [{"width": 2, "seed": 1.5}]}, "`seeds` must be"),
    (
        {"axes": {"width": [1]}, "extra": [{"width": {"label": "w", "width": 2}}]},
        "`extra.width` must be a value as on its axis",
    ),
    (
        {"axes": {"r": [{"label": "a", "rate": 1}]}, "extra": [{"r": "b"}]},
        "`extra.r` must be a value as on its axis, got 'b'. It has 'a'",
    ),
    (
        {"axes": {"r": [{"label": "a", "rate": 1}]}, "extra": [{"r": {"label": "a", "rate": 2}}]},
        "got 'a' and 'a'",
    ),
    ({"axes": {"width": [1]}, "extra": [{"width": 10**6}]}, "got width=1000000, seed=0"),
    ({"experiment": Needy}, "`base` must set depth, which have no default"),
    ({"experiment": Thawed}, "must be a frozen dataclass, got Thawed"),
    ({"experiment": Still}, "must be a class with a method `run`"),
    ({"experiment": Seedless}, "must be a class with a field `seed: int`"),
    ({"experiment": Ghostly}, "must be annotated by names of its module"),
    ({"experiment": Odd, "base": {"where": 1}}, "complex is no kind of plain value"),
    ({"experiment": InTheMainFile}, "other processes can import, got __main__:InTheMain.* Move it"),
    ({"experiment": local()}, "other processes can import, got .*<locals>"),
    ({"experiment": 3}, "`experiment` must be a class or 'module:Class', got 3"),
    ({"experiment": "lazyrich"}, "must be 'module:Class', got 'lazyrich'"),
    ({"experiment": "lazyrich.nowhere:A"}, "must name a class that can be imported"),
    ({"experiment": "lazyrich.sweeps.result:Nope"}, "must name a class that can be imported"),
]


@pytest.mark.parametrize(("parts", "message"), REFUSALS)
def test_what_is_refused_is_named(parts, message):
    with pytest.raises(InputError, match=message):
        Study(**({"name": "n", "experiment": Trial} | parts))


def test_a_point_of_a_large_grid_that_is_refused_is_named_when_it_comes():
    steps = {"linear": [1, 999, 999]}
    study = Study(
        name="n", experiment=Trial, axes={"width": steps, "rate": {"linear": [1, 1.5, 11]}}
    )
    with pytest.raises(InputError, match=r"got width=667, rate=1.5, seed=0: rate times"):
        list(study.points())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "a study must be TOML here, got"),
        ('name = "n"\nseed = 3', "got 'seed'. Did you mean 'seeds'"),
        ("seeds = 3", "a study must have a name"),
        (
            'name = "n"\nexperiment = "tests.sweeps.trials:Trial"\n[base]\nother = 2020-01-01',
            "plain",
        ),
    ],
)
def test_what_is_refused_in_toml(text, message):
    with pytest.raises(InputError, match=message):
        Study.from_toml(text)


def test_what_is_refused_in_json():
    with pytest.raises(InputError, match="a study must be JSON here"):
        Study.from_json("{")
    with pytest.raises(InputError, match="a study must have only"):
        Study.from_json("[1]")


def test_a_sweep_of_a_file_name_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"`study` must be a Study, got 'a.toml'. .*from_toml\(Path"
    ):
        sweep("a.toml", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_are_refused_when_they_are_no_results():
    with pytest.raises(
        InputError, match="`status` must be one of fitted, finished, diverged, fail"
    ):
        Result(status="fine", sentence="")
    with pytest.raises(InputError, match=r"`data` must be an xarray.Dataset, got dict"):
        Result(status="failed", sentence="", data={})
    with pytest.raises(InputError, match="`sentence` must be text, got 3"):
        Result(status="failed", sentence=3)
    assert isinstance(Result(status="failed", sentence="").data, xr.Dataset)
