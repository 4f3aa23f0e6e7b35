"""What the records say: every finding judged, every claim, and the words for it.

Nothing here is written by hand: verdicts, captions and counts follow from the records, and change
with them.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from papers.catalogue import HOME, expected, figures, place_of_record, script, subject
from papers.findings import Finding, ends, together

Record = dict[str, Any]
Row = dict[str, Any]

REPRODUCED, IN_PART, NOT, OPEN = "reproduced", "in part", "not reproduced", "undecided"
UNMEASURED, UNJUDGED = "not measured", "not judged"
HOLDS, BROKEN = "holds by construction", "broken"  # of identities and repeats
KINDS = ("identity", "repeat")


def judge(record: Record) -> list[Row]:
    """Every expectation of a figure beside what was found.

    A finding is reproduced if its whole interval lies in the range that the claim allows, not
    reproduced if all of it lies outside, and undecided in between or if the interval is unknown.
    An identity, or the repeat of what was known before, is no evidence: it holds or is broken.
    Where one hypothesis is tried on several outcomes (`tests`), the intervals hold together. A
    smoke run judges nothing; what a record of an earlier version of the script lacks is not
    measured.
    """
    rows = []
    for name, entry in expected(record["paper"])[record["figure"]].items():
        found = record["findings"].get(name, vars(Finding(value=math.nan, n=0)))
        found = together(found, entry.get("tests", 1))
        verdict = UNJUDGED if record["scale"] == "smoke" else _verdict(found, entry)
        rows.append({"finding": name, **entry, "found": found, "verdict": verdict})
    return rows


def _verdict(found: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    low, high = entry.get("low", -math.inf), entry.get("high", math.inf)
    least, most = ends(found)
    if math.isnan(least):
        return UNMEASURED
    if low <= least and most <= high:
        return HOLDS if "kind" in entry else REPRODUCED
    if most < low or high < least:
        return BROKEN if "kind" in entry else NOT
    return OPEN


def by_claim(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The judged findings of every claim."""
    claims: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["claim"]):
        claims.setdefault(row["claim"], []).append(row)
    return claims


def verdict_of(rows: Iterable[Row]) -> str:
    """Of a claim, from its findings; what holds by construction does not count."""
    found = [row["verdict"] for row in rows]
    if BROKEN in found:
        return BROKEN
    counted = Counter(word for word in found if word != HOLDS)
    if not counted:
        return HOLDS
    if len(counted) == 1:
        return next(iter(counted))
    if counted[REPRODUCED]:
        return IN_PART
    return NOT if counted[NOT] else OPEN


def tally(record: Record) -> str:
    """The claims of a figure with their verdicts, in one sentence."""
    words: dict[str, list[str]] = {}
    for claim, rows in by_claim(judge(record)).items():
        words.setdefault(verdict_of(rows), []).append(_counted(claim, rows))
    return "; ".join(f"{', '.join(claims)} {word}" for word, claims in words.items()) + "."


def _counted(claim: str, rows: list[Row]) -> str:
    if verdict_of(rows) != IN_PART:
        return claim
    counted = [row for row in rows if "kind" not in row]
    held = sum(row["verdict"] == REPRODUCED for row in counted)
    return f"{claim} ({held} of {len(counted)})"


def said(record: Record) -> str:
    """What a figure found, in words that follow from its record."""
    wanted = expected(record["paper"])[record["figure"]]
    if not wanted.keys() <= record["findings"].keys():
        return f"The record is of an earlier version of the script. {tally(record)}"
    return f"{script(record['paper'], record['figure']).found(record)} {tally(record)}"


def results(paper: str, scale: str = "laptop") -> str:
    """The results of a paper as Markdown, from its records: counts, a table, then the figures."""
    lines = ["| claim | script | finding | expected | found | n | verdict |", "|" + "---|" * 7]
    pictures: list[str] = []
    judged: list[Row] = []
    for figure in figures(paper):
        path = place_of_record(HOME / paper, scale, figure)
        if not path.is_file():
            continue
        record = json.loads(path.read_text())
        title = subject(script(paper, figure).__doc__)
        pictures += ["", f"![{title}](figures/{scale}/{figure}.png)"]
        pictures += ["", f"**Figure {figure.removeprefix('fig')}.** {said(record)}"]
        judged += judge(record)
        lines += [_line(figure, row) for row in judge(record)]
    return "\n".join([_counts(judged), "", *lines, *pictures])


def _counts(judged: list[Row]) -> str:
    claims = by_claim(judged)
    found = Counter(verdict_of(rows) for rows in claims.values())
    order = (REPRODUCED, IN_PART, NOT, OPEN, UNMEASURED, HOLDS, BROKEN, UNJUDGED)
    parts = [f"{found[word]} {word}" for word in order if found[word]]
    counted = [row for row in judged if "kind" not in row]
    held = sum(row["verdict"] == REPRODUCED for row in counted)
    return (
        f"Of {len(claims)} claims: {', '.join(parts)}. Of {len(counted)} findings {held} are "
        f"reproduced; {len(judged) - len(counted)} identities and repeats are not counted."
    )


def _line(figure: str, row: Row) -> str:
    """A row of the table."""
    says = row["says"] + (f" (one of {row['tests']} tests)" if "tests" in row else "")
    verdict = row["verdict"] + (f" ({row['kind']})" if "kind" in row else "")
    cells = (row["claim"], figure, says, _range(row), number(row["found"]))
    return "| " + " | ".join((*cells, str(row["found"]["n"]), verdict)) + " |"


def _range(entry: Mapping[str, Any]) -> str:
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return f"≤ {high:g}" if low is None else f"≥ {low:g}"
    return f"{low:g} … {high:g}" if low != high else f"{low:g}"


def bare(found: Mapping[str, Any], form: str = ".2f") -> str:
    """A finding without its interval."""
    return "–" if found["value"] is None else format(found["value"], form)


def share(found: Mapping[str, Any]) -> str:
    """How many of how many, of a share."""
    if found["value"] is None or math.isnan(found["value"]):
        return "–"
    return f"{round(found['value'] * found['n'])} of {found['n']}"


def number(found: Mapping[str, Any]) -> str:
    """A finding with its interval."""
    if found["value"] is None or math.isnan(found["value"]):
        return "–"
    text = f"{found['value']:.3g}"
    if found["low"] is None or found["low"] == found["high"]:
        return text
    return f"{text} ({found['low']:.3g} … {found['high']:.3g})"
