"""docs/parity.md: its rows are those of the script that writes it, and all of them are measured below the bound."""

import re

import parity

BOUND = 1e-12


def rows_of_the_page():
    """Name and numbers of each row."""
    found = []
    for line in parity.PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        numbers = [float(cell) for cell in cells if re.fullmatch(r"\d\.\de[+-]\d+", cell)]
        if line.startswith("|") and numbers:
            found.append((cells[0], numbers))
    return found


def test_every_difference_is_below_the_bound():
    for row in [*parity.torch_rows(), *parity.transformers_rows()]:
        assert row.imported < BOUND, row
        assert row.drop_in is None or row.drop_in < BOUND, row


def test_the_page_has_these_rows_and_no_larger_number():
    rows = rows_of_the_page()
    assert [name for name, _ in rows] == [*parity.TORCH, *parity.TRANSFORMERS]
    assert all(number < BOUND for _, numbers in rows for number in numbers)
