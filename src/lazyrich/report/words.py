"""Numbers, verdicts and mechanisms as short HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import isfinite

from lazyrich.vocabulary.numerals import in_words

NOTHING = '<span class="quiet">–</span>'

STYLE = """
.kicker { color: var(--quiet); font-size: .875rem; letter-spacing: .03em; }
.lead { font-size: 1.1rem; }
.chip { display: inline-block; padding: .05rem .6rem; border-radius: 1rem; font-weight: 600;
        font-size: .875rem; white-space: nowrap; border: 1px solid; }
.rich { color: #00563f; background: #dff3ec; border-color: #7cc7ae; }
.intermediate { color: #4b2e63; background: #f0e6f6; border-color: #bb9bd0; }
.lazy { color: #00456d; background: #e0eff8; border-color: #86b9da; }
.frozen { color: #3c474d; background: #e9ecee; border-color: #aab4b9; }
.unstable { color: #8a3c00; background: #fbe9dd; border-color: #e3a57c; }
.cannot-tell { color: #4d4733; background: #f5f1de; border-color: #c9bd8a; border-style: dashed; }
h1 .chip { font-size: inherit; padding: 0 1.1rem; border-radius: 3rem; border-width: 2px; }
.tiles { display: grid; gap: .7rem; margin: 1.2rem 0; padding: 0;
         grid-template-columns: repeat(auto-fit, minmax(min(45%, 10.5rem), 1fr)); }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
             padding: .7rem .9rem; }
.tiles dt { color: var(--quiet); font-size: .8rem; }
.tiles dd { margin: 0; font-size: 1.35rem; font-weight: 600; line-height: 1.3;
            font-variant-numeric: tabular-nums; }
.tiles small { display: block; color: var(--quiet); font-size: .8rem; font-weight: 400; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .3rem 0 .7rem;
          font-size: .875rem; }
.legend i { display: inline-block; width: 1.6rem; vertical-align: middle; margin-right: .4rem;
            border-top: 3px solid; }
.when { white-space: nowrap; }
.when i { display: inline-block; width: .7rem; height: .7rem; margin-right: .35rem;
          border-radius: .15rem; }
code { font: .9em ui-monospace, monospace; }
details { margin-top: 2.6rem; }
summary { cursor: pointer; font-size: 1.2rem; font-weight: 700; }
dl.words dt { font-weight: 600; margin-top: .6rem; }
dl.words dd { margin: 0; max-width: 46rem; }
@media print { body { background: #fff; } figure, .table { break-inside: avoid; } }
"""


def number(value: float | None, digits: int = 3) -> str:
    """A number in few digits; a dash for what was not measured."""
    if value is None or not isfinite(value):
        return NOTHING
    return in_words(value, digits)


def chip(regime: str) -> str:
    """A regime as a coloured word; the word alone says it all."""
    return f'<span class="chip {regime.replace(" ", "-")}">{escape(regime)}</span>'


def tiles(facts: Sequence[tuple[str, str, str]]) -> str:
    """Key numbers: (title, number, what it means); the number is HTML."""
    inner = "".join(
        f"<div><dt>{escape(title)}</dt><dd>{value}<small>{escape(meaning)}</small></dd></div>"
        for title, value, meaning in facts
    )
    return f'<dl class="tiles">{inner}</dl>'


def html_legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """What the lines of a group of pictures mean: (label, colour, CSS line style)."""
    inner = "".join(
        f'<span><i style="border-color:{colour};border-top-style:{line}"></i>{escape(label)}</span>'
        for label, colour, line in entries
    )
    return f'<div class="legend">{inner}</div>'


def items(sentences: Sequence[str]) -> str:
    """A list of sentences; nothing if there are none."""
    if not sentences:
        return ""
    return "<ul>" + "".join(f"<li>{escape(s)}</li>" for s in sentences) + "</ul>"
