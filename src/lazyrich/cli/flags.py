"""Options that are on or off, as people write them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from typer.core import TyperCommand

MEANINGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


class Command(TyperCommand):
    """Takes `--json true` for `--json`, and `--json false` for its absence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - as typer has it
        """The arguments, each flag without a value."""
        flags = {name for p in self.params if getattr(p, "is_flag", False) for name in p.opts}
        return super().parse_args(ctx, without_values(args, flags))


def without_values(arguments: Sequence[str], flags: Collection[str]) -> list[str]:
    """Arguments in which a flag stands alone where it is on, and not at all where it is off.

    Args:
        arguments: arguments of a command; what follows `--` stays as it is.
        flags: names of the options that are on or off.

    Example:
        >>> without_values(["--json", "true", "--download=no", "true"], ["--json", "--download"])
        ['--json', 'true']
    """
    kept: list[str] = []
    flag = ""  # that stood just before, without a value
    for at, argument in enumerate(arguments):
        if argument == "--":
            return [*kept, *arguments[at:]]
        name, equals, value = argument.partition("=")
        meaning = MEANINGS.get((value if equals else argument).lower())
        if flag and not equals and meaning is not None:
            kept = kept if meaning else kept[:-1]
            flag = ""
        elif name in flags and equals and meaning is not None:
            kept += [name] if meaning else []
            flag = ""
        else:
            kept.append(argument)
            flag = argument if argument in flags else ""
    return kept
