"""The words for phases, regimes and mechanisms are spelt in one module."""

import ast
import pickle
from pathlib import Path

import pytest

import lazyrich
from lazyrich.vocabulary.regimes import CANNOT_TELL, Mechanism, Phase, Regime

SOURCE = Path(lazyrich.__file__).parent
HOME = SOURCE / "vocabulary" / "regimes.py"
LISTS = [{str(word) for word in words} | {CANNOT_TELL} for words in (Phase, Regime, Mechanism)]


def texts(nodes):
    return {node.value for node in nodes if isinstance(node, ast.Constant)}


def spelt(node):
    """The texts that a list, a `Literal`, the keys of a dict or a class of constants holds."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return texts(node.elts)
    if isinstance(node, ast.Dict):
        return texts(node.keys)
    if isinstance(node, ast.ClassDef):
        values = [part.value for part in node.body if isinstance(part, ast.Assign)]
        return texts(x.elts[0] if isinstance(x, ast.Tuple) and x.elts else x for x in values)
    return set()


def spelt_again(source):
    """Lines at which words of one list, two or more, are most of what stands together."""
    found = [(node, spelt(node)) for node in ast.walk(ast.parse(source))]
    return [
        node.lineno
        for node, words in found
        if any(len(words & one) > max(1, len(words) / 2) for one in LISTS)
    ]


@pytest.mark.parametrize(
    "source",
    [
        'STATUSES = ("lazy", "rich")',
        'Status = Literal["lazy", "rich", "frozen"]',
        'class Phase(StrEnum):\n    KERNEL = "kernel"\n    FEATURE = "feature"',
        'class Phase(Word):\n    KERNEL = "kernel", "stays"\n    FEATURE = "feature", "moves"',
        'COLOURS = {"alignment": BLUE, "rescaling": RED}',
        'NAMES = ["kernel", "cannot tell"]',
    ],
)
def test_a_second_list_is_seen(source):
    assert spelt_again(source)


def test_no_module_spells_a_list_again():
    again = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        if path != HOME
        for line in spelt_again(path.read_text(encoding="utf-8"))
    }
    assert not again
    assert spelt_again(HOME.read_text(encoding="utf-8"))


@pytest.mark.parametrize("words", [Phase, Regime, Mechanism])
def test_a_word_is_its_text(words):
    for word in words:
        assert repr(word) == repr(str(word))
        assert word == str(word)
        assert hash(word) == hash(str(word))
        assert pickle.loads(pickle.dumps(word)) is word
        assert word.meaning


def test_not_knowing_is_no_phase_and_no_regime():
    assert CANNOT_TELL not in {*Phase, *Regime, *Mechanism}
