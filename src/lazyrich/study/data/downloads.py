"""Files of data sets: where they lie on this machine, and how they get there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from lazyrich._errors import InputError, MissingExtraError

VARIABLE = "LAZYRICH_DATA"
DEBIAN = Path("/usr/share/datasets")  # where Debian's dataset-* packages put their files
TIMEOUT = 30  # seconds without an answer
BY_HAND = f"into a folder and name it with folder=, --data-dir or the variable {VARIABLE}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of a data set, on this machine and on the web.

    Attributes:
        name: name of the data set, and of its folder in the cache.
        files: names that it may have in a folder, each plain or with `.gz` behind it.
        subfolders: subfolders of a given folder, in which they may lie.
        checksums: checksums of the files on the web, by their names there: `sha256:` and the
            digits.
        addresses: folders on the web that hold these files, tried in this order.
    """

    name: str
    files: tuple[str, ...]
    subfolders: tuple[str, ...]
    checksums: Mapping[str, str]
    addresses: tuple[str, ...]

    def in_folder(self, folder: Path, file: str) -> Path | None:
        """The path of a file in a folder, plain or gzipped, or None."""
        tries = (folder / file, folder / f"{file}.gz")
        return next((path for path in tries if path.is_file()), None)

    def path(self, folder: Path, file: str) -> Path:
        """The path of a file in a folder, plain or gzipped.

        Raises:
            InputError: it is not there.
        """
        found = self.in_folder(folder, file)
        if found is None:
            raise InputError(
                f"{self.name} needs the file {file} (or {file}.gz), which is not in {folder}, "
                "where other files of it are. Put it there."
            )
        return found


def folder_of(source: Source, folder: str | Path | None, *, download: bool) -> Path:
    """The folder that holds a data set, or a part of it.

    The given folder is looked at first, then those of the system, then the cache of earlier
    downloads.

    Args:
        source: the data set.
        folder: folder to look at first; None takes the one that LAZYRICH_DATA names.
        download: fetch what is nowhere.

    Raises:
        InputError: the given folder does not exist; the files are nowhere; or the download fails.
        MissingExtraError: pooch, which downloads, is not installed.
    """
    looked = _places(source, folder)
    for place in looked if download else [*looked, *_cache(source)]:
        if any(source.in_folder(place, file) for file in source.files):
            return place
    if download:
        return fetch(source)
    first, where = source.files[0], ", ".join(str(place) for place in looked)
    raise InputError(
        f"{source.name} needs the file {first} (or with .gz), which is missing. Put the set's "
        f"files {BY_HAND}; or have them downloaded: download=True, or --download of diagnose and "
        f"sweep. Looked at: {where}."
    )


def fetch(source: Source) -> Path:
    """Download the files that the cache does not hold whole; its folder.

    A file gets its name only when it is whole and its checksum right. An interrupted download
    goes on with the first file that is not there.

    Args:
        source: the data set.

    Raises:
        InputError: no address gives a file with the right checksum, or the cache is not writable.
        MissingExtraError: pooch is not installed.
    """
    places = _cache(source)
    if not places:
        raise MissingExtraError("pooch", "data")
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as progress:
        for file in source.checksums:
            _fetched(source, file, places[0], progress)
    return places[0]


def _fetched(source: Source, file: str, folder: Path, progress: Progress) -> None:
    """Get one file from the first address that has it whole."""
    import pooch
    from requests import RequestException

    reasons = []
    bar = _Bar(progress, file)
    for address in source.addresses:
        downloader = pooch.HTTPDownloader(
            progressbar=bar,
            timeout=TIMEOUT,
            headers={"Accept-Encoding": "identity"},  # a file.gz stays gzipped
        )
        try:
            pooch.retrieve(address + file, source.checksums[file], file, folder, None, downloader)
        except RequestException as error:
            reasons.append(f"{address}: the connection failed or broke off ({error})")
        except ValueError:
            reasons.append(f"{address}: what came is damaged, its checksum is wrong")
        except OSError as error:
            raise InputError(
                f"{file} cannot be written into {folder} ({error}). Make room there, or put the "
                f"set's files {BY_HAND}."
            ) from error
        else:
            return
    raise InputError(
        f"{source.name}: {file} could not be downloaded. {'; '.join(reasons)}. Nothing was kept of "
        f"it. Try again later, or put the set's files {BY_HAND}."
    )


def _places(source: Source, folder: str | Path | None) -> list[Path]:
    given = folder if folder is not None else os.environ.get(VARIABLE) or None
    if given is not None and not Path(given).is_dir():
        name = VARIABLE if folder is None else "`folder`"
        raise InputError(
            f"{name} must be a folder that exists, got {str(given)!r}. Make it and put the files "
            "there, or leave it out to look in the usual places."
        )
    roots = [DEBIAN] if given is None else [Path(given), DEBIAN]
    return [root / sub for root in roots for sub in (*source.subfolders, "")]


def _cache(source: Source) -> list[Path]:
    """The folder of earlier downloads; none without pooch, which made them."""
    try:
        import pooch
    except ModuleNotFoundError:
        return []
    return [Path(pooch.os_cache("lazyrich")) / source.name]


class _Bar:
    """A bar of rich with the attributes that pooch uses; it shows when the first byte is due."""

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None, visible=False)

    @property
    def total(self) -> float | None:
        """Bytes of the file."""
        return self._progress.tasks[self._task].total

    @total.setter
    def total(self, size: int) -> None:
        self._progress.update(self._task, total=size or None, completed=0, visible=True)

    def update(self, size: int) -> None:
        """So many bytes came."""
        self._progress.advance(self._task, size)

    def reset(self) -> None:
        """None came so far."""
        self._progress.update(self._task, completed=0)

    def close(self) -> None:
        """The file is there; the bar stays."""
