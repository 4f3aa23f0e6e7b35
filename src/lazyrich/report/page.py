"""The parts of a page that loads nothing: its shell, tables and embedded pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = """
:root { color-scheme: light; --ink: #1d2529; --quiet: #59666d; --line: #dfe4e7; --card: #fff; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: #f6f8f8;
       max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: break-word; }
h1 { font-size: clamp(1.5rem, 5vw, 2.1rem); line-height: 1.2; margin: .2rem 0 .6rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .4rem; }
p { max-width: 46rem; margin: .4rem 0 .8rem; }
img { max-width: 100%; height: auto; display: block; }
img.small { max-width: min(100%, 30rem); }
.quiet, footer { color: var(--quiet); font-size: .875rem; }
.table { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
         border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { padding: .45rem .8rem; text-align: left; vertical-align: top;
         border-bottom: 1px solid var(--line); }
th { font-size: .8rem; font-weight: 600; color: var(--quiet); white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
.grid { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fill, minmax(min(100%,
        22rem), 1fr)); }
figure { margin: 0; padding: .7rem; background: var(--card); border: 1px solid var(--line);
         border-radius: .6rem; }
figure img { width: 100%; }
.grid.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
ul { padding-left: 1.2rem; max-width: 46rem; }
figcaption { color: var(--quiet); font-size: .875rem; margin-top: .3rem; }
footer { margin-top: 3rem; }
"""

SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<footer>{footer}</footer>
</body>
</html>
"""


def page(title: str, body: str, footer: str, *, style: str = "") -> str:
    """A whole page; `body` is HTML, `title` and `footer` are plain text, `style` is more CSS."""
    return SHELL.format(title=escape(title), style=STYLE + style, body=body, footer=escape(footer))


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls by itself where the page is narrow; titles and cells are HTML."""
    titles = "".join(f"<th scope='col'>{title}</th>" for title in head)
    top = f"<thead><tr>{titles}</tr></thead>" if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    scroll = '<div class="table" tabindex="0" role="region">'  # so that keys can scroll it
    return f"{scroll}<table>{top}<tbody>{body}</tbody></table></div>"


def picture(content: bytes, kind: str, alt: str, *, css: str = "") -> str:
    """An embedded picture; `kind` is `png` or `svg+xml`."""
    encoded = base64.b64encode(content).decode()
    chosen = f' class="{css}"' if css else ""
    return f'<img{chosen} alt="{escape(alt)}" src="data:image/{kind};base64,{encoded}">'


def drawing(figure: Figure, alt: str) -> str:
    """A matplotlib figure as an embedded drawing."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return picture(buffer.getvalue(), "svg+xml", alt)
