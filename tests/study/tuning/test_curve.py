"""Every sentence of a richness curve, where it is true and where it would be false."""

import re

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from lazyrich import InputError
from lazyrich.study.tuning.curve import RichnessCurve, geometric_mean
from lazyrich.study.tuning.table import curves
from lazyrich.study.tuning.trainings import Trainings, label_of_setting
from lazyrich.study.tuning.trial import NAMES, TuningTask
from lazyrich.sweeps import Result

LEVELS = tuple(4.0**k for k in range(-3, 4))
VALLEY = 0.2 + 0.1 * (np.arange(7.0) - 3) ** 2
SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
TASK = TuningTask(
    factory=lambda width: nn.Linear(1, 1), batch=(torch.ones(1, 1), torch.ones(1, 1)), loss="mse",
    width=4, optimizer=lambda model, width: torch.optim.SGD(model.parameters(), lr=0.1), steps=10,
    batches=[], test=lambda model: 0.0, schedule=None,
)  # fmt: skip


def result(test_loss, **more):
    row = {"loss": 0.1, "ntk_change": 0.5, "richness": 1.0, "time_to_fit": 5.0, **more}
    row |= {"test_loss": test_loss}
    data = xr.Dataset({name: row.get(name, np.nan) for name in NAMES})
    status = "finished" if np.isfinite(test_loss) else "diverged"
    return Result(status=status, sentence="", data=data, seconds=2.0)


def curve(
    means,
    standing=1.0,
    *,
    stands_at=1.0,
    spread=SPREAD,
    losses=None,
    lost=(),
    missing=0,
    noise=None,
):
    """A curve whose seeds lie about these means; `lost` are places where a seed diverged."""
    rows = {}
    for seed, off in enumerate(spread):
        for place, (rho, mean) in enumerate(zip(LEVELS, means, strict=True)):
            wobble = off * (1 if place % 2 else -1) if noise is None else noise[place, seed]
            value = np.nan if place in lost and seed == 1 else mean + wobble
            more = {"richness": rho, "loss": 0.1 if losses is None else losses[place]}
            rows[label_of_setting(rho), 1.0, seed] = result(value, **more)
        rows[label_of_setting(None), 1.0, seed] = result(standing + off / 2, richness=stands_at)
    done = Trainings(
        levels=LEVELS, scales=(1.0,), rows=rows, seeds=tuple(range(len(spread))),
        planned=len(rows) + missing, made=len(rows),
    )  # fmt: skip
    data, stands = curves(TASK, done)
    return RichnessCurve(
        data=data, standing=stands, task=TASK, trainings=done.made, missing=missing
    )


def test_a_clear_valley():
    found = curve(VALLEY, standing=0.6)
    assert (found.advice, found.richness, found.optimum.edge) == ("tune", 1.0, "")
    low, high = found.interval
    assert 1 / 4 < low <= 1 <= high < 4
    said = found.sentence
    assert said.startswith("Tune: turning the dial lowers the test loss of 0.6 by 0.4 (")
    assert "The test loss is lowest at ρ = 1 (interval " in said
    assert "may lie beyond" not in said
    assert "trained equally far" not in said
    assert found.gain.mean == pytest.approx(0.4)


def test_a_gain_is_told_with_its_interval_and_share():
    found = curve(VALLEY, standing=0.6)
    told = re.search(r"by ([\d.]+) \(([\d.]+) to ([\d.]+), (\d+) % of it\)", found.sentence)
    assert [float(one) for one in told.groups()] == pytest.approx(
        [found.gain.mean, found.gain.low, found.gain.high, 100 * 0.4 / 0.6], abs=0.6
    )


def test_where_the_network_stands_at_its_best_there_is_nothing_to_gain():
    found = curve(VALLEY, standing=0.2)
    assert found.advice == "cannot tell"
    assert found.sentence.startswith("Cannot tell whether tuning gains anything: it ")
    assert "Tune" not in found.sentence


def test_what_is_worse_everywhere_is_left():
    found = curve(VALLEY + 1, standing=0.6)
    assert found.advice == "leave"
    assert found.sentence.startswith("Leave it: turning the dial raises the test loss of 0.6 by")
    assert found.gain.mean < 0


def test_a_flat_curve_has_no_optimum():
    rng = np.random.default_rng(0)
    found = curve(np.full(7, 0.5), standing=0.5, noise=0.05 * rng.standard_normal((7, 5)))
    assert "Cannot tell where the optimum is" in found.sentence
    assert found.advice == "cannot tell"
    assert "The test loss is lowest at" not in found.sentence


@pytest.mark.parametrize(("means", "end"), [(VALLEY[3:], "lazy"), (VALLEY[:4], "rich")])
def test_an_optimum_at_the_edge_may_lie_beyond(means, end):
    slope = np.interp(np.linspace(0, 3, 7), np.arange(4), means)
    said = curve(slope).sentence
    assert (
        f"That is the {end} end of what could be trained: the true optimum may lie beyond" in said
    )


def test_an_interval_that_reaches_the_end_says_so():
    means = np.array([2.0, 1.5, 1.0, 0.8, 0.5, 0.2, 0.201])
    found = curve(means, spread=2 * SPREAD)
    assert found.optimum.edge == ""
    assert "The interval reaches the rich end of what could be trained" in found.sentence
    assert "lie beyond" not in found.sentence


@pytest.mark.parametrize(
    ("stands_at", "said"), [(1 / 64, "The optimum is richer than"), (64.0, "The optimum is lazier")]
)
def test_on_which_side_the_network_stands(stands_at, said):
    found = curve(VALLEY, standing=0.6, stands_at=stands_at)
    assert said in found.sentence
    assert "need not be one of richness" not in found.sentence


@pytest.mark.parametrize("beyond", [1 / 1.5, 1.5])
def test_no_side_is_told_within_the_spacing_of_what_was_tried(beyond):
    end = curve(VALLEY).interval[beyond > 1]
    said = curve(VALLEY, standing=0.6, stands_at=end * beyond).sentence
    assert "cannot be told" in said
    assert "The optimum is" not in said


def test_a_gain_where_the_network_stands_already_need_not_be_one_of_richness():
    found = curve(VALLEY, standing=0.6, stands_at=1.0)
    assert "richer or lazier than the network as it stands, at ρ = 1, cannot be told" in (
        found.sentence
    )
    assert "So the gain need not be one of richness" in found.sentence


def test_a_network_without_richness_is_told():
    found = curve(VALLEY, standing=0.6, stands_at=np.nan)
    assert "The network as it stands has no ρ" in found.sentence
    assert "as it stands, –" in str(found)


def test_unequal_training_is_told():
    losses = [0.5, 0.3, 0.1, 0.1, 0.1, 0.1, 0.01]
    said = curve(VALLEY, losses=losses).sentence
    assert (
        "After 10 steps not all are trained equally far: the training loss is 0.01 at ρ = 64 and "
        "0.5 at ρ = 0.016." in said
    )
    assert "trained equally far" not in curve(VALLEY, losses=[0.1] * 6 + [0.06]).sentence


def test_what_diverged_does_not_count_and_is_told():
    found = curve(VALLEY, standing=0.6, lost=(3, 6))
    assert found.richness in (1 / 4, 4.0)
    text = str(found)
    assert "2 trainings diverged, or could not be dialled" in text
    assert "4 finished, 1 diverged" in text
    assert "diverged, or could not" not in str(curve(VALLEY))


def test_a_network_that_diverges_as_it_stands_is_tuned():
    found = curve(VALLEY, standing=np.nan)
    assert found.advice == "tune"
    assert found.sentence.startswith("Tune: as the network stands training diverges, and at ρ = 1")


def test_where_nothing_could_be_trained_nothing_is_said():
    found = curve(VALLEY, lost=range(7))
    assert found.advice == "cannot tell"
    assert found.sentence.startswith("Cannot tell: at no richness")
    assert np.isnan(found.richness)
    assert "<RichnessCurve: cannot tell" in repr(found)
    model = nn.Linear(1, 1)
    with pytest.raises(InputError, match="`apply` must have a richness that could be trained"):
        found.apply(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    found.figure()


def test_what_is_missing_and_what_it_cost():
    text = str(curve(VALLEY, missing=3))
    assert "Interrupted: 3 trainings of those planned are missing." in text
    assert "Cost: 40 trainings, 80 seconds." in text
    assert "Interrupted" not in str(curve(VALLEY))


def test_one_look():
    found = curve(VALLEY, standing=0.6)
    assert repr(found).startswith("<RichnessCurve: tune, best ρ = 1 of those tried, lowers the")
    html = found._repr_html_()
    assert html.startswith("<div><p><b>Tune.</b> turning the dial lowers")
    assert html.count("<tr>") == 1 + 7 + 1


def test_the_figure_shows_curve_interval_and_where_the_network_stands():
    pytest.importorskip("matplotlib")
    found = curve(VALLEY, standing=0.6)
    (ax,) = found.figure().axes
    labels = ax.get_legend_handles_labels()[1]
    assert set(labels) == {"best ρ, 95 % interval", "training loss", "test loss", "as it stands"}
    line = next(line for line in ax.get_lines() if line.get_label() == "test loss")
    np.testing.assert_allclose(line.get_xydata(), np.stack([LEVELS, VALLEY], 1))


def test_a_geometric_mean_leaves_out_what_has_no_logarithm():
    assert geometric_mean(np.array([1.0, 4.0, np.nan, 0.0])) == pytest.approx(2)
    assert np.isnan(geometric_mean(np.array([np.nan])))


@pytest.mark.parametrize("stands_at", [1e3, 1e-3])
def test_beyond_the_end_that_the_interval_reaches_no_side_is_told(stands_at):
    """All that was tried is lazier than the network, or richer, and the curve still falls there."""
    falling = np.linspace(2.0, 1.0, 7) if stands_at > 1 else np.linspace(1.0, 2.0, 7)
    said = str(curve(falling, standing=3.0, stands_at=stands_at))
    assert "the true optimum may lie beyond" in said
    assert "cannot be told" in said
    assert "The optimum is" not in said
