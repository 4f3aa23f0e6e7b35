"""Where a noisy curve is lowest, and what it gains: against exact intervals, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from lazyrich.study.tuning.optimum import best_rate, gain, optimum, over_seeds, usable

PLACES = np.log(4.0) * np.arange(7)


def noisy(rng, curve, seeds, noise=1.0, rates=1, shared=0.5):
    """Losses over place, rate and seed: a part of the noise is that of the seed alone."""
    means = np.broadcast_to(np.asarray(curve, float)[:, None, None], (len(curve), rates, seeds))
    of_seed = shared * rng.standard_normal(seeds)
    return means + noise * (rng.standard_normal(means.shape) + of_seed)


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_the_interval_of_a_mean_is_students(seeds):
    losses = np.random.default_rng(seeds).standard_normal((4, seeds))
    mean, low, high = over_seeds(losses)
    for row, *ends in zip(losses, low, high, strict=True):
        expected = stats.t.interval(0.95, seeds - 1, loc=row.mean(), scale=stats.sem(row))
        assert ends == pytest.approx(expected)
    np.testing.assert_allclose(mean, losses.mean(1))


@pytest.mark.parametrize("seeds", [3, 4, 10])
def test_between_two_places_the_interval_is_that_of_the_paired_t_test(seeds):
    """It holds both places if and only if Student's test on the pairs is not clear."""
    rng = np.random.default_rng(seeds)
    agree = []
    for _ in range(40):
        losses = noisy(rng, [0.0, 0.7], seeds)
        p = stats.ttest_rel(*losses[:, 0]).pvalue
        if 0.03 < p < 0.08:  # the draws are finitely many
            continue
        found = optimum(PLACES[:2], losses)
        agree.append((found.low < found.high) == (p > 0.05))
    assert len(agree) > 20
    assert all(agree)


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_true_optimum_is_inside_as_often_as_is_said(seeds):
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        centre = rng.uniform(PLACES[2], PLACES[4])
        found = optimum(PLACES, noisy(rng, 0.5 * (PLACES - centre) ** 2, seeds))
        inside += found.low <= centre <= found.high
    assert inside / 200 >= 0.93


@pytest.mark.parametrize(("seeds", "rates"), [(2, 1), (3, 1), (3, 3), (5, 1), (5, 3)])
def test_on_a_flat_curve_a_gain_is_rarely_claimed(seeds, rates):
    """Where nothing can be gained: at most about one in twenty, and on either side."""
    rng = np.random.default_rng(1)
    clear, means, naive = 0, [], []
    for _ in range(400):
        every = noisy(rng, np.zeros(8), seeds, rates=rates)
        found = gain(every[1:], every[0])
        clear += found.low > 0 or found.high < 0
        means.append(found.mean)
        naive.append(every[0].mean(-1).min() - every[1:].mean(-1).min())
    assert clear / 400 < 0.075
    assert abs(np.mean(means)) < 3 * stats.sem(means)  # no luck of the winner
    assert np.mean(naive) > 10 * stats.sem(naive)  # which there would be


def test_a_true_gain_is_inside_its_interval_and_is_seen():
    rng = np.random.default_rng(2)
    inside = seen = 0
    for _ in range(200):
        every = noisy(rng, np.concatenate([[2.0], 3 * (np.arange(7) - 3) ** 2]), 5, noise=0.5)
        found = gain(every[1:], every[0])
        inside += found.low <= 2.0 <= found.high
        seen += found.low > 0
    assert inside / 200 >= 0.92
    assert seen / 200 > 0.8


@pytest.mark.parametrize("centre", [2.3, 3.1, 4.49])
def test_without_noise_the_lowest_place_of_a_parabola_is_exact(centre):
    places = np.arange(7.0)
    losses = np.repeat(((places - centre) ** 2)[:, None, None], 4, axis=-1)
    found = optimum(places, losses)
    assert found.place == round(centre)
    assert min(found.low, found.high, key=lambda x: abs(x - centre)) == pytest.approx(centre)
    assert found.edge == ""


def test_an_edge_is_that_of_what_could_be_trained():
    falling = np.repeat(np.arange(7.0)[::-1, None, None], 3, axis=-1)
    assert optimum(PLACES, falling).edge == "rich"
    assert optimum(PLACES, falling[::-1]).edge == "lazy"
    falling[5:, 0, 1] = np.nan
    found = optimum(PLACES, falling)
    assert (found.edge, found.place, found.high) == ("rich", PLACES[4], PLACES[4])


def test_what_could_not_be_trained_with_every_seed_does_not_count():
    losses = np.array([[[1.0, 1.0], [0.0, np.nan]], [[np.nan, np.nan], [3.0, 3.0]]])
    assert usable(losses).tolist() == [[True, False], [False, True]]
    assert best_rate(losses).tolist() == [0, 1]
    assert optimum(PLACES[:2], losses).place == PLACES[0]
    nothing = optimum(PLACES[:2], np.full_like(losses, np.nan))
    assert np.isnan([nothing.place, nothing.low, nothing.high]).all()
    assert np.isnan(gain(losses, np.full((2, 2), np.nan)).mean)
    assert np.isnan(gain(np.full_like(losses, np.nan), losses[0]).mean)
    assert gain(losses, np.array([[4.0, np.nan], [2.0, 2.5]])).mean == pytest.approx(1.25)
