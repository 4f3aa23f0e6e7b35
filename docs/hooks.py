"""Build hooks of the site: equations become MathML, vocabulary tables, papers pages.

Pages of the tutorial and lectures can be downloaded as notebooks, the gallery has thumbnails.

Browsers draw MathML themselves, so that a page needs no script and no font from the network.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from functools import partial
from html import escape, unescape
from pathlib import Path
from typing import Any

from as_notebook import folded, notebook, sources, table
from formulas import with_formulas
from latex2mathml.converter import convert
from markdown.extensions.toc import slugify
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from vocabulary import vocabulary

from lazyrich.explore.page import PAGE
from lazyrich.probe import Certificate
from lazyrich.vocabulary.losses import LOSSES
from lazyrich.vocabulary.parameters import PARAMETERS
from lazyrich.vocabulary.quantity import Quantity
from lazyrich.vocabulary.regimes import Mechanism, Phase, Regime, Word

_EQUATION = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
_BARS = re.compile(r"(?<!\\left)(?<!\\right)\\([lr])([vV])ert(?![a-z])")
_SIDES = {"l": "left", "r": "right"}
_REWRITES = (  # what browsers and the converter do not agree on
    (re.compile(r'columnalign="(left|right|center)"'), r'style="text-align: -webkit-\1"'),
    (re.compile(r"<mi>(&#x003(?:9|A)[0-9A-F];)</mi>"), r'<mi mathvariant="normal">\1</mi>'),  # Γ…Ω
    (re.compile(r"<mi>&#x000B1;</mi>"), "<mo>&#x000B1;</mo>"),  # ±
    (re.compile(r"<mi>&#x0007E;</mi>"), "<mo>&#x0223C;</mo>"),  # ∼
    (re.compile(r"<mo>&#x0221E;</mo>"), "<mi>&#x0221E;</mi>"),  # ∞
    (re.compile(r"<mo>(/|&#x0002F;)</mo>"), r'<mo lspace="0.08em" rspace="0.08em">/</mo>'),
)
_SESSION = re.compile(r"^([ ]*```)python\n([ ]*>>> )", re.MULTILINE)
_THUMBNAILS = "<!-- thumbnails -->"
_SHOWN = re.compile(
    r"^## (?P<title>[^\n]+)$(?:(?!^## ).)*?^!\[[^\]]*\]\((?P<picture>[^)]+)\)$",
    re.DOTALL | re.MULTILINE,
)
_MARK = re.compile(r"<!-- (\w+) -->")
_ROOT = Path(__file__).resolve().parents[1]
_OF_PAPERS = ("papers/*/README.md", "papers/*/figures/laptop/*.png")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add READMEs and figures of reproduced papers, notebooks of pages, the page with sliders."""
    for path in sorted(found for pattern in _OF_PAPERS for found in _ROOT.glob(pattern)):
        uri = path.relative_to(_ROOT).as_posix()
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    for page in sources():
        content = notebook(page.read_text("utf-8"))
        files.append(File.generated(config, f"notebooks/{page.stem}.ipynb", content=content))
    files.append(File.generated(config, "explore/page.html", abs_src_path=str(PAGE)))
    return files


def on_page_markdown(markdown: str, page: Page | None = None, **_: Any) -> str:  # noqa: ANN401
    r"""Put tables where a page asks for them, as by `<!-- vocabulary -->`; show sessions as such.

    Solutions are folded, and a page that is a notebook, too, says where that is.

    Example:
        >>> on_page_markdown("```python\n>>> 1 + 1\n2\n```")
        '```pycon\n>>> 1 + 1\n2\n```'
    """
    markdown = markdown.replace(_THUMBNAILS, thumbnails(markdown))
    if page is not None and page.file.abs_src_path in map(str, sources()):
        markdown += _download(page.file.src_uri)
    markdown = _SESSION.sub(
        r"\1pycon\n\2", folded(markdown)
    )  # what was printed is not coloured as code
    return _MARK.sub(lambda mark: TABLES[mark[1]]() if mark[1] in TABLES else mark[0], markdown)


def on_page_content(html: str, page: Page, **_: Any) -> str:  # noqa: ANN401 - mkdocs' objects
    """Replace the LaTeX that arithmatex has marked by MathML, and formulas of docstrings."""
    html = _EQUATION.sub(_to_mathml, html)
    return with_formulas(html) if page.url.startswith("reference/") else html


def _download(uri: str) -> str:
    """A link from a page to its notebook."""
    target = posixpath.relpath(f"notebooks/{Path(uri).stem}.ipynb", posixpath.dirname(uri))
    return f"\n\n[Download this page as a notebook]({target})\n"


def thumbnails(markdown: str) -> str:
    """Every picture of a page, small, in a grid of links to the headings above them."""
    links = (
        f'<a href="#{slugify(found["title"], "-")}"><img src="{found["picture"]}" alt="">'
        f"{escape(found['title'])}</a>"
        for found in _SHOWN.finditer(markdown)
    )
    return f'<div class="thumbnails">{"".join(links)}</div>'


def _to_mathml(match: re.Match[str]) -> str:
    """One equation; a pair of bars becomes a group, so that exponents sit on the pair."""
    latex = _BARS.sub(_sided, unescape(match["latex"]).strip())
    mathml = convert(latex, display="block" if match["tag"] == "div" else "inline")
    for pattern, replacement in _REWRITES:
        mathml = pattern.sub(replacement, mathml)
    return mathml


def _sided(bar: re.Match[str]) -> str:
    return rf"\{_SIDES[bar[1]]}\{bar[1]}{bar[2]}ert"


def vocabulary_table() -> str:
    """All quantities that are predicted or measured, as a Markdown table.

    Example:
        >>> vocabulary_table().splitlines()[0]
        '| name | symbol | meaning | units | range | source |'
    """
    return _table(one for name, one in sorted(vocabulary().items()) if name not in PARAMETERS)


def parameter_table() -> str:
    """All parameters as a Markdown table.

    Example:
        >>> parameter_table().splitlines()[2][:24]
        '| `width` | d | width, t'
    """
    return _table(PARAMETERS.values())


def word_table(words: type[Word]) -> str:
    """The words of one list with their meanings, as a Markdown table.

    Example:
        >>> word_table(Phase).splitlines()[3]
        '| **kernel** | the network learns, and its tangent kernel stays what it was |'
    """
    return _lines(["word", "meaning"], ([f"**{word}**", word.meaning] for word in words))


def loss_table() -> str:
    """The losses that have a name, as a Markdown table.

    Example:
        >>> loss_table().splitlines()[2][:29]
        '| `mse` | E‖f − y‖²/k | mean '
    """
    rows = ([f"`{one.name}`", one.formula, one.meaning, one.units] for one in LOSSES.values())
    return _lines(["name", "formula", "meaning", "units"], rows)


def _table(quantities: Iterable[Quantity]) -> str:
    return _lines(["name", "symbol", "meaning", "units", "range", "source"], map(_row, quantities))


def _lines(head: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _row(quantity: Quantity) -> list[str]:
    texts = (quantity.symbol, quantity.meaning, quantity.units, _range(quantity))
    shown = (escape(text).replace("|", "&#124;") for text in texts)
    return [f"`{quantity.name}`", *shown, _source(quantity)]


def _source(quantity: Quantity) -> str:
    paper = re.search(r"arXiv:(\S+)", quantity.source)
    return f"[{paper[0]}](https://arxiv.org/abs/{paper[1]})" if paper else "derived here"


def _range(quantity: Quantity) -> str:
    low, high = (f"{bound:g}".replace("inf", "∞") for bound in (quantity.low, quantity.high))
    return f"{low} … {high}"


TABLES: dict[str, Callable[[], str]] = {
    "vocabulary": vocabulary_table,
    "parameters": parameter_table,
    "losses": loss_table,
    "phases": partial(word_table, Phase),
    "regimes": partial(word_table, Regime),
    "mechanisms": partial(word_table, Mechanism),
    "certificates": partial(word_table, Certificate),
    "notebooks": table,
}
"""The marks of pages, `<!-- vocabulary -->` and so on, and what stands in their place."""
