"""Formulas of docstrings, which are plain Unicode in a terminal, as MathML on the site.

A docstring writes `‖Θ − Θ_0‖_F / ‖Θ_0‖_F`. What reads as a formula, and not as Python, is
translated to LaTeX here; anything that does not come out right stays as it is written.
"""

from __future__ import annotations

import re
from html import escape, unescape

from latex2mathml import exceptions
from latex2mathml.converter import convert

_SIGN = re.compile(r"[‖√ΣΔ∂∇²³ᵀ₀-₉ᵢ∝≈·−×½α-ωΓΘΛΞΠΦΨΩ]")
_PYTHON = re.compile(
    r"""["'\[\]{}]|[a-z]{2}_[a-z]|_[a-z]{4}|\w\.\w|==|=\w+\(|\b[a-z]\w*=|\bself\b"""
)
_FUNCTIONS = {"exp", "ln", "log", "cos", "sin", "tan", "sinh", "cosh", "tanh", "max", "min"}
_OPERATORS = {"tr", "rms", "diag", "rank", "sgn", "erf", "softmax", "vec", "cov", "std"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀⁿⁱᵃᵇᶜ", "0123456789-+Tniabc")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₋₊ᵢⱼₗₜₙ", "0123456789-+ijltn")
_SYMBOLS = {
    **{"·": r"\cdot ", "−": "-", "≤": r"\le ", "≥": r"\ge ", "∝": r"\propto ", "≈": r"\approx "},
    **{"→": r"\to ", "×": r"\times ", "∞": r"\infty ", "∇": r"\nabla ", "∂": r"\partial "},
    **{"½": r"{\tfrac12}", "…": r"\dots ", "⟨": r"\langle ", "⟩": r"\rangle ", "±": r"\pm "},
    **{"∈": r"\in ", "≪": r"\ll ", "≫": r"\gg ", "≠": r"\ne ", "∫": r"\int ", "%": r"\% "},
    **{"⊗": r"\otimes ", "~": r"\sim ", "&": r"\& ", "#": r"\# "},
}
UNREADABLE = (
    exceptions.DoubleSubscriptsError,
    exceptions.DoubleSuperscriptsError,
    exceptions.MissingSuperScriptOrSubscriptError,
)
_CODE = re.compile(r"<pre.*?</pre>|<code>([^<>]+)</code>|arXiv:(\d{4}\.\d{4,5})", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")


def with_formulas(html: str) -> str:
    """A page of the reference with its inline formulas as MathML and its papers as links.

    Example:
        >>> with_formulas("<code>loss</code> of <code>Δθ</code>").count("<math")
        1
    """
    return _CODE.sub(_shown, html)


def _shown(code: re.Match[str]) -> str:
    if code[2]:
        return f'<a href="https://arxiv.org/abs/{code[2]}">{code[0]}</a>'
    if code[1] is None:
        return code[0]
    latex = to_latex(unescape(code[1]))
    try:
        mathml = "" if latex is None else convert(latex)
    except UNREADABLE:
        return code[0]
    labelled = f'<math aria-label="{escape(unescape(code[1]))}"'
    return mathml.replace("<math", labelled, 1) or code[0]


def to_latex(text: str) -> str | None:
    r"""A formula in LaTeX; None for what is no formula, or is not understood.

    Example:
        >>> print(to_latex("‖W‖_F² / η"))
        \lVert W\rVert _{F}^{2} / η
        >>> print(to_latex("Σ_i √(η_u η_w)"), to_latex("flow(state, network)"))
        \sum _{i} \sqrt{η_{u} η_{w}} None
    """
    if not _SIGN.search(text) or _PYTHON.search(text):
        return None
    if text.count("‖") % 2 or text.count("|") % 2 or text.count("(") != text.count(")"):
        return None
    text = _grouped(text)
    for bar, name in (("‖", "Vert"), ("|", "vert")):
        parts = text.split(bar)
        sides = [rf"\{'lr'[i % 2]}{name} " for i in range(len(parts) - 1)]
        text = "".join(part + side for part, side in zip(parts, [*sides, ""], strict=True))
    return _worded(text)


def _grouped(text: str) -> str:
    """Raised and lowered signs as groups, roots with their argument."""
    text = re.sub(r"([⁰¹²³⁴-⁹⁻⁺ᵀⁿⁱᵃᵇᶜ]+)", lambda m: f"^{{{m[1].translate(_RAISED)}}}", text)
    text = re.sub(r"([₀-₉₋₊ᵢⱼₗₜₙ]+)", lambda m: f"_{{{m[1].translate(_LOWERED)}}}", text)
    text = re.sub(r"_([0-9A-Za-zα-ωΑ-Ω*]+(?:,[0-9a-z]+)*)", r"_{\1}", text)
    text = re.sub(r"(?<=[a-zα-ωΘ])\*", "^{*}", text)
    text = re.sub(r"Σ(?=_\{[a-z]\})", r"\\sum ", text)  # Σ_i adds up, Σ_xx is a covariance
    text = re.sub(r"√([A-Za-zα-ωΑ-Ω0-9](?:_\{[^}]*\})?)", r"\\sqrt{\1}", text)
    for mark, opening in (("√(", r"\sqrt{"), ("^(", "^{"), ("_(", "_{(")):
        while (start := text.find(mark)) >= 0:
            end = _closing(text, start + 1)
            inner = text[start + 2 : end] + ")" * opening.endswith("(")
            text = f"{text[:start]}{opening}{inner}}}{text[end + 1 :]}"
    return text


def _closing(text: str, start: int) -> int:
    """Where the parenthesis closes that opens at a place."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return place
    raise ValueError(text)


def _worded(text: str) -> str:
    """Names of functions upright, words as words, signs as commands."""

    def word(match: re.Match[str]) -> str:
        found = match[0]
        if text[max(0, match.start() - 1)] == "\\":
            return found
        if found in _FUNCTIONS:
            return rf"\{found} "
        if found in _OPERATORS or (len(found) > 2 and found.islower()):
            return rf"\operatorname{{{found}}}" if found in _OPERATORS else rf"\text{{{found}}}"
        return found

    text = _WORD.sub(word, text)
    return "".join(_SYMBOLS.get(sign, sign) for sign in text)
