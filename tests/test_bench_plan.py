"""`bench/plan_check.py`: what the plan predicts, beside what is counted."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import plan_check


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The lines of the smallest products."""
    out = tmp_path_factory.mktemp("plan")
    assert plan_check.main(["--smoke", "--kinds", "products", "--out", str(out)]) == 0
    with (out / "results.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_products_are_predicted_to_the_byte(lines: list[dict[str, str]]) -> None:
    """Rounds and bytes of a product, a sum, a few rows and the norms."""
    assert {line["step"] for line in lines} == {"dot", "sum", "take", "norms of the rows"}
    assert {line["ratio"] for line in lines} == {"1.0"}


@pytest.mark.parametrize("case", plan_check.SMOKE, ids=lambda case: case.kind)
def test_every_step_that_is_predicted_is_measured(case: plan_check.Case) -> None:
    """A case of each kind runs, and has a number beside each of the plan's."""
    found = plan_check.compare(case, plan_check.measure(case))
    assert all(line["measured"] > 0 for line in found)
