"""Where a point lies, read from what is recorded, against the study that made the point."""

import json

import pytest

from lazyrich import InputError
from lazyrich.sweeps.describe.description import Study
from lazyrich.sweeps.describe.recorded import Recorded, coordinate_of

REGIMES = [
    {"label": "wide", "width": 512},
    {"label": "slow", "rate": 0.01},
    {"label": 3, "width": 8, "rate": 1},
]
STUDIES = {
    "one point": {},
    "axes and seeds": {"axes": {"width": [64, 16], "rate": [1, 0.5]}, "seeds": [7, 3]},
    "lists and None": {
        "axes": {"stop": [None, 1], "scales": [[1, 2], [1.0]]},
        "base": {"bias": True},
    },
    "tables": {"axes": {"regime": REGIMES, "stop": [0.1, 0.2]}, "seeds": 2},
    "free points": {
        "axes": {"width": [16, 64], "rate": [0.1, 0.2]},
        "extra": [
            {"width": 32, "rate": 0.1},
            {"width": 16, "rate": 0.2, "seed": 5},  # on the grid, but for its seed
            {"width": 64, "rate": 0.2},  # merged
            {"width": 32, "rate": 0.1},  # twice
            {"width": 8, "rate": 0.3, "seed": [2, 0]},
        ],
        "seeds": 2,
    },
    "free tables": {
        "axes": {"regime": REGIMES, "stop": [0.1]},
        "extra": [
            {"regime": "slow", "stop": 0.3},
            {"regime": {"label": "new", "width": 4}, "stop": 0.1},
        ],
    },
}


def recorded(study):
    return Recorded.of(json.dumps({**json.loads(study.to_json()), "default": study.defaults}))


def made(name):
    return Study(name="s", experiment="tests.sweeps.trials:Trial", **STUDIES[name])


@pytest.mark.parametrize(
    "values",
    [
        [None, "None"],
        [True, "True"],
        [1, "1"],
        [(1, 2), "(1, 2)"],
        ["a", "a\0"],
        [2**53, 2**53 + 1, 0.5],
        [{"label": 1, "width": 8}, {"label": "1", "width": 16}],
    ],
)
def test_values_that_read_alike_in_results_are_refused(values):
    with pytest.raises(InputError, match=r"`axes.other` must have values that differ"):
        Study(name="s", experiment="tests.sweeps.trials:Trial", axes={"other": values})


def test_seeds_that_no_array_holds_are_refused():
    with pytest.raises(InputError, match=r"`seeds` must be .* below 2\^63"):
        Study(name="s", experiment="tests.sweeps.trials:Trial", seeds=[2**63, -5])


@pytest.mark.parametrize("name", STUDIES)
def test_every_point_lies_where_its_study_put_it_and_in_its_order(name):
    study = made(name)
    found = [recorded(study).place(json.loads(point.content)) for point in study.points()]
    assert len(found) == len(study)
    for point, place in zip(study.points(), found, strict=True):
        expected = {axis: coordinate_of(value) for axis, value in point.place.items()}
        assert place.labels == expected
    order = [(not place.on_grid, place.order) for place in found]
    assert order == sorted(order)
    assert len(set(order)) == len(study)


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("other", STUDIES)
def test_points_of_another_study_have_a_place_only_if_they_are_in_both(name, other):
    own = {point.key for point in made(name).points()}
    for point in made(other).points():
        place = recorded(made(name)).place(json.loads(point.content))
        assert (place is not None) == (point.key in own)


def test_a_point_of_more_fields_or_another_experiment_has_none():
    study = made("axes and seeds")
    content = json.loads(next(study.points()).content)
    assert recorded(study).place(content) is not None
    assert recorded(study).place({**content, "experiment": "other:Trial"}) is None
    more = {**content["fields"], "depth": 3}
    assert recorded(study).place({**content, "fields": more}) is None
    fewer = {name: value for name, value in content["fields"].items() if name != "bias"}
    assert recorded(study).place({**content, "fields": fewer}) is None
    assert recorded(study).place({**content, "fields": {**content["fields"], "bias": 0}}) is None
