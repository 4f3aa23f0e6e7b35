"""What objects are in a notebook: a line, or a few of HTML; nothing is measured, nothing raised."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from math import isfinite

from lazyrich.vocabulary.numerals import in_words

_QUOTED = re.compile(r"`([^`]+)`")
MOST = 12  # rows of a table


def one_line(kind: str, *parts: str) -> str:
    """An object in one line.

    Args:
        kind: its class.
        parts: what is to be known of it; empty ones are left out.

    Example:
        >>> one_line("Verdict", "lazy", "", "2 layers")
        '<Verdict: lazy, 2 layers>'
    """
    return f"<{kind}: {', '.join(part for part in parts if part)}>"


def counted(count: int, what: str) -> str:
    """A number of things.

    Args:
        count: how many.
        what: one of them.

    Example:
        >>> counted(1, "layer"), counted(3, "layer")
        ('1 layer', '3 layers')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def changed(change: float, low: float, high: float) -> str:
    """A change of the kernel, with its interval if there is one; nothing if it is not known.

    Args:
        change: relative.
        low: lower end.
        high: upper end.

    Example:
        >>> changed(0.051, 0.04, 0.06), changed(float("nan"), 0.0, 1.0)
        ('NTK change 0.051 (0.04 to 0.06)', '')
    """
    if not isfinite(change):
        return ""
    known = isfinite(low) and isfinite(high)
    span = f" ({in_words(low)} to {in_words(high)})" if known else ""
    return f"NTK change {in_words(change)}{span}"


def card(
    word: str, sentence: str, head: Sequence[str], rows: Sequence[Sequence[str]], below: str
) -> str:
    """An object as HTML that a notebook shows.

    Args:
        word: the word in bold, first.
        sentence: the sentence after it.
        head: head of the table; all are plain text.
        rows: rows of the table, of which the first few are shown.
        below: text after the table; nothing if empty.
    """
    left = len(rows) - MOST
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in rows[:MOST]
    )
    table = f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    more = f"<p>{left} more in <code>print</code>.</p>" if left > 0 else ""
    end = f"<p>{as_html(below)}</p>" if below else ""
    return f"<div><p><b>{escape(word)}</b> {as_html(sentence)}</p>{table}{more}{end}</div>"


def as_html(sentence: str) -> str:
    """A sentence, with what stands between backquotes as code.

    Args:
        sentence: plain text.

    Example:
        >>> as_html("call `dial` if ρ < 1")
        'call <code>dial</code> if ρ &lt; 1'
    """
    return _QUOTED.sub(r"<code>\1</code>", escape(sentence))


def preformatted(printed: object) -> str:
    """What `print` shows of an object, as HTML.

    Args:
        printed: any.

    Example:
        >>> preformatted("a < b")
        '<pre>a &lt; b</pre>'
    """
    return f"<pre>{escape(str(printed))}</pre>"


def probe_line(probe: object) -> str:
    """A probe in one line, from what it holds; without a look at the network.

    Args:
        probe: a probe of any state, also one whose making was broken off.

    Example:
        >>> probe_line(object())
        '<Probe: not measured yet>'
    """
    steps = getattr(probe, "_steps", [])
    measured = "not measured yet"
    if steps:
        times = counted(len(steps), "measurement")
        measured = f"{times}, step{'s' * (len(steps) > 1)} {steps[0]}"
        measured += f" to {steps[-1]}" if len(steps) > 1 else ""
    forecasted = getattr(probe, "forecasted", None)
    return one_line(
        "Probe",
        type(probe.model).__name__ if hasattr(probe, "model") else "",
        counted(probe._samples, "sample") if hasattr(probe, "_samples") else "",
        measured,
        f"forecast {forecasted.regime}" if forecasted is not None else "",
    )


def probe_card(probe: object) -> str:
    """The same as HTML.

    Args:
        probe: any.
    """
    return card("Probe", probe_line(probe).removeprefix("<Probe: ").removesuffix(">"), (), (), "")
