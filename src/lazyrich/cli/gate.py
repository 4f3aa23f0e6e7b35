"""A gate for automatic checks: which verdicts let a network through, and why not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lazyrich._errors import InputError
from lazyrich.vocabulary.regimes import CANNOT_TELL, JudgedRegime, Regime

FAILED = 3  # exit code of a gate that does not open

VERDICTS: tuple[JudgedRegime, ...] = (*Regime, CANNOT_TELL)
KNOWN: tuple[JudgedRegime, ...] = tuple(regime for regime in Regime if regime != Regime.UNSTABLE)


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """Whether a gate opened.

    Attributes:
        passed: whether it did.
        sentence: the same in words, with the reason.
    """

    passed: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What a verdict must be, and must not be, to pass. What is unstable passes no gate.

    Attributes:
        fail_if: verdicts that fail.
        require: regimes of which the verdict must be one; none asks for nothing.
    """

    fail_if: tuple[JudgedRegime, ...]
    require: tuple[JudgedRegime, ...]

    @classmethod
    def of(cls, fail_if: Iterable[str], require: Iterable[str]) -> Gate | None:
        """From the options of a command; None where neither is given.

        Args:
            fail_if: verdicts, in capital or small letters, `-` and `_` being spaces.
            require: regimes, likewise; neither "unstable" nor "cannot tell", which pass no gate
                that requires something.

        Raises:
            InputError: another word, or one that both name.

        Example:
            >>> Gate.of(["Lazy", "cannot-tell"], [])
            Gate(fail_if=('lazy', 'cannot tell'), require=())
        """
        failing = tuple(_word(text, "--fail-if", VERDICTS) for text in fail_if)
        wanted = tuple(_word(text, "--require", KNOWN) for text in require)
        if both := [regime for regime in wanted if regime in failing]:
            raise InputError(
                f"--fail-if and --require must name different regimes, both name {both[0]!r}. "
                "Leave one out."
            )
        return cls(fail_if=failing, require=wanted) if failing or wanted else None

    def ruling(self, regime: JudgedRegime) -> Ruling:
        """Whether a network of this regime passes.

        Args:
            regime: the verdict.

        Example:
            >>> Gate.of(["lazy"], []).ruling(Regime.UNSTABLE).sentence
            'The gate failed: the training was unstable, and that passes no gate.'
        """
        if regime == Regime.UNSTABLE:
            return _failed("the training was unstable, and that passes no gate")
        if regime in self.fail_if:
            return _failed(
                f"the verdict is {_quoted(regime)}, and it fails on {_any(self.fail_if)}"
            )
        if self.require and regime not in self.require:
            return _failed(
                f"the verdict is {_quoted(regime)}, and it requires {_any(self.require)}"
            )
        if self.require:
            return _passed(
                f"the verdict is {_quoted(regime)}, and it requires {_any(self.require)}"
            )
        only = f"the verdict is {_quoted(regime)}, and it fails on {_any(self.fail_if)} alone"
        if regime == CANNOT_TELL:
            only += ". It may be so all the same: --require lets only known regimes pass"
        return _passed(only)


def _word(text: str, option: str, words: tuple[JudgedRegime, ...]) -> JudgedRegime:
    wanted = text.strip().lower().replace("-", " ").replace("_", " ")
    for word in words:
        if word == wanted:
            return word
    names = ", ".join(map(_quoted, words))
    reason = " What is not known to be stable passes no --require." if wanted in VERDICTS else ""
    raise InputError(
        f"{option} must be one of {names}, got {text!r}.{reason} Repeat the option for several."
    )


def _quoted(regime: JudgedRegime) -> str:
    return f'"{regime}"' if " " in regime else str(regime)


def _any(regimes: tuple[JudgedRegime, ...]) -> str:
    return " or ".join(map(_quoted, dict.fromkeys(regimes)))


def _passed(why: str) -> Ruling:
    return Ruling(passed=True, sentence=f"The gate passed: {why}.")


def _failed(why: str) -> Ruling:
    return Ruling(passed=False, sentence=f"The gate failed: {why}.")
