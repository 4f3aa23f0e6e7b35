"""Any model of the catalogue on the command line: its numbers as NAME=VALUE; `lazyrich cite`."""

from __future__ import annotations

import re
from inspect import Parameter, signature
from math import prod
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from lazyrich._errors import InputError
from lazyrich.cli.citation import in_one_line, software_entries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

    from lazyrich.theory.model import Model

OWN = {"words", "json"}  # of every command that takes a model
FIRST = "two_layer_linear"  # the model of the options of `solve` and `phase`
AUTHORS = r"(?P<authors>.*?(?:& [^,]+|et al\.)|[^,]+)"  # several, or one
REFERENCE = re.compile(AUTHORS + r", (?P<title>.*), arXiv:(?P<number>\S+)")


def model_names() -> list[str]:
    """The names of all models, which the tab key completes."""
    from lazyrich.theory.catalogue import models

    return sorted(models())


def completed(context: typer.Context) -> list[str]:
    """What the tab key offers: models that have the command, then the names that one takes.

    Args:
        context: words before it, of `solve` or `phase`, with the words before.
    """
    words = context.params.get("words")
    command = str(context.info_name)
    if not words:
        return sorted({*_with(command), FIRST})
    function = model_called(words[0]).commands.get(command)
    given = {word.partition("=")[0] for word in words}
    names = signature(function).parameters if function else ()
    return [f"{name}=" for name in names if name not in given]


Words = Annotated[
    list[str] | None,
    typer.Argument(
        help="A model, and its numbers as NAME=VALUE: 1, 1,2 or 0.1:10:5 (an axis), 1,0;0,1 (a "
        "matrix). Without one, the options below are of two-layer linear networks.",
        metavar="[MODEL] [NAME=VALUE]...",
        autocompletion=completed,
    ),
]


def has_model(words: Sequence[str]) -> bool:
    """Whether the words are of another model than the options are.

    Args:
        words: the words as typed, at least one.

    Raises:
        InputError: the first word is no model, or numbers follow the model that has options.
    """
    if model_called(words[0]).name != FIRST:
        return True
    if len(words) > 1:
        raise InputError(f"the numbers of {FIRST} are options, see --help, not {words[1]!r}")
    return False


def run_model(command: str, words: Sequence[str], context: typer.Context, *, json: bool) -> None:
    """Run what a model has under the name of a command, and print its Dataset.

    Args:
        command: `solve` or `phase`.
        words: the model, then NAME=VALUE.
        context: context of the command, which knows what options were given.
        json: print one object with `dims` of every matrix, and not a table.

    Raises:
        InputError: no such model, a name it does not take or lacks, or an option beside it.
    """
    from lazyrich.cli.parse import setting

    model = model_called(words[0])
    given = [
        name
        for name in context.params
        if name not in OWN and "COMMANDLINE" in str(context.get_parameter_source(name))
    ]
    if given:
        flag = given[0].replace("_", "-")
        raise InputError(
            f"the numbers of a model are NAME=VALUE, such as {given[0]}=1, not --{flag}"
        )
    if command not in model.commands:
        known = ", ".join(_with(command))
        raise InputError(f"{model.name} has no {command}; the models that have are {known}")
    function = model.commands[command]
    chosen = {
        name: value_of(name, text)
        for name, text in setting(list(words[1:]), of="what follows a model").items()
    }
    _require_names(function, chosen)
    _show(model, function(**chosen), json=json)


def model_called(name: str) -> Model:
    """A model by its name, also as people write it.

    Args:
        name: such as `balanced_linear` or `Balanced-Linear`.

    Raises:
        InputError: there is no such model.
    """
    from lazyrich.theory.catalogue import models

    every = models()
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    if plain not in every:
        raise InputError(f"there is no model {name!r}; choose from {', '.join(sorted(every))}")
    return every[plain]


def value_of(name: str, text: str) -> Any:  # noqa: ANN401 - what the model takes
    """A number, an axis, a list, a matrix, or else the text itself.

    Args:
        name: name of the number, which says how an axis is spaced.
        text: the text as it was typed.

    Example:
        >>> value_of("width", "2"), value_of("u", "1,0;0,1"), value_of("exponent", "1/2")
        (2.0, [[1.0, 0.0], [0.0, 1.0]], '1/2')
    """
    from lazyrich.cli.parse import axis, numbers

    if text.count(":") == 2:
        return axis(f"{name}={text}", name)[1].tolist()
    try:
        rows = [numbers(row, name) for row in text.split(";")]
    except InputError:
        return text
    if len(rows) > 1:
        return rows
    return rows[0] if len(rows[0]) > 1 else rows[0][0]


def cite(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model, such as two_layer_linear. Without one: lazyrich itself, and the papers "
            "that it follows.",
            autocompletion=model_names,
        ),
    ] = None,
    bibtex: Annotated[
        bool, Option("--bibtex", help="Print BibTeX; of a model, what is on arXiv.")
    ] = False,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name the papers that a model is from and what was derived here, or how to cite lazyrich."""
    from lazyrich.cli.show import print_json

    about: dict[str, str]
    if model is None:
        entries = software_entries()
        about, references = {}, [in_one_line(entry) for entry in entries]
    else:
        found = model_called(model)
        about = {"model": found.name, "equation": found.equation}
        references = list(found.references)
        entries = [entry for entry in map(entry_of, references) if entry]
    if json:
        print_json({**about, "references": references, "bibtex": entries})
    elif bibtex:
        typer.echo("\n\n".join(entries))
    else:
        title = [": ".join(about.values())] if about else []
        typer.echo("\n".join([*title, *references]))


def entry_of(reference: str) -> str | None:
    """The BibTeX entry of a reference with a number of arXiv; None for any other.

    Args:
        reference: `Authors, Title, arXiv:number`.

    Example:
        >>> print(entry_of("Xu & Ziyin, Three Mechanisms, arXiv:2401.07085"))
        @misc{arXiv:2401.07085,
          author = {Xu and Ziyin},
          title = {{Three Mechanisms}},
          year = {2024},
          eprint = {2401.07085},
          archivePrefix = {arXiv},
        }
    """
    parts = REFERENCE.fullmatch(reference)
    if parts is None:
        return None
    number, people = parts["number"], parts["authors"].replace(" et al.", ", others")
    fields = {
        "author": " and ".join(re.split(r", | & ", people)),
        "title": f"{{{parts['title']}}}",
        "year": f"20{number[:2]}",
        "eprint": number,
        "archivePrefix": "arXiv",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{arXiv:{number},", *lines, "}"])


def _with(command: str) -> list[str]:
    """The models that have a command of their own."""
    return [name for name in model_names() if command in model_called(name).commands]


def _require_names(function: Callable[..., xr.Dataset], chosen: dict[str, Any]) -> None:
    parameters = signature(function).parameters
    unknown = [name for name in chosen if name not in parameters]
    needed = [name for name, one in parameters.items() if one.default is Parameter.empty]
    missing = [name for name in needed if name not in chosen]
    if unknown or missing:
        wrong = f"there is no {unknown[0]}" if unknown else f"{', '.join(missing)} must be given"
        free = [name for name in parameters if name not in needed]
        rest = f", and may have {', '.join(free)}" if free else ""
        raise InputError(f"{wrong}: it takes {', '.join(needed)}{rest}, each as NAME=VALUE")


def _show(model: Model, data: xr.Dataset, *, json: bool) -> None:
    """Print a Dataset: what has no matrix as a table, everything as JSON."""
    from lazyrich.cli.parse import check_size
    from lazyrich.cli.show import print_json, print_table, say

    every = {str(name): one for name, one in (*data.coords.items(), *data.data_vars.items())}
    if json:
        print_json(
            {"model": model.name}
            | {name: one.values for name, one in every.items()}
            | {"dims": {name: list(map(str, one.dims)) for name, one in every.items()}}
        )
        return
    plain = [name for name, one in every.items() if set(one.dims) <= set(data.indexes)]
    shown = data.reset_coords()[[name for name in plain if name not in data.indexes]]
    check_size(prod(shown.sizes.values()), "the number of rows")
    if shown.dims:
        frame = shown.to_dataframe().reset_index()
        print_table({str(name): frame[name].tolist() for name in frame})
    else:
        print_table({str(name): [one.item()] for name, one in shown.items()})
    matrices = [name for name in every if name not in plain]
    if matrices:
        say(f"{', '.join(matrices)} are matrices: --json prints them")
