"""From a composition to what is kept: counts by another formula, fairness by many seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given as drawn_from
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats

import subsetsel
from subsetsel.errors import OptionError, ProblemError
from subsetsel.scores.score import Score
from subsetsel.scores.strata import equal_slices, strata_quotas
from subsetsel.selection.chooser import NUM_STRATA, Chooser
from subsetsel.selection.composition import Composition

QUICK = {"solver": "greedy"}


def uneven(n: int = 3000, seed: int = 0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Difficulties with a tail, and three classes of 60, 30 and 10 %."""
    rng = np.random.default_rng(seed)
    return rng.exponential(size=n), rng.choice(3, n, p=[0.6, 0.3, 0.1])


def expected_by_bisection(
    strata: Any, labels: Any, evenness: float, balance: float, num_kept: int
) -> np.ndarray[Any, Any]:
    """Expected counts by class and stratum, each water level found by bisection."""
    classes = np.unique(labels)
    table = np.array([np.bincount(strata[labels == c], minlength=NUM_STRATA) for c in classes])
    sizes = table.sum(0)
    weights = np.where(sizes > 0, np.maximum(sizes, 1.0) ** -evenness, 0)

    def level(capacity: Any, weight: Any, total: float) -> np.ndarray[Any, Any]:
        low, high = 0.0, 1e12
        for _ in range(300):
            factor = (low + high) / 2
            enough = (capacity * np.minimum(1, factor * weight)).sum() >= total
            low, high = (low, factor) if enough else (factor, high)
        filled: np.ndarray[Any, Any] = capacity * np.minimum(1, high * weight)
        return filled

    natural = table * (level(sizes, weights, num_kept) / np.maximum(sizes, 1))
    totals = natural.sum(1)
    if balance:
        shares = (totals / num_kept) ** (1 - balance)
        totals = level(table.sum(1), shares / table.sum(1), num_kept)
    return np.array([level(row, weights, total) for row, total in zip(table, totals, strict=True)])


@st.composite
def questions(draw: st.DrawFn) -> tuple[Chooser, Composition, int, Any, int]:
    """Data of any shape, a composition that fits, and a held-out part."""
    n = draw(st.integers(2, 60))
    seed = draw(st.integers(0, 2**31 - 1))
    rng = np.random.default_rng(seed)
    kind = draw(st.sampled_from(["ties", "constant", "tail", "huge"]))
    difficulty = {
        "ties": rng.integers(0, 3, n).astype(float),
        "constant": np.full(n, 2.0),
        "tail": rng.exponential(size=n) ** 4,
        "huge": rng.choice([-1e308, 0.0, 1e308], n),
    }[kind]
    labels = np.sort(rng.integers(0, draw(st.integers(1, 6)), n))
    held_out = np.flatnonzero(rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.5])))[: n - 1]
    num_open = n - len(held_out)
    num_kept = draw(st.sampled_from([1, num_open, draw(st.integers(1, num_open))]))
    room = 1 - num_kept / num_open
    hard = draw(st.sampled_from([0.0, room / 2, min(room, 0.9)]))
    composition = Composition(
        "difficulty",
        hard,
        draw(st.sampled_from([0.0, max(0.0, room - hard) / 2])),
        draw(st.sampled_from([0.0, 0.4, 1.0])),
        draw(st.sampled_from([0.0, 0.4, 1.0])),
    )
    return Chooser(difficulty, labels), composition, num_kept, held_out, seed


@drawn_from(questions())
@settings(max_examples=150, deadline=None)
def test_what_is_kept_is_as_many_as_asked_and_open(
    question: tuple[Chooser, Composition, int, Any, int],
) -> None:
    """Sorted, distinct, int64, none held out, none cut, and the same for the same seed."""
    chooser, composition, num_kept, held_out, seed = question
    kept = chooser.choose(composition, num_kept, seed=seed, held_out=held_out)
    assert kept.dtype == np.int64
    assert len(kept) == num_kept
    assert (np.diff(kept) > 0).all()
    assert not np.isin(kept, held_out).any()
    values = chooser.difficulty["difficulty"]
    in_order = np.sort(np.delete(values, held_out))
    num_hard, num_easy = (
        int(share * len(in_order) + 1e-9) for share in (composition.hard_cut, composition.easy_cut)
    )
    assert values[kept].max() <= in_order[len(in_order) - num_hard - 1]
    assert values[kept].min() >= in_order[num_easy]
    again = chooser.choose(composition, num_kept, seed=seed, held_out=held_out)
    np.testing.assert_array_equal(kept, again)


@pytest.mark.parametrize("evenness", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_kept", [40, 900, 2200])
def test_counts_follow_the_definition(evenness: float, balance: float, num_kept: int) -> None:
    """Every count of a class is off by less than one from that of bisection, and of cells by one.

    At 900 and 2,200 kept some strata, and the smallest class, are full.
    """
    difficulty, labels = uneven()
    chooser = Chooser(difficulty, labels)
    composition = Composition("difficulty", evenness=evenness, class_balance=balance)
    if composition.is_plain:
        composition = Composition("difficulty", easy_cut=1e-9)
    strata = equal_slices(difficulty, NUM_STRATA)
    wanted = expected_by_bisection(strata, labels, evenness, balance, num_kept)
    kept = chooser.choose(composition, num_kept, seed=1)
    found = np.array([
        np.bincount(strata[kept][labels[kept] == c], minlength=NUM_STRATA) for c in range(3)
    ])
    np.testing.assert_array_less(np.abs(found.sum(1) - wanted.sum(1)), 1 + 1e-6)
    if evenness:
        np.testing.assert_array_less(np.abs(found - wanted), 1 + 1e-6)


def test_counts_are_right_on_average() -> None:
    """The rounding of quotas prefers no cell: over many seeds each count has its expectation."""
    difficulty, labels = uneven(600)
    chooser = Chooser(difficulty, labels)
    strata = equal_slices(difficulty, NUM_STRATA)
    wanted = expected_by_bisection(strata, labels, 0.5, 0.5, 45)
    found = np.zeros_like(wanted)
    for seed in range(400):
        kept = chooser.choose(
            Composition("difficulty", evenness=0.5, class_balance=0.5), 45, seed=seed
        )
        np.add.at(found, (labels[kept], strata[kept]), 1 / 400)
    # A count is one of two neighbours: its mean of 400 has a standard error of .025 at most.
    assert np.abs(found - wanted).max() < 4 * 0.025


def test_equal_strata_are_those_of_the_known_rule() -> None:
    """Evenness 1 shares out as `strata_quotas` does, up to rounding."""
    difficulty, _ = uneven()
    known = strata_quotas(Score("mine", difficulty, "highest"), 700, cut=0.1)
    kept = Chooser(difficulty, np.zeros(3000)).choose(
        Composition("difficulty", 0.1, evenness=1.0), 700, seed=0
    )
    sizes = np.bincount(known.groups[known.groups >= 0], minlength=NUM_STRATA)
    budgets = [sizes[s] - known.group_limits.get(s, (0, 0))[0] for s in range(NUM_STRATA)]
    found = np.bincount(known.groups[kept], minlength=NUM_STRATA)
    # `strata_quotas` rounds down from the smallest stratum on, so that its largest get the rest.
    assert np.abs(found - budgets).max() <= 2
    assert not known.must_prune[kept].any()


@pytest.mark.parametrize("balance", [0.25, 0.75])
def test_class_shares_become_their_power(balance: float) -> None:
    """A share p of a class becomes p^(1 - class_balance), up to a common factor."""
    difficulty, labels = uneven()
    shares = (np.bincount(labels) / len(labels)) ** (1 - balance)
    wanted = 200 * shares / shares.sum()
    kept = Chooser(difficulty, labels).choose(
        Composition("difficulty", class_balance=balance), 200, seed=3
    )
    assert np.abs(np.bincount(labels[kept]) - wanted).max() < 1


@pytest.mark.parametrize(
    "composition",
    [
        Composition("difficulty"),
        Composition("difficulty", class_balance=1.0),
        Composition("difficulty", evenness=0.7, class_balance=0.3),
    ],
    ids=["random", "balanced", "strata"],
)
def test_the_examples_of_a_cell_are_kept_equally_often(composition: Composition) -> None:
    """The place of an example in its data says nothing about whether it is kept."""
    rng = np.random.default_rng(5)
    labels, levels = np.repeat([0, 1], [80, 40]), np.tile(np.arange(4.0), 30)
    chooser = Chooser(levels, labels)
    times = np.zeros(120)
    for seed in rng.integers(0, 2**31, 1500):
        times[chooser.choose(composition, 30, seed=int(seed))] += 1
    cells = (
        np.zeros(120) if composition.is_plain else labels * 4 + levels * bool(composition.evenness)
    )
    for cell in np.unique(cells):
        # Drawing without replacement spreads counts less than the test supposes: it is no laxer.
        assert stats.chisquare(times[cells == cell]).pvalue > 1e-3, cell


def test_random_keeps_pairs_as_often_as_a_simple_sample() -> None:
    """Each pair of six examples is kept together as often as every other."""
    chooser = Chooser(np.arange(6.0), [0, 0, 0, 1, 1, 2])
    together = np.zeros((6, 6))
    for seed in range(1500):
        kept = chooser.choose(Composition("difficulty"), 3, seed=seed)
        together[np.ix_(kept, kept)] += 1
    pairs = together[np.triu_indices(6, 1)]
    assert stats.chisquare(pairs).pvalue > 1e-3


def test_ties_at_a_cut_are_broken_by_lot() -> None:
    """In data that are sorted by class a cut among equals takes no class more than another."""
    labels = np.repeat([0, 1], 50)
    chooser = Chooser(np.ones(100), labels)
    kept = [
        chooser.choose(Composition("difficulty", hard_cut=0.5), 50, seed=seed) for seed in range(60)
    ]
    assert abs(np.mean([labels[one].mean() for one in kept]) - 0.5) < 0.03


def test_a_share_of_a_hundred_is_no_less_by_rounding() -> None:
    """0.29 of 100 is 29 although the product is 28.999999999999996."""
    chooser = Chooser(np.arange(100.0), np.zeros(100))
    kept = chooser.choose(Composition("difficulty", hard_cut=0.29), 71, seed=0)
    np.testing.assert_array_equal(kept, np.arange(71))
    with pytest.raises(OptionError, match=r"num_kept = 72, but after cutting 29 hard .* only 71"):
        chooser.choose(Composition("difficulty", hard_cut=0.29), 72, seed=0)
    assert len(chooser.choose(Composition("difficulty", hard_cut=0.28), 72, seed=0)) == 72


def test_a_class_that_is_cut_whole_is_left_out_and_the_others_fill_up() -> None:
    """Class balance shares out among the classes that have any example left."""
    labels = np.repeat([0, 1, 2], 20)
    chooser = Chooser(np.arange(60.0), labels)
    kept = chooser.choose(Composition("difficulty", hard_cut=1 / 3, class_balance=1.0), 30, seed=0)
    np.testing.assert_array_equal(np.bincount(labels[kept], minlength=3), [15, 15, 0])


def test_labels_may_be_words_and_difficulties_of_any_container() -> None:
    """Words, tensors, lists, small types and a `Score` that keeps the lowest choose alike."""
    difficulty, labels = uneven(300)
    difficulty = np.round(difficulty * 20).clip(0, 255)
    one = Composition("difficulty", 0.2, evenness=0.5, class_balance=0.5)
    wanted = Chooser(difficulty, labels).choose(one, 40, seed=2)
    words = np.array(["ant", "bee", "cat"])[labels]
    given: list[tuple[Any, Any]] = [
        (words, difficulty),
        (words.tolist(), difficulty.tolist()),
        (torch.tensor(labels), torch.tensor(difficulty)),
        (labels, difficulty.astype(np.uint8)),
        (labels, {"difficulty": difficulty.astype(np.float16)}),
        (labels, Score("difficulty", -difficulty, "lowest")),
    ]
    for given_labels, given_difficulty in given:
        found = Chooser(given_difficulty, given_labels).choose(one, 40, seed=2)
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"difficulty": np.arange(5.0)}, ProblemError, r"shape \(6,\), got shape \(5,\)"),
        ({"difficulty": np.zeros((6, 1))}, ProblemError, r"shape \(6,\), got shape \(6, 1\)"),
        ({"difficulty": [1, 2, np.nan, 4, 5, np.inf]}, ProblemError, r"example 2 is nan \(2 such"),
        ({"difficulty": list("abcdef")}, ProblemError, "real numbers, got dtype"),
        ({"difficulty": {}}, ProblemError, "empty mapping"),
        ({"difficulty": {"a": [1j] * 6}}, ProblemError, r"difficulty\['a'\] must hold real"),
        ({"rows": np.ones((5, 2))}, ProblemError, "rows hold 5 examples and labels 6"),
        (
            {"rows": np.ones((6, 2)), "solve_options": 3},
            OptionError,
            "solve_options must be a dict",
        ),
        ({"rows": np.ones((6, 2)), "solve_options": {"seed": 1}}, OptionError, "holds seed"),
        ({"rows": np.ones((6, 2)), "solve_options": {"time_limt": 1}}, OptionError, "time_limit"),
        ({"rows": np.ones((6, 2)), "solve_options": {"gap": 7}}, OptionError, "gap must be"),
        ({"rows": np.ones((6, 2)), "solve_options": {"solver": "anneall"}}, Exception, "anneal"),
    ],
)
def test_data_and_options_that_make_no_sense_are_refused_before_any_choice(
    wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Every option of a solver is checked before the first training, not at the first joint one."""
    right: dict[str, Any] = {"difficulty": np.arange(6.0), "labels": [0, 1] * 3, "rows": None}
    options = {**right, **wrong}
    with pytest.raises(error, match=message):
        Chooser(options.pop("difficulty"), options.pop("labels"), options.pop("rows"), **options)
    Chooser(right["difficulty"], right["labels"], np.ones((6, 2)), solve_options={"time_limit": 1})


def test_an_unknown_score_and_a_joint_choice_without_rows_are_refused() -> None:
    """The message names the scores that there are, and what a joint choice needs."""
    chooser = Chooser({"el2n": np.arange(9.0), "aum": np.arange(9.0)}, np.zeros(9))
    with pytest.raises(OptionError, match="no difficulty 'el2'; there is 'el2n', 'aum'"):
        chooser.choose(Composition("el2", 0.3), 3, seed=0)
    assert len(chooser.choose(Composition("aum", 0.3), 3, seed=0)) == 3
    with pytest.raises(OptionError, match="a joint choice needs rows"):
        chooser.choose(Composition("aum", choice="joint"), 3, seed=0)
    with_rows = Chooser(np.arange(9.0), np.zeros(9), np.ones((9, 2)), solve_options=QUICK)
    assert len(with_rows.choose(Composition(choice="joint"), 3, seed=0)) == 3


@pytest.mark.parametrize("choice", ["joint in cells", "joint in classes"])
def test_a_joint_choice_keeps_the_quotas_and_has_the_smaller_norm(choice: Any) -> None:
    """The cells keep as many as the draw keeps, and what is pruned moves the parameters less."""
    difficulty, labels = uneven(400)
    rows = np.random.default_rng(3).normal(size=(400, 4))
    held_out = np.arange(0, 400, 10)
    chooser = Chooser(difficulty, labels, rows, solve_options=QUICK)
    evenness = 0.5 if choice == "joint in cells" else 0.0
    drawn = Composition("difficulty", 0.1, evenness=evenness, class_balance=0.5)
    joint = Composition("difficulty", 0.1, evenness=evenness, class_balance=0.5, choice=choice)
    one, other = (chooser.choose(c, 60, seed=4, held_out=held_out) for c in (drawn, joint))
    assert not np.isin(other, held_out).any()
    hard = np.quantile(np.delete(difficulty, held_out), 0.9)
    assert difficulty[other].max() <= hard
    np.testing.assert_array_equal(np.bincount(labels[one]), np.bincount(labels[other]))
    if evenness:
        is_open = np.ones(400, bool)
        is_open[held_out] = False
        is_open[difficulty > hard] = False
        strata = equal_slices(difficulty[is_open], NUM_STRATA)
        place = np.full(400, -1)
        place[is_open] = strata
        np.testing.assert_array_equal(np.bincount(place[one]), np.bincount(place[other]))
    norms = [np.linalg.norm(np.delete(rows, kept, axis=0).sum(0)) for kept in (one, other)]
    assert norms[1] < norms[0] / 2


def test_a_joint_choice_by_refit_is_made_where_the_problem_asks_for_it() -> None:
    """A problem with hessian='kept' and its goal of another size choose as many as are asked."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    X = rng.normal(size=(60, 2)) + labels[:, None]
    problem = subsetsel.Problem.from_features(
        X, labels, l2=0.1, size=7, normalization="kept", hessian="kept"
    )
    chooser = Chooser(X[:, 0], labels, problem, solve_options=QUICK)
    held_out = np.arange(6)
    kept = chooser.choose(Composition(choice="joint"), 20, seed=0, held_out=held_out)
    assert len(kept) == 20
    assert not np.isin(kept, held_out).any()
    assert set(labels[kept]) == {0, 1}
    assert problem.size == 7


def test_a_class_that_is_held_out_whole_does_not_stop_a_joint_choice() -> None:
    """With rows of a refitted head one of each class is kept, of the classes that have any."""
    rng = np.random.default_rng(0)
    labels = np.array([*np.arange(58) % 2, 2, 2])
    X = rng.normal(size=(60, 2)) + labels[:, None]
    problem = subsetsel.Problem.from_features(X, labels, l2=0.1, size=7, normalization="kept")
    chooser = Chooser(X[:, 0], labels, problem, solve_options=QUICK)
    kept = chooser.choose(Composition(choice="joint"), 10, seed=0, held_out=np.array([58, 59]))
    assert set(labels[kept]) == {0, 1}
    assert set(labels[chooser.choose(Composition(choice="joint"), 10, seed=0)]) == {0, 1, 2}
    # Fewer than there are classes can be kept, too.
    assert len(chooser.choose(Composition(choice="joint"), 2, seed=0)) == 2


def test_ctrl_c_in_a_joint_choice_ends_the_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    """`solve` takes Ctrl-C for its own end, gives its best, and the selection must not go on.

    Mutation: the interruption of `solve` taken for its end: fails.
    """
    from subsetsel.selection import chooser as room

    def pressed(*arguments: Any, **options: Any) -> Any:
        def press(_: Any) -> None:
            raise KeyboardInterrupt

        return subsetsel.solve(*arguments, **{**options, "callback": press})

    monkeypatch.setattr(room, "solve", pressed)
    rows = np.random.default_rng(0).normal(size=(200, 3))
    chooser = Chooser(np.arange(200.0), np.zeros(200), rows, solve_options={"solver": "anneal"})
    with pytest.raises(KeyboardInterrupt):
        chooser.choose(Composition(choice="joint"), 20, seed=0)
