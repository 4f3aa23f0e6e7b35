"""A damaged store: found, named, mended; the rest unharmed."""

import shutil
import sqlite3

import pytest

from lazyrich import StoreError
from lazyrich.sweeps.store.record import NAME
from lazyrich.sweeps.store.segments import MAGIC
from lazyrich.sweeps.store.store import Store
from tests.sweeps.stored import STUDY, key, result, same

COUNT = 5
HURT = key(2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "out"
    with Store.open(folder, STUDY) as store:
        store.write({key(n): result(n) for n in range(COUNT)})
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "out")


def arrays(folder):
    return folder / "arrays" / "000001.bin"


def starts(content):
    return [i for i in range(len(content)) if content.startswith(MAGIC, i)]


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


def check_mended(folder, hurt, file):
    with Store.open(folder, STUDY) as store:
        damaged = store.verify()
        assert [(damage.key, damage.file) for damage in damaged] == [(k, file) for k in hurt]
        for damage in damaged:
            assert damage.key in damage.sentence
            assert str(file) in damage.sentence
            with pytest.raises(
                StoreError, match=f"the point {damage.key} is damaged in .*repair=True"
            ):
                store.read(damage.key)
        others = {key(n) for n in range(COUNT)} - set(hurt)
        assert all(same(store.read(k), result(int(k, 16))) for k in others)
        assert store.verify(repair=True) == damaged
        assert store.keys() == others
        store.write({key(n): result(n) for n in range(COUNT)})
        assert store.verify() == ()
        assert all(same(store.read(key(n)), result(n)) for n in range(COUNT))


@pytest.mark.parametrize("where", [0, 3, 9, 20, 40, 700, -1])
def test_a_flipped_bit_in_an_array_is_found(folder, where):
    content = arrays(folder).read_bytes()
    begin, end = starts(content)[2:4]
    flip(arrays(folder), (begin if where >= 0 else end) + where)
    check_mended(folder, [HURT], arrays(folder))


def test_every_bit_is_guarded(folder):
    begin, end = starts(arrays(folder).read_bytes())[2:4]
    with Store.read_only(folder) as store:
        for position in range(begin, end, 97):
            flip(arrays(folder), position)
            store._segments.close()  # a file that was written anew
            assert [damage.key for damage in store.verify()] == [HURT]
            flip(arrays(folder), position)


def test_arrays_that_end_early_or_are_gone_are_found(folder):
    begin = starts(arrays(folder).read_bytes())[3]
    with arrays(folder).open("r+b") as file:
        file.truncate(begin + 50)
    check_mended(folder, [key(3), key(4)], arrays(folder))


def test_arrays_that_are_gone_are_found(folder):
    arrays(folder).unlink()
    check_mended(folder, [key(n) for n in range(COUNT)], arrays(folder))


def test_an_entry_in_the_place_of_another_is_found(folder):
    content = arrays(folder).read_bytes()
    _, a, b, _, c = starts(content)
    assert b - a == len(content) - c
    arrays(folder).write_bytes(content[:a] + content[c:] + content[b:c] + content[a:b])
    check_mended(folder, [key(1), key(4)], arrays(folder))


@pytest.mark.parametrize(
    "change",
    [
        "status = 'fitted'",
        "start = start + 1",
        "segment = 7",
        "digest = x'00'",
        "seal = 'text'",
        "digest = 5",
    ],
)
def test_a_changed_line_of_the_record_is_found(folder, change):
    base = sqlite3.connect(folder / NAME)
    base.execute(f"UPDATE point SET {change} WHERE key = ?", (HURT,))
    base.commit()
    base.close()
    check_mended(folder, [HURT], folder / NAME)


def test_an_unsound_record_is_named_and_rebuilt(folder):
    content = bytearray((folder / NAME).read_bytes())
    index = content.rfind(HURT.encode())
    assert content.count(HURT.encode()) == 2  # in the table and in its index
    content[index] ^= 1
    (folder / NAME).write_bytes(content)
    with Store.open(folder, STUDY) as store:
        damaged = [damage for damage in store.verify() if not damage.key]
        assert "record.sqlite is damaged" in damaged[0].sentence
        assert "Use Store.rebuild(folder, study)" in damaged[0].sentence
    check_rebuilt(folder)


@pytest.mark.parametrize("content", [b"nonsense" * 1000, b"SQLite format 3\0" + b"x" * 8000])
def test_a_record_that_cannot_be_read_is_named_and_rebuilt(folder, content):
    (folder / NAME).write_bytes(content)
    for opened in (lambda: Store.open(folder, STUDY), lambda: Store.read_only(folder)):
        with pytest.raises(StoreError, match=r"record.sqlite is damaged .*Store.rebuild\(folder"):
            opened()
    check_rebuilt(folder)
    assert (folder / "damaged-1" / NAME).read_bytes() == content


def test_a_record_that_is_torn_in_the_middle_is_named(folder):
    content = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    with pytest.raises(StoreError, match=r"record.sqlite is damaged .*Store.rebuild\(folder"):
        Store.open(folder, STUDY).verify()
    check_rebuilt(folder)


def test_a_record_that_is_gone_is_made_anew_from_the_arrays(folder):
    with Store.open(folder, STUDY) as store:
        store.write({key(2): result(1)}, replace_failed=True)  # the last entry of a key is valid
    (folder / NAME).unlink()
    with Store.open(folder, STUDY) as store:
        assert len(store.keys()) == COUNT
        assert store.read(key(2)).sentence == "point 1"


def check_rebuilt(folder):
    flip(arrays(folder), starts(arrays(folder).read_bytes())[1] + 500)
    with Store.rebuild(folder, STUDY) as store:
        assert store.keys() == {key(n) for n in range(COUNT) if n != 1}
        assert store.verify() == ()
        assert all(same(store.read(key(n)), result(n)) for n in range(COUNT) if n != 1)
        assert store.write({key(1): result(1)}) == 1
    with Store.open(folder, STUDY) as store:
        assert store.verify() == ()
        assert len(store.keys()) == COUNT
