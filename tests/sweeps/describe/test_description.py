import itertools
import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Literal, Optional

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich import InputError
from lazyrich.sweeps.describe.axes import values_of
from lazyrich.sweeps.describe.changes import differences
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.describe.experiment import experiment_name, resolve
from lazyrich.sweeps.describe.plain import canonical, conform
from tests.sweeps.trials import Outer, Trial

numbers = st.floats(1e-6, 10.0, allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
plains = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
FIELDS = {
    "width": st.integers(1, 90),
    "rate": numbers,
    "stop": st.none() | numbers,
    "lr": numbers | st.just("largest-stable"),
    "bias": st.booleans(),
    "loss": st.sampled_from(["mse", "cross_entropy"]),
    "scales": st.lists(numbers, max_size=3).map(tuple),
    "names": st.lists(texts, max_size=2).map(tuple),
    "options": st.dictionaries(texts, leaves, max_size=2),
}


def distinct(values):
    return st.lists(
        values, min_size=1, max_size=3, unique_by=lambda v: canonical(conform(v, object))
    )


@st.composite
def studies(draw):
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), unique=True, max_size=4))
    on_axis = draw(st.integers(0, len(names)))
    seeds = draw(st.lists(st.integers(-5, 2**40), min_size=1, max_size=3, unique=True))
    return {
        "name": "any",
        "experiment": Trial,
        "base": {name: draw(FIELDS[name]) for name in names[on_axis:]},
        "axes": {name: draw(distinct(FIELDS[name])) for name in names[:on_axis]},
        "seeds": seeds,
    }


def keys(study):
    return [point.key for point in study.points()]


def toml(value):
    """A value in TOML, for which there is no writer in the standard library."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(entry) for entry in value) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" for c in value) + '"'
    return json.dumps(value)


@settings(max_examples=60, deadline=None)
@given(studies())
def test_the_expansion_is_the_product_and_its_points_and_keys_are_distinct(parts):
    study = Study(**parts)
    points = list(study.points())
    rows = itertools.product(*parts["axes"].values(), parts["seeds"])
    names = [*parts["axes"], "seed"]
    expected = [Trial(**(parts["base"] | dict(zip(names, row, strict=True)))) for row in rows]
    assert [asdict(p.experiment) for p in points] == [asdict(trial) for trial in expected]
    assert [[p.place[name] for name in names] for p in points] == [
        [getattr(p.experiment, name) for name in names] for p in points
    ]
    assert len({p.key for p in points}) == len(points) == len(study)


@settings(max_examples=60, deadline=None)
@given(studies())
def test_a_key_is_the_hash_of_the_canonical_content(parts):
    study = Study(**parts)
    for point in study.points():
        content = {"experiment": "tests.sweeps.trials:Trial", "fields": asdict(point.experiment)}
        text = canonical(conform(content, object))
        assert point.key == sha256(text.encode()).hexdigest()


@settings(max_examples=60, deadline=None)
@given(studies(), st.randoms(use_true_random=False))
def test_keys_do_not_depend_on_the_order_of_fields_or_axes(parts, random):
    shuffled = dict(parts)
    for part in ("base", "axes"):
        entries = list(parts[part].items())
        random.shuffle(entries)
        shuffled[part] = dict(entries)
    assert set(keys(Study(**parts))) == set(keys(Study(**shuffled)))


@settings(max_examples=60, deadline=None)
@given(studies())
def test_python_json_and_toml_give_the_same_study(parts):
    study = Study(**parts)
    assert Study.from_json(study.to_json()) == study
    assert keys(Study.from_json(study.to_json())) == keys(study)
    written = json.loads(study.to_json())
    if "null" in study.to_json() or any("\0" in t for t in _texts(written)):
        return  # TOML has neither
    document = "\n".join(f"{name} = {toml(value)}" for name, value in written.items())
    assert keys(Study.from_toml(document)) == keys(study)


def _texts(value):
    if isinstance(value, dict):
        return [t for k, v in value.items() for t in [k, *_texts(v)]]
    if isinstance(value, list):
        return [t for entry in value for t in _texts(entry)]
    return [value] if isinstance(value, str) else []


@settings(max_examples=200, deadline=None)
@given(plains, plains)
def test_the_canonical_text_is_the_same_for_equal_values_only(one, two):
    def typed(value):  # True is not 1 and lists are ordered, otherwise as Python compares
        if isinstance(value, dict):
            return {k: typed(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [typed(entry) for entry in value]
        return (isinstance(value, bool), value)

    same = canonical(conform(one, object)) == canonical(conform(two, object))
    assert same == (typed(one) == typed(two))
    assert canonical(conform(one, object)) == canonical(
        conform(json.loads(json.dumps(one)), object)
    )


def test_numbers_are_the_same_however_they_are_written():
    forms = [1, 1.0, np.float64(1), np.int64(1), np.array(1.0)]
    bases = [{"rate": form, "width": form, "other": form} for form in forms]
    assert len({tuple(keys(Study(name="n", experiment=Trial, base=base))) for base in bases}) == 1
    zero = [Study(name="n", experiment=Trial, base={"other": value}) for value in (0.0, -0.0)]
    assert keys(zero[0]) == keys(zero[1])
    assert str(next(zero[1].points()).experiment.other) == "0.0"


def test_defaults_are_part_of_the_content():
    plain, written = ({}, {"width": 64, "scales": [1.0], "levels": [], "stop": None})
    assert keys(Study(name="a", experiment=Trial, base=plain)) == keys(
        Study(name="b", experiment=Trial, base=written)
    )


def test_keys_are_the_same_in_every_process():
    study = Study(name="n", experiment=Trial, axes={"width": [1, 2], "options": [{"b": 1, "a": 2}]})
    code = "import sys; from lazyrich.sweeps.describe.description import Study as S; "
    code += "print([p.key for p in S.from_json(sys.argv[1]).points()])"
    env = os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": str(Path(__file__).parents[3])}
    out = subprocess.run(
        [sys.executable, "-c", code, study.to_json()],
        env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert out.stdout.strip() == str(keys(study))


def test_this_key_stays_as_it_is():  # else the stores of users would be done again
    (point,) = Study(name="n", experiment="lazyrich.sweeps:Decay").points()
    fields = '{"noise":0,"rate":0.1,"seed":0,"steps":10}'
    text = f'{{"experiment":"lazyrich.sweeps:Decay","fields":{fields}}}'
    assert point.key == sha256(text.encode()).hexdigest()


def test_experiments_are_known_by_the_package_that_offers_them():
    pytest.importorskip("torch")
    from lazyrich.study import Training
    from lazyrich.sweeps import Decay

    for experiment, name in (
        (Training, "lazyrich.study:Training"),
        (Decay, "lazyrich.sweeps:Decay"),
    ):
        assert experiment_name(experiment) == name
        assert resolve(name) is experiment
        assert pickle.loads(pickle.dumps(experiment())) == experiment()
        (named,), (passed,) = (
            Study(name="n", experiment=one).points() for one in (name, experiment)
        )
        assert named.key == passed.key


def test_points_of_a_large_grid_come_one_by_one():
    steps = {"linear": [1, 1000, 1000]}
    start = time.perf_counter()
    study = Study(
        name="n", experiment=Trial, axes={"width": steps, "rate": {"linear": [0.001, 1, 1000]}}
    )
    first = list(itertools.islice(study.points(), 3))
    assert len(study) == 10**6
    assert [p.place["rate"] for p in first] == [0.001, 0.002, 0.003]
    assert time.perf_counter() - start < 2


def test_ranges():
    study = Study.from_toml("""
        name = "n"
        experiment = "tests.sweeps.trials:Trial"
        [axes]
        width = {log = [64, 4096, 7]}
        rate = {log = [1e-3, 0.1, 3]}
        stop = {linear = [0, 1, 3]}
    """)
    assert study.axes["width"] == (64, 128, 256, 512, 1024, 2048, 4096)
    assert study.axes["rate"] == (0.001, 0.01, 0.1)
    assert study.axes["stop"] == (0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (int, (10, 32, 100)),
        (int | None, (10, 32, 100)),
        (Optional[int], (10, 32, 100)),  # noqa: UP045 - the other way to write it
        (int | Literal["all"], (10, 32, 100)),
        (float | None, (10.0, 31.6227766017, 100.0)),
        (int | float, (10.0, 31.6227766017, 100.0)),
    ],
)
def test_a_range_is_rounded_where_the_field_takes_whole_numbers_alone(kind, found):
    values = values_of("samples", {"log": [10, 100, 3]}, {"samples": kind})
    assert values == found
    assert [type(value) for value in values] == [type(value) for value in found]


def test_a_table_sets_several_fields_and_its_label_is_the_place():
    lazy = {"label": "lazy", "rate": 1, "scales": [100]}
    rich = {"label": "rich", "rate": 2.0}
    study = Study(
        name="n",
        experiment=Trial,
        base={"scales": [3]},
        axes={"regime": [lazy, rich], "width": [5, 6]},
    )
    found = [(p.place, p.experiment.rate, p.experiment.scales) for p in study.points()]
    assert found[0] == ({"regime": "lazy", "width": 5, "seed": 0}, 1.0, (100.0,))
    assert found[3] == ({"regime": "rich", "width": 6, "seed": 0}, 2.0, (3.0,))
    assert Study.from_json(study.to_json()) == study


def test_extra_points_come_once_and_those_on_the_grid_are_merged():
    axes = {"regime": [{"label": "a", "rate": 1}, {"label": "b", "rate": 2}], "width": [5, 6]}
    extra = [
        {"regime": "a", "width": 7},
        {"regime": "a", "width": 7.0, "seed": 1},
        {"regime": "b", "width": 5},
        {"regime": "b", "width": 5, "seed": 9},
        {"regime": {"label": "c", "rate": 3}, "width": 5, "seed": [4, 5]},
    ]
    study = Study(name="n", experiment=Trial, axes=axes, seeds=2, extra=extra)
    off = list(study.points())[8:]
    assert [tuple(p.place.values()) for p in off] == [
        ("a", 7, 0), ("a", 7, 1), ("b", 5, 9), ("c", 5, 4), ("c", 5, 5),
    ]  # fmt: skip
    assert len(study) == len(set(keys(study))) == 13
    assert off[-1].experiment.rate == 3
    assert Study.from_json(study.to_json()) == study


def test_a_class_inside_a_class_is_found_by_its_name():
    study = Study(name="n", experiment=Outer.Inner)
    assert Study.from_json(study.to_json()).experiment is Outer.Inner


def test_a_description_is_read_from_a_file(tmp_path):
    text = 'name = "é"\nexperiment = "tests.sweeps.trials:Trial"\n'
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    assert Study.from_toml(tmp_path / "s.toml").name == "é"
    with pytest.raises(InputError, match=r"must be a file that can be read, got .*gone.toml"):
        Study.from_toml(tmp_path / "gone.toml")
    (tmp_path / "s.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match="must be text in UTF-8"):
        Study.from_json(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ({"a": {"x": 1}}, {"a": {"x": 2}}, ["a.x: was 1; is 2."]),
        ({"a": {"x": 1, "y": 0}}, {"a": {"y": 0}}, ["a.x: was 1; is absent."]),
        ({"a": 1}, {"a": True}, ["a: was 1; is True."]),
        ({"s": [0]}, {"s": []}, ["s: was 0; is none."]),
        ({"s": list(range(9))}, {"s": list(range(10))}, ["s: had 9 values; has 10 (new 9)."]),
        ({"s": list(range(9))}, {"s": list(range(8))}, ["s: had 9 values; has 8 (gone 8)."]),
        ({"s": [*range(9)]}, {"s": [*range(8, -1, -1)]}, ["s: had 9 values; has 9 (other order)."]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ],
)  # fmt: skip
def test_changes_are_said_in_words(was, now, said):
    assert differences(was, now) == said
