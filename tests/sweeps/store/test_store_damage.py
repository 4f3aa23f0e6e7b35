"""A damaged store: found, named, mended; the rest unharmed."""

import shutil
import sqlite3
import warnings
from contextlib import suppress

import pytest

from lazyrich import StoreError, StoreWarning, results
from lazyrich.sweeps.store.folder import FRESH, NAME
from lazyrich.sweeps.store.mend import repair
from lazyrich.sweeps.store.rows import Row
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, pairs, result, same

COUNT = 5
HURT = key(2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "out"
    with Store.open(folder, STUDY) as store:
        store.write(pairs(range(COUNT)))
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "out")


def change(folder, what, *values):
    base = sqlite3.connect(folder / NAME)
    base.execute(f"UPDATE point SET {what} WHERE key = ?", (*values, HURT))
    base.commit()
    base.close()


def check_mended(folder, hurt=(HURT,)):
    """Damage is named, all others are read, and after a repair the damaged points can be made."""
    others = {key(n) for n in range(COUNT)} - set(hurt)
    with Store.open(folder, STUDY) as store:
        damaged = store.verify()
        assert len(damaged) == len(hurt)
        for damage in damaged:
            assert str(folder / NAME) in damage.sentence
            assert f"lazyrich store repair {folder}" in damage.sentence
        assert all(same(store.read(key(n)), result(n)) for n in range(COUNT) if key(n) in others)
    with pytest.warns(StoreWarning, match=r"left out: the point .* is damaged in .*repair"):
        data = results(folder)
    assert int((data.status != "").sum()) == len(others)
    assert len(repair(folder)) >= len(hurt)
    assert repair(folder) == ()
    with Store.open(folder, STUDY) as store:
        assert store.keys() == others
        assert store.write(pairs(range(COUNT))) == len(hurt)
        assert store.verify() == ()
        assert all(same(store.read(key(n)), result(n)) for n in range(COUNT))


@pytest.mark.parametrize(
    "what",
    [
        "status = 'fitted'",
        "status = 5",
        "description = 7",
        "fields = replace(fields, '2', '3')",
        "place = '{\"seed\": 3}'",
        "place = 'nonsense'",
        "header = x'00'",
        "payload = substr(payload, 1, 700)",
        "payload = 'text'",
        "digest = x'00'",
        "digest = 5",
    ],
)
def test_a_changed_cell_is_found(folder, what):
    change(folder, what)
    with Store.read_only(folder) as store:
        with pytest.raises(StoreError, match=f"the point {HURT[:12]} .*is damaged in .*repair"):
            store.read(HURT)
        said = [damage.sentence for damage in store.verify()]
        assert ("(at seed=2)" in said[0]) == (not what.startswith("place"))
    check_mended(folder)


def test_a_changed_key_does_not_drop_a_point_silently(folder):
    change(folder, "key = ?", "00" + HURT[2:])
    check_mended(folder)


def test_a_point_under_the_key_of_another_is_found(folder):
    """Two rows that change their places keep their own contents."""
    base = sqlite3.connect(folder / NAME)
    (one,) = base.execute("SELECT payload FROM point WHERE key = ?", (key(1),)).fetchone()
    base.execute("UPDATE point SET payload = ? WHERE key = ?", (one, HURT))
    base.commit()
    base.close()
    check_mended(folder)


def test_every_bit_of_a_payload_is_guarded(folder):
    content = (folder / NAME).read_bytes()
    raw = result(2).data.raw.values.tobytes()[:64]
    assert content.count(raw) == 1
    start = content.index(raw)
    for position in range(start, start + 64, 7):
        changed = bytearray(content)
        changed[position] ^= 4
        (folder / NAME).write_bytes(changed)
        with Store.read_only(folder) as store:
            assert [damage.key for damage in store.verify()] == [HURT]


@pytest.mark.parametrize("mend", ["repair", "sweep"])
def test_a_damaged_description_is_found_and_recorded_again(folder, mend):
    base = sqlite3.connect(folder / NAME)
    base.execute("UPDATE description SET text = replace(text, '\"seeds\": [0, ', '\"seeds\": [')")
    base.commit()
    base.close()
    with pytest.raises(StoreError, match=r"description of the study in .* is damaged\. Run its sw"):
        results(folder)
    with Store.read_only(folder) as store:
        (damage,) = store.verify()
        assert "a description of the study is damaged" in damage.sentence
        assert len(store.keys()) == COUNT
    if mend == "repair":
        assert repair(folder) == (damage,)
    Store.open(folder, STUDY).close()
    assert int((results(folder).status != "").sum()) == COUNT
    repair(folder)
    with Store.read_only(folder) as store:
        assert store.verify() == ()
        assert all(same(store.read(key(n)), result(n)) for n in range(COUNT))


def test_an_unsound_file_is_made_anew_from_its_rows(folder):
    content = bytearray((folder / NAME).read_bytes())
    index = content.rfind(HURT.encode())
    assert content.count(HURT.encode()) == 2  # in the table and in its index
    content[index] ^= 1
    (folder / NAME).write_bytes(content)
    with Store.read_only(folder) as store:
        damages = store.verify()
    assert damages[0].key == ""
    assert f"lazyrich store repair {folder} saves every point" in damages[0].sentence
    assert repair(folder) == damages
    assert (folder / "damaged-1" / NAME).read_bytes() == content
    assert not (folder / FRESH).exists()
    with Store.open(folder, STUDY) as store:
        assert store.verify() == ()
        left = store.keys()
        assert len(left) >= COUNT - 1
        store.write(pairs(range(COUNT)))
        assert all(same(store.read(key(n)), result(n)) for n in range(COUNT))


def test_a_file_that_is_cut_off_gives_back_what_can_be_read(tmp_path):
    """The last pages are gone, as after a crash of a file system: most points are saved."""
    folder = tmp_path / "out"
    with Store.open(folder, STUDY) as store:
        store.write(pairs(range(200)))
    content = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(content[: int(len(content) * 0.9) // 4096 * 4096])
    damages = repair(folder)
    assert damages
    with Store.open(folder, STUDY) as store:
        kept = store.keys()
        assert store.verify() == ()
        assert len(kept) > 100
        store.write(pairs(range(200)))
        assert all(same(store.read(key(n)), result(n)) for n in range(200))


@pytest.mark.parametrize("page", range(1, 12))
def test_a_damaged_page_costs_its_own_points_alone(tmp_path, page):
    """Whatever page is lost, others are read at once, and all is there in the end.

    The first page (not tried here) and the root of the table of points cost all of them.
    """
    folder = tmp_path / "out"
    with Store.open(folder, STUDY) as store:
        store.write(pairs(range(30)))
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'point'"
        (root,) = store._base._base.execute(root).fetchone()
    least = 0 if page + 1 == root else 20
    content = bytearray((folder / NAME).read_bytes())
    content[4096 * page : 4096 * (page + 1)] = b"\xa5" * 4096
    (folder / NAME).write_bytes(content)
    with Store.read_only(folder) as store, suppress(StoreError):  # if the description is lost
        assert len([row for row in store.rows() if isinstance(row, Row)]) >= least
        store.description  # noqa: B018
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            seen = int((results(folder).status != "").sum())
        assert (seen == 30) == (not told)
    repair(folder)
    with Store.open(folder, STUDY) as store:
        assert len(store.keys()) >= least
        store.write(pairs(range(30)))
        assert store.verify() == ()
        assert all(same(store.read(key(n)), result(n)) for n in range(30))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert int((results(folder).status != "").sum()) == 30


@pytest.mark.parametrize("content", [b"nonsense" * 1000, b"SQLite format 3\0" + b"x" * 8000])
def test_a_file_of_which_nothing_is_left_is_named(folder, content):
    (folder / NAME).write_bytes(content)
    for opened in (lambda: Store.open(folder, STUDY), lambda: Store.read_only(folder)):
        with pytest.raises(StoreError, match=r"store.sqlite is damaged .*lazyrich store repair"):
            opened()
    with pytest.raises(StoreError, match=r"nothing can be read from .*store.sqlite.*a backup"):
        repair(folder)
    assert (folder / NAME).read_bytes() == content


@pytest.mark.parametrize("renamed", [0, 1])
def test_a_repair_that_is_broken_off_is_taken_up(folder, monkeypatch, renamed):
    content = bytearray((folder / NAME).read_bytes())
    content[content.rfind(HURT.encode())] ^= 1
    (folder / NAME).write_bytes(content)
    rename, names = type(folder).rename, []

    def until(self, target):
        if len(names) == renamed:
            raise KeyboardInterrupt
        names.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", until)
    with pytest.raises(KeyboardInterrupt):
        repair(folder)
    monkeypatch.undo()
    if renamed:
        with pytest.raises(StoreError, match=r"the repair of the store .* was broken off\. Run it"):
            Store.open(folder, STUDY)
    repair(folder)
    with Store.open(folder, STUDY) as store:
        assert store.verify() == ()
        assert len(store.keys()) >= COUNT - 1


def test_a_store_is_not_repaired_while_somebody_writes(folder):
    with Store.open(folder, STUDY), pytest.raises(StoreError, match="must have one writer"):
        repair(folder)
