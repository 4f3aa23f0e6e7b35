"""Numbers in sentences: no powers as computers write them, and the number is the one that came."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazyrich.vocabulary.numerals import in_words

UNITS = {"million": 1e6, "billion": 1e9, "trillion": 1e12}
LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
MAGNITUDES = st.builds(
    lambda mantissa, power: mantissa * 10.0**power,
    st.floats(1, 10) | st.sampled_from([1.0, 9.95, 9.949, 9.994, 9.995, 9.999999]),
    st.integers(-300, 300),
)


def read(text):
    """The number back from its words, by a reader who knows nothing of how it was written."""
    found = re.fullmatch(r"(−?)([\d,.]+)(?: × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)| (\w+))?", text)
    assert found, text
    sign, digits, power, unit = found.groups()
    size = float(digits.replace(",", ""))
    size *= 10.0 ** int(power.translate(LOWERED)) if power else UNITS[unit] if unit else 1
    return -size if sign else size


@given(MAGNITUDES, st.integers(1, 4), st.booleans())
def test_what_is_read_is_what_was_written(size, digits, negative):
    number = -size if negative else size
    text = in_words(number, digits)
    assert not re.search(r"\de[+-]?\d", text)
    assert read(text) == pytest.approx(number, rel=0.5 * 10.0 ** (1 - digits) * (1 + 1e-9))


@given(MAGNITUDES)
def test_a_number_is_short(size):
    assert len(re.sub(r"\D", "", in_words(size).split(" × ")[0])) <= 7


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((72.4, "72"), (7.24, "7.2"), (99.96, "100"), (645.2, "645"), (9999.6, "10,000")),
        *((999_999.9, "1 million"), (2.51e6, "2.5 million"), (1e9, "1 billion")),
        *((4.93e13, "49 trillion"), (9.96e14, "1 × 10¹⁵"), (3.4e38, "3.4 × 10³⁸")),
        *((0.5, "0.5"), (0.0312, "0.031"), (1e-4, "0.0001"), (9.4e-5, "9.4 × 10⁻⁵")),
        *((0.0, "0"), (-0.0, "0"), (-72.4, "−72"), (math.inf, "infinity")),
        *((-math.inf, "−infinity"), (math.nan, "an unknown number"), (5e-324, "4.9 × 10⁻³²⁴")),
    ],
)
def test_known_numbers(number, text):
    assert in_words(number) == text
