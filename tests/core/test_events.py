from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsecli.core.columns import AIR_BANDS, ATOM_COLUMNS, MODES_PER_ATOM, SILENT_DB
from sparsecli.core.events import Events, Header, events_from_columns


def atoms(count: int, **numbers: float) -> Events:
    """Atoms alike, of which nothing is in use but `numbers`; no air."""
    columns = {column.name: np.full(count, SILENT_DB if "level" in column.name else 0.0) for column in ATOM_COLUMNS}
    columns["attack_s"] = np.full(count, 0.01)
    columns |= {name: np.full(count, value) for name, value in numbers.items()}
    return events_from_columns(Header(duration_s=1.0, sample_rate=22050), columns, np.zeros((1, 0, AIR_BANDS)))


def modes(*slots: int) -> dict[str, float]:
    return {f"{name}{slot}_{unit}": -6.0 for slot in slots for name, unit in (("level", "db"), ("freq", "hz"))}


NOISE = {"noise_level_db": -30.0}


@pytest.mark.parametrize(
    ("used", "numbers"),
    [
        ({}, 3),  # onset, attack, decay
        (modes(1), 3 + 3),
        (modes(1, 2, 3, 4), 3 + 4 * 3),
        (NOISE, 3 + 2),  # level and frequency
        (NOISE | modes(1, 2, 3), 3 + 3 * 3 + 2),
        (NOISE | modes(4), 3 + 3 + 1),  # a frequency for both
        (NOISE | modes(1, 2, 3, 4), len(ATOM_COLUMNS)),  # everything
    ],
)
def test_numbers_are_those_in_use(used: dict[str, float], numbers: int):
    assert atoms(1, **used).numbers == numbers
    assert atoms(5, **used).numbers == 5 * numbers


def test_numbers_of_the_air():
    air = np.full((2, 3, AIR_BANDS), SILENT_DB, np.float32)
    air[1, 2, :7] = -60
    assert replace(atoms(1), air=air).numbers == 3 + 7


def test_numbers_of_places():
    """One an atom, whatever it is, where there are two channels."""
    one = atoms(5, **modes(1, 2))
    header, params = replace(one.header, channels=2), np.pad(one.params, ((0, 0), (0, 1)))
    two = replace(one, header=header, params=params)
    assert two.columns == (*one.columns, "pan") and two.column("pan").tolist() == [0.0] * 5
    assert two.numbers == one.numbers + 5
    with pytest.raises(ValueError):
        one.column("pan")


def test_an_atom_has_sixteen_numbers():
    assert len(ATOM_COLUMNS) == 16 == len({column.name for column in ATOM_COLUMNS})


def test_modes_are_the_slots_in_order():
    events = atoms(2, **{f"freq{slot}_hz": 100.0 * slot for slot in range(1, MODES_PER_ATOM + 1)})
    assert events.modes("freq_hz").tolist() == [[100, 200, 300, 400]] * 2
    with pytest.raises(ValueError):  # there is one decay for all
        events.modes("decay_s")
