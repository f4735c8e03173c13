"""Paired differences: mean, interval, p, and its correction for many comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subsetsel.support.paired import holm, paired, paired_with


def test_a_spread_that_both_share_does_not_widen_the_interval() -> None:
    """Differences are taken pair by pair; roundings are no spread."""
    one = paired([0.5, 0.7, 0.9], [0.4, 0.6, 0.8])
    assert (one.mean, one.low, one.high) == pytest.approx((0.1, 0.1, 0.1))
    assert one.p == 0


def test_interval_and_p_are_those_of_students_test() -> None:
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), 4.303 of it on both sides."""
    one = paired([1, 2, 3], [0, 0, 0])
    assert (one.mean, one.low, one.high) == pytest.approx((2, 2 - 2.484, 2 + 2.484), abs=1e-3)
    assert one.p == pytest.approx(0.0742, abs=1e-4)
    assert one.sign == 0
    assert [paired(ours, [0, 0, 0]).sign for ours in ([2, 2.1, 2.2], [-2, -2.1, -2.2])] == [1, -1]


def test_equal_measurements_do_not_differ() -> None:
    """But for rounding, which is no difference."""
    one = paired([0.25, 0.1 + 0.2], [0.25, 0.3])
    assert (one.mean, one.low, one.high, one.p) == (0, 0, 0, 1)


def test_a_single_pair_has_no_interval() -> None:
    """Rather than one of no width."""
    one = paired([1.0], [0.0])
    assert one.mean == 1
    assert np.isnan([one.low, one.high, one.p]).all()


def test_groups_are_compared_over_the_seeds_that_both_have() -> None:
    """Written in points, as shares are; a group with one seed in common is left out."""
    rival = {2: 0.9, 1: 0.7, 0: 0.8, 8: 0.2}
    mine = {0: 0.81, 1: 0.72, 2: 0.93, 7: 0.1}
    found = paired_with(rival, {"mine": mine, "other": {0: 0.5, 7: 0.5}})
    assert {name: str(one) for name, one in found.items()} == {
        "mine": "+2.00 (-0.48 to +4.48), 0.074"
    }
    assert paired_with({}, {"mine": mine}) == {}


def test_p_is_corrected_for_the_number_of_groups() -> None:
    """The smallest is multiplied by how many there are."""
    rival = dict.fromkeys(range(3), 0.0)
    groups = {"sure": {0: 1.0, 1: 1.1, 2: 1.2}, "unsure": {0: 1.0, 1: 0.0, 2: 3.0}}
    alone = {name: paired_with(rival, {name: group})[name].p for name, group in groups.items()}
    both = paired_with(rival, groups)
    assert both["sure"].p == pytest.approx(2 * alone["sure"])
    assert both["unsure"].p == pytest.approx(alone["unsure"])


def test_holm_steps_down() -> None:
    """Three times the smallest, twice the next, and none below one that was smaller."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0.001, 0.999))
def test_holm_rejects_as_the_procedure_does(p_values: list[float], level: float) -> None:
    """From the smallest on, until one is above level / (how many are left).

    Mutation: every p times the number of all (Bonferroni): fails.
    """
    rejected, order = set(), np.argsort(p_values)
    for place, number in enumerate(order):
        if (len(p_values) - place) * p_values[number] > level:
            break
        rejected.add(int(number))
    assert {k for k, p in enumerate(holm(p_values)) if p <= level} == rejected
