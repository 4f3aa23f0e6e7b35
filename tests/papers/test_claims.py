"""Verdicts, counts and captions follow from the records, and change with them."""

import json
import math
import re

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from papers import catalogue, claims
from papers.findings import Finding, compared, mean, rank_correlation, together

OWN_WORDS = re.compile(r"\*\*(\d+[a-z]?), ([a-z ]+)\.?\*\*")
ALL = [(paper, figure) for paper in catalogue.papers() for figure in catalogue.figures(paper)]


def _record(paper, figure):
    path = catalogue.place_of_record(catalogue.HOME / paper, "laptop", figure)
    return json.loads(path.read_text())


def _row(verdict, claim="1a", **more):
    return {"claim": claim, "verdict": verdict, **more}


@pytest.mark.parametrize(("paper", "figure"), ALL)
def test_caption_changes_with_every_finding_that_a_claim_rests_on(paper, figure):
    """Whatever side of its range a finding is on, being on the other is said."""
    record = _record(paper, figure)
    said = claims.said(record)
    assert said.endswith(".")
    for row in claims.judge(record):
        if row["verdict"] == "not measured":
            continue
        inside = row.get("low", row.get("high", 0.0))
        low, high = row.get("low", -math.inf), row.get("high", math.inf)
        held = row["verdict"] in ("reproduced", "holds by construction")
        if held and -1 < low <= high <= 1:  # perhaps a correlation: at its lower end
            values = [1e-9 - 1, low - 1e3]
        elif held:  # far outside
            values = [low - 1e3 if math.isfinite(low) else high + 1e3]
        else:  # at an end of the range; of a correlation the interval is computed from its value
            step = 1e-9 * (low != high)
            values = [inside + (step if math.isfinite(low) else -step)]
            values += [high - step] * (math.isfinite(low) and math.isfinite(high))
        for value in values:
            exact = {**record["findings"][row["finding"]], "value": value}
            exact |= {"low": value, "high": value, "sd": 0.0}
            changed = {**record, "findings": {**record["findings"], row["finding"]: exact}}
            now = next(r for r in claims.judge(changed) if r["finding"] == row["finding"])
            if now["verdict"] != row["verdict"]:
                break
        assert now["verdict"] != row["verdict"], row["finding"]
        assert claims.said(changed) != said, row["finding"]


@pytest.mark.parametrize("paper", catalogue.papers())
def test_verdicts_in_a_readmes_own_words_are_those_of_the_records(paper):
    """`**4b, in part**` outside of the computed tables."""
    rows = [row for part in catalogue.figures(paper) for row in claims.judge(_record(paper, part))]
    verdicts = {claim: claims.verdict_of(own) for claim, own in claims.by_claim(rows).items()}
    told = OWN_WORDS.findall((catalogue.HOME / paper / "README.md").read_text())
    assert dict(told) == {claim: verdicts[claim] for claim, _ in told}
    clear = ("reproduced", "holds by construction")
    silent = {claim for claim, word in verdicts.items() if word not in clear} - dict(told).keys()
    assert not silent, "what did not reproduce is spoken of"


@pytest.mark.parametrize("paper", catalogue.papers())
def test_no_title_says_what_is_found(paper):
    """The first line of a script is the same whatever comes out: it names what is shown."""
    claimed = ("hold their", "worse", "fall behind", "too:", " occur ", "orders what", "come to")
    for figure in catalogue.figures(paper):
        title = catalogue.subject(catalogue.script(paper, figure).__doc__)
        assert title.endswith((".", "?"))
        assert not [words for words in claimed if words in title], title


@pytest.mark.parametrize(
    ("verdicts", "verdict"),
    [
        (["reproduced", "reproduced"], "reproduced"),
        (["reproduced", "not reproduced"], "in part"),
        (["reproduced", "undecided"], "in part"),
        (["not reproduced", "undecided"], "not reproduced"),
        (["undecided", "undecided"], "undecided"),
        (["holds by construction"], "holds by construction"),
        (["holds by construction", "not reproduced"], "not reproduced"),
        (["broken", "reproduced"], "broken"),
        (["not judged"], "not judged"),
        (["not measured"], "not measured"),
    ],
)
def test_verdict_of_a_claim(verdicts, verdict):
    assert claims.verdict_of([_row(word) for word in verdicts]) == verdict


@pytest.mark.parametrize("kind", claims.KINDS)
@pytest.mark.parametrize(("value", "verdict"), [(0.5, "holds by construction"), (2.0, "broken")])
def test_identities_and_repeats_are_no_evidence(monkeypatch, kind, value, verdict):
    entry = {"claim": "1a", "says": "", "high": 1.0, "why": "", "kind": kind}
    monkeypatch.setattr(claims, "expected", lambda paper: {"fig1": {"x": entry}})
    found = {"x": vars(Finding(value=value, n=3))}
    record = {"paper": "p", "figure": "fig1", "scale": "laptop", "findings": found}
    (row,) = claims.judge(record)
    assert row["verdict"] == verdict
    assert claims._counts([row]).startswith(f"Of 1 claims: 1 {verdict}. Of 0 findings 0 are")


@pytest.mark.parametrize("paper", catalogue.papers())
def test_kinds_and_tests_are_known(paper):
    for part in catalogue.expected(paper).values():
        for entry in part.values():
            assert entry.get("kind", claims.KINDS[0]) in claims.KINDS
            assert not {"kind", "tests"} <= entry.keys()
            assert "p-value" not in entry["says"]


def test_intervals_of_several_tests_are_bonferronis(rng):
    x = rng.normal(size=7)
    found = together(vars(mean(x)), 5)
    half = stats.t.ppf(1 - 0.025 / 5, 6) * x.std(ddof=1) / 7**0.5
    assert (found["low"], found["high"]) == pytest.approx((x.mean() - half, x.mean() + half))
    assert together(vars(mean(x)), 1) == vars(mean(x))
    r, _ = rank_correlation(range(10), [0, 2, 1, 3, 5, 4, 6, 9, 7, 8])
    wide = together(vars(r), 4)
    assert np.arctanh(wide["high"]) - np.arctanh(r.value) == pytest.approx(
        stats.norm.ppf(1 - 0.025 / 4) * (1.06 / 7) ** 0.5
    )


def test_several_tests_decide_less():
    """r = −0.56 of 15 is told from 0 alone, and is not as one of four."""
    r = vars(Finding(value=-0.557, n=15, low=-0.837, high=-0.0466, of="x"))
    r["of"] = vars(rank_correlation(range(5), range(5))[0])["of"]
    assert compared(r) == "below"
    assert compared(together(r, 4)) == "not told from"


def test_an_interval_of_another_kind_cannot_be_widened():
    other = vars(Finding(value=1.0, n=4, low=0.0, high=2.0, of="95 % interval of the slope"))
    with pytest.raises(ValueError, match="must be a mean or a rank correlation to be widened"):
        together(other, 2)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.3, "above"), (-0.3, -0.1, "below"), (-0.1, 0.1, "not told from")],
)
def test_compared(low, high, word):
    found = Finding(value=(low + high) / 2, n=3, low=low, high=high, of="95 % interval of the mean")
    assert compared(vars(found)) == word
    assert compared(vars(Finding(value=math.nan, n=0))) == "not told from"


def test_an_earlier_record_is_said_to_be_one():
    record = _record("xu2025three", "fig2")
    record["findings"].pop("ntk: power of the final alignment")
    assert claims.said(record) == (
        "The record is of an earlier version of the script. 2a reproduced; 2b holds by "
        "construction; 2c (5 of 6) in part."
    )


def test_counts_leave_identities_out():
    rows = [
        _row("reproduced", "1a"),
        _row("not reproduced", "1b"),
        _row("holds by construction", "1c", kind="identity"),
    ]
    assert claims._counts(rows) == (
        "Of 3 claims: 1 reproduced, 1 not reproduced, 1 holds by construction. Of 2 findings 1 are "
        "reproduced; 1 identities and repeats are not counted."
    )
