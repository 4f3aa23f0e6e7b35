"""What is released: the source distribution is the repository, the wheel is the package."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import lazyrich

pytest.importorskip("hatchling", reason="building needs the extra 'dev'")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LEFT_OUT = ".ci/"
TESTED = ("3.11", "3.12", "3.13")
STATED = "Programming Language :: Python :: 3."


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def test_the_source_distribution_holds_what_git_tracks(dist):
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git repository, but a source distribution itself")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as file:
        held = {name.partition("/")[2] for name in file.getnames()}
    expected = {name for name in tracked if not name.startswith(LEFT_OUT)}
    assert held == expected | {"PKG-INFO"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    source = Path(lazyrich.__file__).parent
    every = (path.relative_to(source.parent) for path in source.rglob("*") if path.is_file())
    package = {path.as_posix() for path in every if "__pycache__" not in path.parts}
    about = f"lazyrich-{lazyrich.__version__}.dist-info"
    held = {name for name in wheel.namelist() if not name.startswith(f"{about}/")}
    assert held == package
    assert {"lazyrich/py.typed", "lazyrich/__init__.pyi", "lazyrich/citation.bib"} <= held
    assert f"{about}/licenses/LICENSE" in wheel.namelist()


def test_the_metadata_is_whole(wheel):
    about = message_from_bytes(wheel.read(f"lazyrich-{lazyrich.__version__}.dist-info/METADATA"))
    assert (about["Name"], about["Version"]) == ("lazyrich", lazyrich.__version__)
    assert f"## [{lazyrich.__version__}] - " in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert (about["License-Expression"], about["Requires-Python"]) == ("MIT", ">=3.11")
    urls = dict(line.split(", ") for line in about.get_all("Project-URL"))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert urls
    assert all(url in readme for url in urls.values())
    core = [line for line in about.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(core) == len(PROJECT["dependencies"])


def test_the_versions_of_python_are_those_that_the_script_tries():
    stated = {x.removeprefix(STATED[:-2]) for x in PROJECT["classifiers"] if x.startswith(STATED)}
    assert stated == set(TESTED)
    script = (ROOT / "scripts" / "release").read_text("utf-8")
    (tried,) = re.findall(r"for version in (.*); do", script)
    assert tuple(tried.split()) == TESTED
    assert PROJECT["requires-python"] == f">={TESTED[0]}"
