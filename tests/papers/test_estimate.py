"""How long a study will take, before it starts."""

import os
from dataclasses import dataclass, replace

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from papers import estimate as estimating
from papers import harness
from papers.beaglehole2024alignment.watched import Watched
from papers.estimate import Estimate, estimate, words
from papers.xu2025three.images import Images

import lazyrich as lr

PACE = {"start": 1.0, "steps": 0.25, "looks": 2.0}


@dataclass(frozen=True, kw_only=True)
class Clockwork:
    """Takes so long by a clock of its own."""

    COUNTED = ("steps", "looks")
    SIZED = ("width",)
    width: float = 1.0
    steps: int = 1000
    looks: int = 10
    seed: int = 0

    def run(self):
        spent = PACE["start"] + PACE["steps"] * self.steps + PACE["looks"] * self.looks
        Clockwork.now += self.width * spent
        Clockwork.ran.append(self)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    Clockwork.now, Clockwork.ran = 0.0, []
    monkeypatch.setattr(estimating.time, "perf_counter", lambda: Clockwork.now)


def cost(one):
    return one.width * (PACE["start"] + PACE["steps"] * one.steps + PACE["looks"] * one.looks)


def test_it_is_what_the_runs_take():
    """Whose time is a sum of so much for each step and each look, exactly."""
    left = [Clockwork(width=w, steps=s) for w in (1.0, 3.0) for s in (100, 1000)]
    found = estimate(left, 1, {})
    assert found.seconds == pytest.approx(sum(map(cost, left)))
    assert found.longest == pytest.approx(max(map(cost, left)))
    assert found.runs == 4
    assert found.spent == pytest.approx(Clockwork.now)
    assert found.spent < 0.1 * found.seconds


def test_workers_share_the_runs_and_wait_for_the_longest():
    left = [Clockwork(steps=100) for _ in range(4)]
    one = cost(left[0])
    assert estimate(left, 2, {}).seconds == pytest.approx(2 * one)
    assert estimate(left, 64, {}).seconds == pytest.approx(one)


def test_runs_shorter_than_the_timed_ones_are_not_made_longer():
    short = Clockwork(steps=2, looks=1)
    assert estimate([short], 1, {}).seconds == pytest.approx(cost(short))
    assert max(one.steps for one in Clockwork.ran) == 2


def test_runs_find_the_environment_and_it_is_put_back(monkeypatch):
    seen = []
    monkeypatch.setattr(Clockwork, "run", lambda self: seen.append(os.environ["LAZYRICH_DEVICE"]))
    estimate([Clockwork()], 1, {"LAZYRICH_DEVICE": "cuda"})
    assert set(seen) == {"cuda"}
    assert "LAZYRICH_DEVICE" not in os.environ


def test_what_cannot_be_estimated_is_not():
    assert estimate([], 1, {}) is None
    assert estimate([object()], 1, {}) is None


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(8.4, "8 s"), (125, "2 min"), (3600, "1 h 0 min"), (7320, "2 h 2 min"), (180_000, "2 d 2 h")],
)
def test_times_in_words(seconds, said):
    assert words(seconds) == said


def test_it_is_said_in_words():
    said = str(Estimate(seconds=7320.0, runs=18, longest=600.0, spent=30.0))
    assert said.startswith("about 2 h 2 min for 18 runs, the longest 10 min, by steps that were")


@pytest.mark.parametrize(
    "one",
    [
        Images(
            **{"data": "digits", "samples": 60, "test_samples": 20, "width": 4, "steps": 9},
            **{"parametrisation": "ntk", "evaluations": 2, "measurements": 3, "seed": 0},
        ),
        Watched(
            **{"data": "digits", "samples": 60, "test_samples": 20, "width": 4, "lr": 0.01},
            **{"epochs": 3, "points": 2, "measured": 20, "seed": 0, "batch_size": 20},
        ),
    ],
    ids=["images", "watched"],
)
def test_the_papers_own_runs_can_be_estimated(one):
    for name in (*one.COUNTED, *one.SIZED):
        assert hasattr(one, name)
    assert estimate([one, replace(one, seed=1)], 1, {}).runs == 2


@pytest.mark.parametrize(("seconds", "told"), [(59.0, False), (7320.0, True)])
@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_a_long_study_says_it_before_it_starts_and_counts_what_is_left(
    tmp_path, monkeypatch, capsys, seconds, told, scale
):
    asked = []

    def answer(left, workers, environment):
        asked.append((len(left), workers, dict(environment)))
        return Estimate(seconds=seconds, runs=len(left), longest=1.0, spent=1.0)

    monkeypatch.setattr(harness, "estimate", answer)
    bench = harness.Bench(
        **{"paper": "xu2025three", "figure": "fig1", "scale": scale, "out": tmp_path},
        **{"workers": 1, "environment": {"LAZYRICH_DEVICE": "cpu"}, "progress": True},
    )
    plan = {"experiment": "lazyrich.sweeps:Decay", "name": "decay"}
    bench.sweep(lr.Study(**plan, seeds=1))
    said = capsys.readouterr().err
    assert ("about 2 h 2 min for 1 runs" in said) is False
    assert ("about 2 h 2 min for one run" in said) is told
    bench.sweep(lr.Study(**plan, seeds=3))
    assert asked == [(1, 1, {"LAZYRICH_DEVICE": "cpu"}), (2, 1, {"LAZYRICH_DEVICE": "cpu"})]
