"""Numbers that pages take from records by arithmetic of their own."""

import importlib
import json
from pathlib import Path
from statistics import median

from lazyrich import Thresholds
from lazyrich.vocabulary.numerals import in_words

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_on_forecasts_says_what_its_record_holds():
    record = json.loads((DOCS / "records" / "forecast.json").read_text())
    ranks = [row["rank_correlation"] for row in record["summary"].values()]
    page = " ".join((DOCS / "measure" / "forecast-and-dial.md").read_text().split())
    assert f"the rank correlation is {min(ranks):.2f} to {max(ranks):.2f}" in page
    assert f"{len(record['runs'])} runs" in page
    by_seed = [
        rank for row in record["summary"].values() for rank in row["rank_correlation_by_seed"]
    ]
    assert min(by_seed) == 1


def test_the_page_on_forecasts_says_what_the_rehearsals_came_to():
    record = json.loads((DOCS / "records" / "rehearsal.json").read_text())
    page = " ".join((DOCS / "measure" / "forecast-and-dial.md").read_text().split())
    summary = record["summary"]
    assert summary["runs"] == len(record["runs"])
    assert summary["certificate_right"] == 1
    fitted = [r for r in record["runs"] if r["status"] == r["ended"] == "fitted"]
    most = record["setting"]["max_steps"]
    (late,) = (run["steps"] for run in fitted if run["steps"] > most)
    held = [
        r["ntk_change"] / r["predicted_ntk_change"] for r in fitted if r["certificate"] == "holds"
    ]
    for said in (
        f"two seeds: {summary['runs']} runs",
        f"the {summary['fitted']} runs that reached this loss, within {most:,} steps but for one "
        f"({late:,})",
        f"Where the certificate holds ({len(held)} runs), all forecasts are within a factor of "
        f"{max(max(ratio, 1 / ratio) for ratio in held):.2f} of the outcome",
        f"the largest factor is {summary['largest_factor']:.2f}, and the rank correlation "
        f"{summary['rank_correlation']:.4f}.",
        f"as {summary['training_steps_of_cost_median']:.0f} training steps on the batch, "
        f"{summary['cost_over_steps_median']:.1f} for each step",
    ):
        assert said in page
    for family in dict.fromkeys(run["family"] for run in record["runs"]):
        ratios = [
            run["ntk_change"] / run["predicted_ntk_change"]
            for run in fitted
            if run["family"] == family
        ]
        factors = sorted(max(ratio, 1 / ratio) for ratio in ratios)
        total = sum(run["family"] == family for run in record["runs"])
        found = page[page.index(f"| {family} |") :]
        assert found.startswith(f"| {family} | {len(factors)} of {total} |")
        assert f"| {median(factors):.2f} | {factors[-1]:.2f} |" in found[:120]


def test_the_calibration_is_of_the_thresholds_that_are_used():
    """And what the page says of it holds: no verdict on a nonlinear network is wrong."""
    record = json.loads((DOCS / "records" / "verdict.json").read_text("utf-8"))
    limits = Thresholds()
    assert record["thresholds"] == [limits.lazy_below, limits.rich_from]
    runs = record["nonlinear"]["runs"]
    assert len(runs) == record["nonlinear"]["networks"] > 200
    assert record["nonlinear"]["wrong"] == []
    assert all(run["right"] for run in runs)
    for run in runs:
        may_be = limits.regimes(run["exact"] / record["band"], run["exact"] * record["band"])
        assert run["verdict"] in (*may_be, "cannot tell")


def test_the_page_on_the_dial_says_what_its_record_holds():
    record = json.loads((DOCS / "records" / "dial.json").read_text())
    page = " ".join((DOCS / "measure" / "forecast-and-dial.md").read_text().split())
    factors = {True: [], False: []}
    for run in record["runs"]:
        if run["status"] != "refused":
            ratio = run["ntk_change"] / run["request"]
            factors[run["request"] < 1].append(max(ratio, 1 / ratio))
    refused = [run for run in record["runs"] if run["status"] == "refused"]
    assert all(run["request"] >= 1 for run in refused)
    assert f"all {len(factors[True])} such runs are within {max(factors[True]):.2f}." in page
    assert f"Of {len(factors[False]) + len(refused)} requests of 1 and 3" in page
    assert f"{len(refused)} were refused and the others are within 1.24" in page
    assert max(factors[True]) < 1.5
    assert max(factors[False]) < 1.24


def test_the_page_on_tuning_richness_says_what_its_record_holds():
    record = json.loads((DOCS / "records" / "tuning.json").read_text("utf-8"))
    page = " ".join((DOCS / "steer" / "tune-richness.md").read_text("utf-8").split())
    tasks = record["tasks"]
    assert list(tasks) == ["staircase", "noisy line", "cnn", "transformer"]
    stairs = tasks["staircase"]["small"]
    low, high = (stairs[name] for name in ("test_loss", "standing_test_loss"))
    assert f"takes the test loss from {high:.3f} to {low:.4f}." in page
    assert (
        f"{stairs['richness'] / stairs['stands_at']:.0f} times that of the network as it stands"
        in page
    )
    assert tasks["noisy line"]["small"]["edge"] == tasks["noisy line"]["large"]["edge"] == "lazy"
    for name in ("cnn", "transformer"):
        small = tasks[name]["small"]
        assert small["advice"] == "cannot tell"
        assert 1 / 4 < small["richness"] / small["stands_at"] < 4
        assert small["trainings"] == 72
        assert small["standing_test_loss"] < median(small["curve"][0]["test_loss"])
    assert all(task["inside"] for task in tasks.values())
    held = {n: t for n, t in tasks.items() if t["small"]["richness"] == t["large"]["richness"]}
    assert list(held) == ["staircase", "cnn", "transformer"]
    ratios = [t["small"]["ntk_change"] / t["large"]["ntk_change"] for t in held.values()]
    assert f"there agrees within a factor of {max(max(r, 1 / r) for r in ratios):.1f}." in page
    assert all(4 <= large / small <= 8 for small, large in (t["widths"] for t in tasks.values()))


def test_the_page_on_barlow_twins_says_what_its_record_holds():
    record = json.loads((DOCS / "records" / "related-stepwise_ssl.json").read_text("utf-8"))
    page = (DOCS / "theory" / "barlow-twins.md").read_text("utf-8")
    runs, summary = record["runs"], record["summary"]
    stepped = sum(run[f"width_{w}_eigenvalues_that_step"] for run in runs for w in (16, 1024))
    assert f"Of {len(runs)} seeds, each with 300 pairs and 5 eigenvalues, all {stepped:.0f}" in page
    for width, digits, regime in ((1024, "0.4f", "lazy"), (16, "0.1f", "rich")):
        middle, low, high = (100 * x for x in summary[f"width_{width}_largest_error_of_a_step"])
        changes = (summary[f"width_{width}_{x}ntk_change"][0] for x in ("", "forecast_"))
        said = " | ".join(f"{change:{digits}}" for change in changes)
        row = f"| {width} | {middle:.1f} % ({low:.1f} % to {high:.1f} %) | {said} | {regime} |"
        assert row in page
        for run in runs:
            assert run[f"width_{width}_regime"] == run[f"width_{width}_forecast_regime"] == regime
            seen = run[f"width_{width}_steps_seen"]
            assert seen == sorted(seen)


def test_the_page_on_the_tour_says_what_its_record_holds():
    record = json.loads((DOCS / "records" / "tour.json").read_text())
    page = " ".join((DOCS / "tour.md").read_text().split())
    foretold, came = (
        " and ".join(in_words(run[name]) for run in record["measured"].values())
        for name in ("predicted_ntk_change", "ntk_change")
    )
    assert f"forecast change of the kernel was {foretold}, the measured one {came}." in page


def test_the_table_of_the_laziness_index_is_that_of_its_record():
    record = json.loads((DOCS / "records" / "laziness.json").read_text("utf-8"))
    table = (DOCS / "records" / "laziness.md").read_text("utf-8")
    for family, one in record["summary"].items():
        runs = [run for run in record["runs"] if run["family"] == family]
        assert one["fitted"] == sum(run["fitted"] for run in runs)
        assert (
            f"| {family} | {one['fitted']} of {len(runs)} | {one['rank_correlation']:.3f} |"
            in table
        )
        assert one["rank_correlation"] > 0.95  # "in a family it does"
        assert one["largest_lazy_index"] >= 0.08
        assert one["smallest_index_that_is_not"] <= 0.4
        assert 1.2 <= one["slope"] <= 1.5


def test_the_page_on_transfer_says_what_its_record_holds(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS.parent / "bench"))
    pages = importlib.import_module("transfer_page")
    record = json.loads((DOCS / "records" / "transfer.json").read_text("utf-8"))
    page = (DOCS / "steer" / "transfer.md").read_text("utf-8")
    rows = record["summary"]
    assert pages.summary(record["parts"]) == rows
    assert pages.short(rows) in page
    assert pages.page(rows) == (DOCS / "records" / "transfer.md").read_text("utf-8")
    met = {
        scheme: {
            goal: sum(row["goals"][goal] for row in rows if row["scheme"] == scheme)
            for goal in ("stays", "costs little", "as good as the table")
        }
        for scheme in ("standard", "table", "lazyrich")
    }
    ours = met["lazyrich"]
    missed = [
        (row["data"], row["family"], row["optimizer"])
        for row in rows
        if row["scheme"] == "lazyrich"
        and not (row["goals"]["costs little"] and row["goals"]["as good as the table"])
    ]
    assert [one[1:] for one in missed if one[0] != "digits"] == [("cnn, width", "Muon")]
    under_muon = {
        row["scheme"]: 100 * (row["cost"] - 1)
        for row in rows
        if (row["family"], row["optimizer"]) == ("cnn, width", "Muon")
    }
    regimes = [
        {one[key] for one in part["regimes"] if key in one}
        for part in record["parts"]
        for key in ("verdict", "forecast")
    ]
    page = " ".join(page.split())
    for said in (
        f"Of {len(record['parts'])} pairs of a network and an optimiser, measured factors from one "
        f"step leave the optimum within half an octave in {ours['stays']} (the table in "
        f"{met['table']['stays']}, the standard parametrisation in {met['standard']['stays']})",
        f"carrying the rate over costs at most 2 % in {ours['costs little']} "
        f"({met['table']['costs little']}, {met['standard']['costs little']})",
        f"at most 2 % above the table's in {ours['as good as the table']}",
        f"it pays {under_muon['lazyrich']:.1f} %, with the table {under_muon['table']:.1f} %",
        f"the same one at every size in {sum(len(one) == 1 for one in regimes)} of "
        f"{sum(map(bool, regimes))} comparisons",
    ):
        assert said in page
    assert max(record["microsoft_mup"]["largest_difference"].values()) < 0.002
    under_adam = {
        (row["task"], row["scheme"]): row
        for row in rows
        if row["optimizer"] == "Adam" and row["axis"] == "width"
    }

    def moved(*which):
        return f"{under_adam[which]['moved']:+.1f}"

    def cost(*which):
        return 100 * (under_adam[which]["cost"] - 1)

    twenty = "lazyrich, 20 steps"
    for said in (
        f"the optimum moves by {moved('cnn', 'lazyrich')} octaves in the CNN (by "
        f"{moved('cnn', 'table')} with the table) and by {moved('mlp', 'lazyrich')} in the MLP "
        f"({moved('mlp', 'table')})",
        f"it costs {cost('cnn', 'lazyrich'):.1f} % and {cost('mlp', 'lazyrich'):.1f} % of the loss",
        f"the MLP moves by {moved('mlp', twenty)} octaves, closer, but that of the transformer by "
        f"{moved('transformer', twenty)} where one step has {moved('transformer', 'lazyrich')}",
        f"over costs {cost('digits', 'lazyrich'):.0f} % under Adam, with a standard error of "
        f"{100 * under_adam['digits', 'lazyrich']['cost_stderr']:.0f} %",
    ):
        assert said in page
