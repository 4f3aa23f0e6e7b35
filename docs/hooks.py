"""Build hooks of the site: equations become MathML, the vocabulary becomes a table.

Browsers draw MathML themselves, so that a page needs no script and no font from the network.
"""

from __future__ import annotations

import re
from html import escape, unescape
from typing import Any

from latex2mathml.converter import convert

from lazyrich.quantities import VOCABULARY, Quantity

_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
_ALIGN = re.compile(r'columnalign="(left|right|center)"')  # browsers know only the CSS
_VOCABULARY_MARK = "<!-- vocabulary -->"


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - mkdocs passes its objects
    """Put the table of all quantities where a page asks for it."""
    return markdown.replace(_VOCABULARY_MARK, vocabulary_table())


def on_page_content(html: str, **_: Any) -> str:  # noqa: ANN401 - mkdocs passes its objects
    """Replace the LaTeX that arithmatex has marked by MathML."""
    return _EQUATION.sub(_to_mathml, html)


def _to_mathml(match: re.Match[str]) -> str:
    display = "block" if match["tag"] == "div" else "inline"
    mathml = convert(unescape(match["latex"]).strip(), display=display)
    return _ALIGN.sub(r'style="text-align: \1"', mathml)


def vocabulary_table() -> str:
    """All quantities as a Markdown table.

    Example:
        >>> vocabulary_table().splitlines()[0]
        '| name | symbol | meaning | units | range | source |'
    """
    head = ["name", "symbol", "meaning", "units", "range", "source"]
    rows = [head, ["---"] * len(head), *map(_row, VOCABULARY.values())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(quantity: Quantity) -> list[str]:
    texts = (quantity.symbol, quantity.meaning, quantity.units, _range(quantity), quantity.source)
    return [f"`{quantity.name}`", *(escape(text).replace("|", "&#124;") for text in texts)]


def _range(quantity: Quantity) -> str:
    low, high = (f"{bound:g}".replace("inf", "∞") for bound in (quantity.low, quantity.high))
    return f"{low} … {high}"
