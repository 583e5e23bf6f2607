"""Selections: an expression such as `freq > 2 kHz and not pitch in C4..E4` to a mask over events.

What can be written stands in docs/selection.md, what can be asked of an event in `core/quantities.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .events import Events
from .expressions import SelectionError, nearest, shown, tree_of
from .partials import midi_of_name
from .quantities import QUANTITIES, SPELLING, UNITS, Measured, Quantity
from .terms import Comparison, Mask, Negation, Ranking, Several, Term, Word

if TYPE_CHECKING:
    from lark import Token

__all__ = ["SelectionError", "check_expression", "select", "selects_air"]

MOST_NESTED = 50  # groups, rankings and negations within each other


def select(events: Events, expression: str) -> Mask:
    """Which of E events an expression selects, `[E]`.

    Raises:
        SelectionError: the expression makes no sense.
    """
    return _parse(expression).mask(Measured(events))


def selects_air(expression: str) -> bool:
    """Whether an expression selects the air, for which every comparison is false.

    Raises:
        SelectionError: the expression makes no sense.

    >>> selects_air("freq > 200"), selects_air("not (freq > 200)"), selects_air("freq > 200 or air")
    (False, True, True)
    """
    return _parse(expression).has_air


def check_expression(expression: str) -> None:
    """Raise SelectionError for an expression that makes no sense, whatever the events."""
    _parse(expression)


def _parse(expression: str) -> Term:
    return _term(tree_of(expression), 0)


def _term(tree: Any, depth: int) -> Term:
    """The meaning of a syntax tree that lies so deep in others. Recursion ends at `MOST_NESTED`."""
    if depth > MOST_NESTED:
        first = tree
        while hasattr(first, "children"):
            first = first.children[0]
        raise SelectionError(first.start_pos, f"nested more than {MOST_NESTED} deep; write it with fewer brackets")
    children: list[Any] = tree.children
    match str(tree.data):
        case "either" | "both" as kind:
            return Several(tuple(_term(child, depth) for child in children), all=kind == "both")
        case "negation":
            return Negation(_term(children[0], depth + 1))
        case "group":
            return _term(children[0], depth + 1)
        case "word":
            return Word(events=children[0].type == "ALL", has_air=children[0].type != "NONE")
        case "ranking":
            return _ranking(children, depth)
        case "comparison":
            return _compared(children[0], [(str(children[1]), children[2])])
        case "mirrored":
            low, sign, name, *rest = children
            mirrored = str(sign).translate(str.maketrans("<>", "><"))
            return _compared(name, [(mirrored, low), *([(str(rest[0]), rest[1])] if rest[0] is not None else [])])
        case kind:
            return _membership(children[0], children[1], inverted=kind == "exclusion")


def _ranking(children: Sequence[Any], depth: int) -> Ranking:
    end, token, percent, name, among = children
    number = float(token)
    if percent is not None and not 0 <= number <= 100:
        raise SelectionError(token.start_pos, f"found {shown(token)}; possible: 0% to 100%")
    if percent is None and not (math.isfinite(number) and number >= 0 and number.is_integer()):
        possible = "whole numbers from 0 up, or 0% to 100%"
        raise SelectionError(token.start_pos, f"found {shown(token)}; possible: {possible}")
    of = None if among is None else _term(among, depth + 1)
    return Ranking(QUANTITIES[name.lower()], end.type == "TOP", Fraction(str(number)), percent is not None, of)


def _compared(name: Token, conditions: Sequence[tuple[str, Any]]) -> Term:
    """A comparison, or two in a chain, of which each may be `!=`."""
    quantity = QUANTITIES[name.lower()]
    terms = []
    for sign, value in conditions:
        meant = "=" if sign in ("==", "!=") else sign
        terms.append(Comparison(quantity, (((meant, _number(quantity, value)),),), inverted=sign == "!="))
    return terms[0] if len(terms) == 1 else Several(tuple(terms), all=True)


def _membership(name: Token, values: Any, inverted: bool) -> Comparison:
    """A quantity in a range, or in a set of numbers and ranges."""
    quantity = QUANTITIES[name.lower()]
    alternatives: list[tuple[tuple[str, float], ...]] = []
    for item in [values] if values.data == "span" else values.children:
        if item.data == "span":
            low, high = _ends(quantity, item)
            alternatives.append(((">=", low), ("<=", high)))
        else:
            alternatives.append((("=", _number(quantity, item)),))
    return Comparison(quantity, tuple(alternatives), inverted)


def _ends(quantity: Quantity, span: Any) -> tuple[float, float]:
    """Both ends of a range; where the second alone has a unit, it is that of both."""
    first, second = span.children
    low = _number(quantity, first, default=second.children[1:])
    high = _number(quantity, second)
    if low > high:
        found = f"found the range from {shown(first.children[0])} down to {shown(second.children[0])}"
        raise SelectionError(first.children[0].start_pos, f"{found}; possible: ranges from low to high")
    return low, high


def _number(quantity: Quantity, value: Any, default: Sequence[Any] = ()) -> float:
    """A value in the unit of a quantity; `default` may hold a unit for numbers that have none of their own."""
    token, unit = [*value.children, None][:2]
    if token.type == "NOTE":
        if not quantity.is_pitch:
            what = f"found the note {token}, but {quantity.name} is no pitch"
            raise SelectionError(token.start_pos, f"{what}; possible: numbers{_with_units(quantity)}")
        return float(midi_of_name(token))
    unit = unit or next(iter(default), None)
    number = float(token)
    if not math.isfinite(number):
        raise SelectionError(token.start_pos, f"found {shown(token)}; possible: numbers up to 1e308")
    if unit is None:
        return number
    _check_unit(quantity, unit)
    # In decimals, so that 300 ms are 0.3 s to the last bit.
    return float(Decimal(str(token)) * Decimal(UNITS[unit.lower()][1])) if number else 0.0


def _check_unit(quantity: Quantity, unit: Token) -> None:
    """Raise SelectionError for what is no unit, or none of the quantity's."""
    if unit.lower() in UNITS and UNITS[unit.lower()][0] == quantity.unit:
        return
    known = unit.lower() in UNITS
    what = f"which is no unit of {quantity.name}" if known else "which is no unit"
    near = "" if known else nearest(unit, [*(SPELLING.get(name, name) for name in UNITS), "and", "or"])
    raise SelectionError(
        unit.start_pos or 0, f"found {shown(unit)}, {what}; possible: numbers{_with_units(quantity)}{near}"
    )


def _with_units(quantity: Quantity) -> str:
    spelled = [SPELLING.get(name, name) for name, (unit, _) in UNITS.items() if unit == quantity.unit]
    return f" in {' or '.join(spelled)}" if spelled else " without a unit"
