"""Strata with quotas: the cut, the slices, the budgets, and their way into a problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel import OptionError, ProblemError, scores, solve
from subsetsel.scores.strata import gentle_cut, hardest_cut


def score_of(*values: float, keeps: Any = "highest") -> scores.Score:
    """A score of these values."""
    return scores.Score("mine", np.array(values), keeps)


def kept_of(strata: scores.Strata) -> list[int]:
    """How many each stratum keeps, empty ones left out."""
    counts = np.bincount(strata.groups[strata.groups >= 0])
    return [int(counts[g] - most) for g, (_, most) in strata.group_limits.items()]


def test_strata_have_equal_width_not_equal_counts() -> None:
    """Quantiles would put four and four together."""
    strata = scores.strata_quotas(score_of(0, 1, 2, 3, 4, 5, 6, 20), 4, 0.0, 2)
    assert strata.groups.tolist() == [0, 0, 0, 0, 0, 0, 0, 1]


def test_the_smallest_stratum_is_filled_first_and_passes_on_what_it_cannot_use() -> None:
    """Equal shares for all would ask two strata for more than they have."""
    values = [0.0] * 10 + [1.0] + [2.0] * 3 + [3.0] * 6
    strata = scores.strata_quotas(score_of(*values), 13, 0.0, 4)
    # 13 // 4 = 3, of which the single one gives 1; then 12 // 3 = 4 > 3; then 9 // 2; then 5.
    assert kept_of(strata) == [5, 1, 3, 4]
    assert strata.group_limits == {0: (5, 5), 1: (0, 0), 2: (0, 0), 3: (2, 2)}


def test_the_hardest_are_cut_before_the_slices_are_laid() -> None:
    """Otherwise one outlier at the hard end would squeeze all others into one slice."""
    strata = scores.strata_quotas(score_of(0, 1, 2, 3, 1000), 2, 0.2, 2)
    assert strata.groups.tolist() == [0, 0, 1, 1, -1]
    assert strata.must_prune.tolist() == [False, False, False, False, True]
    assert strata.size == 3


def test_the_cut_is_at_the_end_that_the_score_keeps() -> None:
    """For margins that is the low end, and it can be said otherwise."""
    margins = score_of(0, 1, 2, 3, 4, keeps="lowest")
    assert scores.strata_quotas(margins, 2, 0.2, 2).must_prune.tolist() == [True] + [False] * 4
    other = scores.strata_quotas(margins, 2, 0.2, 2, hardest="highest")
    assert other.must_prune.tolist() == [False] * 4 + [True]


def test_another_measure_may_say_who_is_cut() -> None:
    """The strata stay those of the score."""
    margins = score_of(4, -9, 2, 1, 0, keeps="lowest")
    strata = scores.strata_quotas(score_of(0, 1, 2, 3, 4), 2, 0.2, 2, cut_by=margins)
    assert strata.groups.tolist() == [0, -1, 1, 1, 1]


def test_a_share_is_rounded_down_but_not_by_rounding_errors() -> None:
    """0.29 of 100 examples is 29 of them, although 0.29 * 100 is below 29 in floating point."""
    strata = scores.strata_quotas(score_of(*range(100)), 10, 0.29)
    assert np.count_nonzero(strata.must_prune) == 29


def test_equal_values_are_one_stratum() -> None:
    """A range of width zero has no slices."""
    strata = scores.strata_quotas(score_of(*[2.0] * 5), 2, 0.0)
    assert strata.group_limits == {0: (3, 3)}


def test_the_widest_range_does_not_overflow() -> None:
    """Its width is no finite number."""
    strata = scores.strata_quotas(score_of(-1.5e308, 0.0, 1.5e308), 3, 0.0, 3)
    assert strata.groups.tolist() == [0, 1, 2]


@settings(deadline=None)
@given(st.data())
def test_quotas_add_up_and_never_exceed_a_stratum(data: st.DataObject) -> None:
    """For any values, cut and number of strata; the shares are as equal as sizes allow."""
    draw = data.draw
    values = draw(st.lists(st.floats(-5, 5), min_size=1, max_size=40))
    cut = draw(st.floats(0, 0.9))
    num_cut = int(np.floor(cut * len(values) + 1e-9))
    num_kept = draw(st.integers(0, len(values) - num_cut))
    strata = scores.strata_quotas(score_of(*values), num_kept, cut, draw(st.integers(1, 60)))
    kept = kept_of(strata)
    counts = {g: int(np.count_nonzero(strata.groups == g)) for g in strata.group_limits}
    assert sum(kept) == num_kept
    assert all(0 <= k <= c for k, c in zip(kept, counts.values(), strict=True))
    assert sum(counts.values()) + np.count_nonzero(strata.must_prune) == len(values)
    assert np.count_nonzero(strata.must_prune) == num_cut
    # A stratum that gives up some of its own keeps no less than any other, but for remainders.
    open_ones = [k for k, c in zip(kept, counts.values(), strict=True) if k < c]
    assert not open_ones or min(open_ones) >= max(kept) - len(kept)


def test_the_joint_choice_and_the_draw_within_strata_meet_the_same_quotas() -> None:
    """The strata are a question that the solvers and the scores both take."""
    rng = np.random.default_rng(0)
    S, difficulty = rng.normal(size=(80, 4)), score_of(*rng.random(80) ** 3)
    strata = scores.strata_quotas(difficulty, 30, 0.1, 8)
    joint = solve(S, solver="greedy", **strata.question)
    draws = [scores.select(scores.random(80, seed=s), S=S, **strata.question) for s in range(2)]
    for solution in (joint, *draws):
        kept = np.bincount(strata.groups[solution.kept], minlength=8)
        assert solution.is_feasible
        assert kept[kept > 0].tolist() == [k for k in kept_of(strata) if k > 0]
        assert not solution.mask[strata.groups >= 0].all()
    assert joint.norm < min(draw.norm for draw in draws)
    assert not np.array_equal(draws[0].kept, draws[1].kept)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((11, 0.0), "num_kept"),
        ((5, 1.0), "0 <= cut < 1"),
        ((5, -0.1), "0 <= cut < 1"),
        ((5, float("nan")), "0 <= cut < 1"),
        ((9, 0.2), "leaves 8, fewer than"),
        ((5, 0.0, 0), "num_strata"),
    ],
)
def test_bad_strata_are_refused(arguments: Any, words: str) -> None:
    """The message says what to change."""
    with pytest.raises(ProblemError, match=words):
        scores.strata_quotas(score_of(*range(10)), *arguments)


def test_the_other_measure_is_of_the_same_examples() -> None:
    """Values of other data would cut anybody."""
    with pytest.raises(ProblemError, match="cut_by has 3 values"):
        scores.strata_quotas(score_of(1, 2), 1, 0.0, cut_by=score_of(1, 2, 3))


def test_the_hard_end_is_one_of_two() -> None:
    """A third word is no end."""
    with pytest.raises(OptionError, match="hardest"):
        scores.strata_quotas(score_of(1, 2), 1, 0.0, hardest="top")  # type: ignore[arg-type]


def test_the_cut_shrinks_as_more_is_kept() -> None:
    """30, 20 and 10 % for 100, 200 and 400 images a class; nothing from one half on."""
    cuts = [hardest_cut(k, 60_000, 10) for k in (1000, 2000, 4000, 30_000)]
    assert cuts == [0.3, 0.2, 0.1, 0.0]
    gentle = [gentle_cut(k, 60_000, 10) for k in (1000, 2000, 4000, 30_000)]
    assert gentle == [0.2, 0.2, 0.1, 0.0]
