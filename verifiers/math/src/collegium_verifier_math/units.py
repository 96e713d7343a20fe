r"""Units after an answer: ``15\text{ cm}^2``, ``3.25 dollars``; two that are both known are compared and converted.

A unit that only one of the two writes is overlooked: a question mostly says the unit, and a reference may leave it out.
Words that are no unit (``12 ways``, ``5 apples``) are overlooked, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from collegium_verifier_math.plain_number import plain_number

LONGEST = 120
"""Characters at the end of a text in which a unit is looked for."""

_LATEX = re.compile(
    r"\\(?:text|mbox|mathrm|textrm|hbox)\s*\{[\s~]*([A-Za-z][A-Za-z.\s/]{0,40}?)[\s.~]*\}\s*(?:\^\s*\{?\s*(\d)\s*\}?)?[\s.$]*$"
)
_PLAIN = re.compile(
    r"(?<=[\d}.)])(?:\s{0,3}((?:square |cubic |sq\.? )?[A-Za-z]{2,12}(?:/[a-z]{1,4})?)|\s{1,3}([mgshL]))\.?\s*"
    r"(?:\^\s*\{?(\d)\}?)?[\s.$]*$"
)
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?[\s.$]*$")
_PRICE = re.compile(r"\s*\\?\$\s*(\d[\d,]*(?:\.\d+)?)\s*")
_POWERS = {"square": 2, "sq": 2, "cubic": 3}

_SIZES: dict[str, tuple[str, Fraction]] = {}


def _define(dimension: str, **sizes: int | Fraction) -> None:
    for names, size in sizes.items():
        for name in names.split("_"):
            _SIZES[name] = (dimension, Fraction(size))


_define(
    "length", mm_millimeter_millimetre=Fraction(1, 1000), cm_centimeter_centimetre=Fraction(1, 100), m_meter_metre=1,
    km_kilometer_kilometre=1000, inch_inche_in=Fraction(254, 10_000), ft_foot_feet=Fraction(3048, 10_000),
    yd_yard=Fraction(9144, 10_000), mi_mile=Fraction(1_609_344, 1000),
)  # fmt: skip
_define("mass", mg_milligram=Fraction(1, 1000), g_gram=1, kg_kilogram=1000, oz_ounce=Fraction(28_349_523_125, 10**9))
_define("mass", lb_pound=Fraction(45_359_237, 10**5))
_define("time", s_sec_second=1, min_minute=60, h_hr_hour=3600, day=86_400, week=604_800)
_define("volume", mL_ml_milliliter_millilitre=1, L_liter_litre=1000)
_define("money", cent=1, dollar=100)
_define("angle", degree=1)
_define("speed", mph=Fraction(44_704, 100_000), kph_kmh=Fraction(10, 36))
_SIZES |= {
    "km/h": ("speed", Fraction(10, 36)),
    "m/s": ("speed", Fraction(1)),
    "ft/s": ("speed", Fraction(3048, 10_000)),
}
_SIZES |= {name: ("angle in radians", Fraction(1)) for name in ("rad", "radian")}
_SHORT = {name for name in _SIZES if len(name) <= 2}
"""Symbols whose case counts and that take no plural."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What stands before a known unit, and the unit: its dimension with its power, and its size."""

    number: str
    dimension: tuple[str, int]
    size: Fraction

    @property
    def measures(self) -> str:
        """The dimension in words."""
        name, power = self.dimension
        return name if power == 1 else f"{name}^{power}"


def quantity(text: str) -> Quantity | None:
    """Split a text that ends in a known unit; None if it does not, or if nothing with a digit stands before it."""
    start = max(0, len(text) - LONGEST)
    tail = text[start:]
    if (degrees := _DEGREES.search(tail)) is not None:
        return Quantity(text[: start + degrees.start()].strip(" $"), ("angle", 1), Fraction(1))
    if (price := _PRICE.fullmatch(text)) is not None and "\\$" in text:
        return Quantity(price[1], ("money", 1), Fraction(100))
    found = _LATEX.search(tail) or _PLAIN.search(tail)
    if found is None:
        return None
    *units, raised = found.groups()
    symbol = len(units) == 2 and units[0] is None
    words = next(filter(None, units)).split()
    power = int(raised or 1)
    if len(words) == 2 and (first := words[0].rstrip(".").lower()) in _POWERS:
        power, words = power * _POWERS[first], words[1:]
    unit = _known(words[0]) if len(words) == 1 else None
    number = text[: start + found.start()].rstrip(" \\,;~$")
    if unit is None or not re.search(r"\d|\\pi", number) or (symbol and plain_number(number) is None):
        return None
    return Quantity(number + _closing(number), (unit[0], power), unit[1] ** power)


def _known(word: str) -> tuple[str, Fraction] | None:
    if word in _SHORT:
        return _SIZES[word]
    bare = word.lower()
    return _SIZES.get(bare) or (_SIZES.get(bare.removesuffix("s")) if len(bare) > 3 else None)


def _closing(number: str) -> str:
    """Return the dollar sign that the unit stood before, if one is open."""
    return "$" if number.count("$") % 2 else ""
