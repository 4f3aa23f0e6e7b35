"""What has changed between two descriptions, in words."""

from __future__ import annotations

from typing import Any

SHOWN = 6  # values of a list; of longer ones only those that came or went
Json = Any


def differences(was: Json, now: Json, where: str = "") -> list[str]:
    """One sentence for every field that differs between two tables; order does not matter.

    Args:
        was: the recorded description.
        now: the one that came.
        where: name of what is compared, with a point between its parts.

    Example:
        >>> differences({"base": {"width": 64}}, {"base": {"width": 128}})
        ['base.width: was 64; is 128.']
        >>> differences({"base": {}}, {"base": {"width": 128}})
        ['base.width: was absent; is 128.']
    """
    if isinstance(was, dict) and isinstance(now, dict):
        lines = []
        for name in [*was, *(name for name in now if name not in was)]:
            inner = f"{where}.{name}" if where else name
            if name not in was:
                lines.append(f"{inner}: was absent; is {_shown(now[name])}.")
            elif name not in now:
                lines.append(f"{inner}: was {_shown(was[name])}; is absent.")
            else:
                lines += differences(was[name], now[name], inner)
        return lines
    if _same(was, now):
        return []
    if isinstance(was, list) and isinstance(now, list) and max(len(was), len(now)) > SHOWN:
        return [_moved(was, now, where)]
    return [f"{where}: was {_shown(was)}; is {_shown(now)}."]


def _same(was: Json, now: Json) -> bool:
    return bool(was == now) and isinstance(was, bool) == isinstance(now, bool)


def _moved(was: list[Json], now: list[Json], where: str) -> str:
    gone = [value for value in was if value not in now]
    new = [value for value in now if value not in was]
    parts = [
        f"{word} {_shown(values[:SHOWN])}"
        for word, values in (("new", new), ("gone", gone))
        if values
    ]
    counts = f"had {len(was)} values; has {len(now)}"
    return f"{where}: {counts} ({', '.join(parts) or 'other order'})."


def _shown(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(entry) for entry in value) or "none"
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
