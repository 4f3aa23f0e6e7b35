"""Pages as notebooks: the Markdown of a page is the source, jupytext makes the cells.

    python docs/as_notebook.py FOLDER    # writes all notebooks of the site, without outputs

Examples lose their prompts and outputs, pictures are left to the code that draws them, and links,
which lead nowhere from a notebook, to the site.
"""

from __future__ import annotations

import re
import sys
from doctest import DocTestParser
from pathlib import Path

import jupytext
import nbformat

DOCS = Path(__file__).parent
_FENCE = re.compile(r"^```python(?P<options>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
_PICTURE = re.compile(r"^!\[[^\]]*\]\([^)]*\)\n", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")
_DRAWS = re.compile(r"^\s*figure = ", re.MULTILINE)
_HIDDEN = 'jupyter={"source_hidden": true}'
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def sources() -> list[Path]:
    """The pages that are notebooks, too: those of the tutorial, and the lectures.

    Example:
        >>> [page.name for page in sources()][-1]
        'three-mechanisms.md'
    """
    lectures = set((DOCS / "notebooks").glob("*.md")) - {DOCS / "notebooks" / "index.md"}
    return [*sorted((DOCS / "tutorial").glob("*.md")), *sorted(lectures)]


def notebook(markdown: str) -> str:
    r"""The text of the notebook of a page.

    Args:
        markdown: of the page.

    Example:
        >>> made = nbformat.reads(notebook("Add.\n\n```python\n>>> 1 + 1\n2\n```\n"), 4)
        >>> [(cell.cell_type, cell.source) for cell in made.cells]
        [('markdown', 'Add.'), ('code', '1 + 1')]
    """
    text = _LINK.sub(r"\1", _PICTURE.sub("", _FENCE.sub(_cell, markdown)))
    made = jupytext.reads(text, fmt="md")
    made.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"  # the same page is the same notebook
    return nbformat.writes(made, 4) + "\n"


def _cell(fence: re.Match[str]) -> str:
    """A fence whose code a cell can run, and which shows the figure that it draws."""
    examples = DocTestParser().get_examples(fence["code"])
    code = "".join(one.source for one in examples) if examples else fence["code"]
    shown = "figure\n" if _DRAWS.search(code) else ""
    return f"```python{fence['options']}\n{code}{shown}```"


def folded(markdown: str) -> str:
    r"""A page with its solutions folded, which in the notebook are cells with a hidden source.

    Args:
        markdown: of the page.

    Example:
        >>> fence = '```python jupyter={"source_hidden": true}'
        >>> print(folded("\n".join([fence, "1 + 1", "```"])))
        ??? success "Solution"
        <BLANKLINE>
            ```python
            1 + 1
            ```
    """

    def fold(fence: re.Match[str]) -> str:
        if _HIDDEN not in fence["options"]:
            return fence[0]
        code = "".join(f"    {line}".rstrip() + "\n" for line in fence["code"].splitlines())
        return f'??? success "Solution"\n\n    ```python\n{code}    ```'

    return _FENCE.sub(fold, markdown)


def table() -> str:
    """All notebooks: where to read and to download them, and what they need beside the library."""
    rows = ["| notebook | page | needs |", "|---|---|---|"]
    for page in sources():
        text = page.read_text("utf-8")
        title = text.partition("\n")[0].removeprefix("# ")
        needs = "PyTorch" if "import torch" in text else "–"
        here = page.relative_to(DOCS).as_posix()
        rows.append(f"| [{title}]({page.stem}.ipynb) | [read it here](../{here}) | {needs} |")
    return "\n".join(rows)


if __name__ == "__main__":
    for page in sources():
        (Path(sys.argv[1]) / f"{page.stem}.ipynb").write_text(notebook(page.read_text("utf-8")))
