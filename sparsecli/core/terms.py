"""What a selection means: terms, each of which selects some of a set of events, and the air or not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .quantities import Measured, Quantity, Values

SAME_PITCH = 0.5  # semitones on either side

Mask = NDArray[np.bool_]


class Term(Protocol):
    """An expression or a part of one."""

    def mask(self, measured: Measured) -> Mask:
        """Which events it selects, `[E]`."""
        ...

    @property
    def has_air(self) -> bool:
        """Whether it selects the air."""
        ...


@dataclass(frozen=True)
class Word:
    """`all`, `none` or `air`."""

    events: bool
    has_air: bool

    def mask(self, measured: Measured) -> Mask:
        """All events or none, `[E]`."""
        return np.full(len(measured.events), self.events)


@dataclass(frozen=True)
class Negation:
    """What a term does not select."""

    of: Term

    def mask(self, measured: Measured) -> Mask:
        """The other events, `[E]`."""
        return ~self.of.mask(measured)

    @property
    def has_air(self) -> bool:
        """Whether the term leaves out the air."""
        return not self.of.has_air


@dataclass(frozen=True)
class Several:
    """What all of several terms select, or any of them."""

    terms: tuple[Term, ...]
    all: bool

    def mask(self, measured: Measured) -> Mask:
        """The events in all or any, `[E]`."""
        masks = [term.mask(measured) for term in self.terms]
        return np.asarray(np.logical_and.reduce(masks) if self.all else np.logical_or.reduce(masks))

    @property
    def has_air(self) -> bool:
        """Whether the air is in all or any."""
        return (all if self.all else any)(term.has_air for term in self.terms)


@dataclass(frozen=True)
class Comparison:
    """A quantity against numbers: true where all conditions of any alternative hold, or where none does.

    `alternatives` are conditions, each a comparison's sign and a number in the quantity's own unit.
    """

    quantity: Quantity
    alternatives: tuple[tuple[tuple[str, float], ...], ...]
    inverted: bool = False
    has_air: bool = False

    def mask(self, measured: Measured) -> Mask:
        """The events for which it is true, `[E]`."""
        values = self.quantity.of(measured)
        held = np.zeros(len(values), bool)
        for conditions in self.alternatives:
            held |= np.logical_and.reduce([self._holds(values, sign, number) for sign, number in conditions])
        return np.asarray(held ^ self.inverted)

    def _holds(self, values: Values, sign: str, number: float) -> Mask:
        with np.errstate(over="ignore"):  # as precise as the column: 0.2 is what 0.2 is in the file
            limit = values.dtype.type(number)
        if self.quantity.is_pitch:
            equal = (values >= limit - SAME_PITCH) & (values < limit + SAME_PITCH)
        else:
            equal = values == limit
        if sign == "=":
            return np.asarray(equal)
        beyond = np.asarray(values < limit if sign.startswith("<") else values > limit)
        return np.asarray(beyond | equal if sign.endswith("=") else beyond & ~equal)


@dataclass(frozen=True)
class Ranking:
    """The first of events in the order of a quantity; among equals, those first in the table."""

    quantity: Quantity
    highest: bool
    count: Fraction
    in_percent: bool
    among: Term | None
    has_air: bool = False

    def mask(self, measured: Measured) -> Mask:
        """The first so many of those that have the quantity at all, `[E]`; a share of them is rounded up."""
        values = self.quantity.of(measured).astype(np.float64)
        ranked = ~np.isnan(values)
        if self.among is not None:
            ranked &= self.among.mask(measured)
        rows = np.nonzero(ranked)[0]
        count = math.ceil(self.count * len(rows) / 100) if self.in_percent else min(int(self.count), len(rows))
        order = np.argsort(-values[rows] if self.highest else values[rows], kind="stable")
        mask = np.zeros(len(values), bool)
        mask[rows[order[:count]]] = True
        return mask
