"""`select_for_training`: what it asks, what it tries, when it ends, and what it says came back."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from selecting import N, Task, answer
from test_imports import loaded_by

import subsetsel
from subsetsel.errors import MissingExtraError, OptionError, ProblemError, SubsetselError
from subsetsel.selection.composition import Composition
from subsetsel.selection.confirm import compare

ROWS = np.random.default_rng(7).normal(size=(N, 3))
QUICK: dict[str, Any] = {"solve_options": {"solver": "greedy"}}

WRONG: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"num_kept": None}, "exactly one of num_kept.*got none", {}),
    ({"fraction": 0.5}, "exactly one of num_kept.*got both", {"num_kept": None, "fraction": 0.9}),
    ({"num_kept": "40"}, "num_kept must be an integer", {}),
    ({"num_kept": 0}, "num_kept = 0 of 600 leaves no choice", {"num_kept": 1}),
    ({"num_kept": 540}, "1 to 539 of the 540 others", {"num_kept": 539}),
    ({"num_kept": 540}, "or take a smaller held_out", {"num_kept": 540, "held_out": 0.05}),
    ({"num_kept": None, "fraction": 1.5}, "fraction is the pruned share", {}),
    ({"held_out": 0}, "0 < held_out <= 0.5; got 0", {"held_out": 0.2}),
    ({"held_out": 0.6}, "0 < held_out <= 0.5; got 0.6", {"held_out": np.float32(0.5)}),
    ({"held_out": True}, "held_out is a share", {}),
    ({"held_out": float("nan")}, "held_out is a share", {}),
    ({"held_out": "0.1"}, "held_out is a share", {}),
    ({"start": "warm"}, "start must be 'scratch' or 'trained'", {"start": "scratch"}),
    ({"start": ["trained"]}, "start must be 'scratch' or 'trained'", {}),
    ({"start": "trained"}, "needs rows", {"start": "trained", "rows": ROWS, **QUICK}),
    ({"num_trials": 0}, "num_trials must be an integer >= 1, got 0", {"num_trials": 1}),
    ({"num_trials": 9.0}, "num_trials must be an integer", {"num_trials": np.int64(9)}),
    ({"num_confirmations": 2}, "num_confirmations must be an integer >= 3", {}),
    ({"num_confirmations": 541}, "take at most 540", {"num_confirmations": 20}),
    ({"seed": -1}, "seed must be an integer >= 0", {"seed": np.int64(1)}),
    ({"seed": None}, "seed must be an integer >= 0", {}),
    ({"time_limit": -1}, "time_limit must be a finite number >= 0", {"time_limit": 60}),
    ({"time_limit": "60"}, "time_limit must be a finite number", {"time_limit": 60.0}),
    ({"time_limit": float("nan")}, "time_limit must be a finite", {"time_limit": None}),
    ({"progress": True}, "progress must be callable", {"progress": lambda line: None}),
    ({"callback": "print"}, "callback must be callable", {"callback": lambda trial: None}),
    ({"labels": np.arange(5)}, "shape \\(5,\\), got shape \\(600,\\)", {}),
    ({"labels": np.eye(2)[np.arange(N) % 2]}, "labels must have one dimension", {}),
    ({"rows": ROWS[:5]}, "rows hold 5 examples and labels 600", {"rows": ROWS, **QUICK}),
    ({"difficulty": np.full(N, np.nan)}, "difficulty must be finite", {}),
    ({"difficulty": None}, "difficulty must be a list or an array", {}),
]


@pytest.mark.parametrize(("wrong", "message", "cure"), WRONG)
def test_an_argument_that_makes_no_sense_is_refused_before_anything_is_trained(
    wrong: dict[str, Any], message: str, cure: dict[str, Any]
) -> None:
    """The message names argument, value and rule; what it advises works."""
    task = Task()
    with pytest.raises(SubsetselError, match=message) as refused:
        task.select(**wrong)
    assert isinstance(refused.value, (OptionError, ProblemError))
    assert task.calls == []
    solution = task.select(**{"num_trials": 1, **cure})
    assert solution.status == "feasible"


def test_what_is_gained_comes_back_with_its_composition() -> None:
    """Labels that are wrong at the hard end are cut, confirmed on fresh seeds, and said so."""
    task = Task()
    solution = task.select(num_confirmations=6)
    stats = solution.stats
    assert stats["is_confirmed"]
    assert stats["rule"] in {"searched", "strata", "gentle strata"}
    assert stats["composition"]["hard_cut"] > 0.15
    assert task.is_wrong[solution.kept].mean() < 0.1 < task.is_wrong.mean()
    best = max(stats["confirmation"], key=lambda one: float(one["difference"]))
    assert (best["rule"], best["composition"]) == (stats["rule"], stats["composition"])
    assert best["is_ahead"]
    assert best["interval"][0] > 0
    assert len(best["values"]) == len(best["random"]) == 6
    assert f"{stats['rule']} is ahead of random by {best['difference']:.4g} (95 %" in str(
        solution.message
    )
    assert (solution.solver, solution.status, solution.limit) == ("select", "feasible", None)
    assert len(solution.kept) == 40
    assert np.isnan(solution.norm)


@pytest.mark.parametrize("fraction", [0.9, 0.35])
def test_a_fraction_is_what_is_pruned(fraction: float) -> None:
    """As everywhere in this package."""
    solution = Task().select(num_kept=None, fraction=fraction)
    assert len(solution.kept) == N - round(N * fraction)


def test_random_comes_back_where_nothing_is_to_be_gained() -> None:
    """Of twenty made tasks at most two call something ahead: the interval allows one in twenty."""
    found = [
        Task(share_wrong=0.0, seed=seed).select(seed=seed, num_trials=6, num_confirmations=6)
        for seed in range(20)
    ]
    confirmed = [one for one in found if one.stats["is_confirmed"]]
    assert len(confirmed) <= 2
    for one in found:
        if one not in confirmed:
            assert one.stats["rule"] == "random"
            assert one.stats["composition"] == Composition("difficulty").record()
            assert "Nothing is surely ahead of random, which is kept" in one.message


def test_random_that_comes_back_is_a_simple_random_draw() -> None:
    """Not one that the referee's part, or a seed it shares with it, has a say in."""
    held_out = np.zeros(N)
    for seed in range(40):
        parts: list[Any] = []

        def train(kept: Any, held: Any, seed: int, parts: list[Any] = parts) -> float:
            parts.append(held)
            return 0.0

        solution = Task().select(train, seed=seed)
        assert solution.stats["rule"] == "random"
        held_out[np.intersect1d(solution.kept, parts[0])] += 1
    # 40 draws of 40 of 600, a tenth of which was held out in each: 160 expected, 12 of spread.
    assert abs(held_out.sum() - 160) < 4 * 12


def test_what_is_held_out_is_never_trained_on_and_open_at_the_end() -> None:
    """In every call; what comes back holds some of what the search had set aside."""
    task = Task()
    solution = task.select(num_kept=300)
    for kept, held_out, _ in task.calls:
        assert len(kept) == 300
        assert not np.isin(kept, held_out).any()
    assert np.isin(solution.kept, task.calls[0][1]).any()
    assert solution.stats["num_held_out"] == 60


@pytest.mark.parametrize(("held_out", "num_confirmations", "size"), [(0.1, 6, 60), (0.3, 6, 70)])
def test_every_confirmation_holds_out_what_nothing_was_judged_by_before(
    held_out: float, num_confirmations: int, size: int
) -> None:
    """A composition that suits the part it was found with, by luck, must not be believed for it.

    With parts drawn anew, which overlap, a gain of nothing was confirmed three to nine times as
    often as the interval says.

    Mutation: parts drawn from all examples: fails.
    """
    task = Task()
    task.select(held_out=held_out, num_confirmations=num_confirmations)
    parts = list(dict.fromkeys(tuple(held) for _, held, _ in task.calls))
    assert len(parts) == 1 + num_confirmations
    assert len(set().union(*parts)) == sum(map(len, parts))
    assert {len(part) for part in parts[1:]} == {size}


def test_confirmations_are_pairs_on_seeds_of_their_own() -> None:
    """Each seed trains random and the two finalists, and no other training has it."""
    task = Task()
    solution = task.select(num_confirmations=4)
    seeds = [seed for _, _, seed in task.calls]
    first = len(seeds) - 3 * 4
    fresh = seeds[first:]
    assert [fresh[i : i + 3] for i in range(0, 12, 3)] == [[s] * 3 for s in fresh[::3]]
    assert len(set(fresh)) == 4
    assert not set(fresh) & set(seeds[:first])
    # The search compares on one seed, the second look on another, the check on a third.
    assert len(set(seeds[:first])) == 3
    values = solution.stats["confirmation"][0]["random"]
    assert values == solution.stats["confirmation"][1]["random"]


def test_finalists_differ_from_random_and_from_each_other() -> None:
    """Where little is cut both rules by strata are the same; a slot for it twice is wasted."""
    difficulty = np.random.default_rng(0).exponential(size=N)

    def train(kept: Any, held_out: Any, seed: int) -> float:
        # Equal strata spread most.
        return float(difficulty[kept].std())

    given: dict[str, Any] = {"difficulty": difficulty, "num_kept": 350, "num_trials": 4}
    solution = Task().select(train, **given)
    trials = {t["rule"]: t for t in solution.stats["trials"]}
    assert trials["strata"]["hard_cut"] == trials["gentle strata"]["hard_cut"] == 0.0
    assert trials["strata"]["value"] > trials["class-balanced"]["value"]
    assert [one["rule"] for one in solution.stats["confirmation"]] == ["strata", "class-balanced"]


def one_rule(pairs: list[list[float | None]]) -> Any:
    """Compare one rule with random."""
    return next(compare([("random", Composition()), ("rule", Composition())], pairs), None)


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    """Mean, and 2.571 standard errors of six differences to either side."""
    pairs: list[list[float | None]] = [
        [0.1 * i, 0.1 * i + d] for i, d in enumerate([1, 2, 4, 3, 2, 0])
    ]
    found = one_rule(pairs)
    differences = np.array([1, 2, 4, 3, 2, 0])
    half = 2.5705818 * differences.std(ddof=1) / np.sqrt(6)
    assert found.difference == pytest.approx(2)
    assert found.interval == pytest.approx((2 - half, 2 + half))
    assert found.is_ahead


def test_roundings_are_no_difference() -> None:
    """0.1 + 0.2 is not ahead of 0.3, and a constant gain with roundings has no spread."""
    level = one_rule([[0.3, 0.1 + 0.2]] * 3)
    assert (level.difference, level.interval, level.is_ahead) == (0.0, (0.0, 0.0), False)
    constant = one_rule([[0.1, 0.3], [0.7, 0.9], [0.2, 0.4]])
    assert constant.interval == (constant.difference,) * 2
    assert constant.is_ahead


def test_two_pairs_are_no_comparison() -> None:
    """Three at least, in which both have a score."""
    assert one_rule([[0.1, 0.9], [0.2, 0.9], [None, 0.9], [0.1, None]]) is None
    assert one_rule([[0.1, 0.9], [0.2, 0.9], [0.3, 0.9]]).is_ahead


def test_the_fixed_rules_are_tried_however_few_trials_are_asked_for() -> None:
    """And no more than asked for beyond them."""
    rules = ["random", "class-balanced", "strata", "gentle strata"]
    for num_trials, wanted in ((1, rules), (4, rules), (6, [*rules, *["searched"] * 2])):
        trials = Task().select(num_trials=num_trials).stats["trials"]
        assert [t["rule"] for t in trials] == wanted


def test_of_several_scores_the_search_takes_any() -> None:
    """The one that shows nothing is tried beside the one that does; both by name."""
    task = Task()
    scores = {"luck": np.random.default_rng(1).random(N), "real": task.difficulty}
    solution = task.select(difficulty=scores, num_trials=10)
    assert {t["score"] for t in solution.stats["trials"]} == {"luck", "real"}
    assert solution.stats["trials"][0]["score"] == "luck"


def test_a_joint_choice_is_tried_where_there_are_rows() -> None:
    """And the norm is that of what is pruned, whatever came back."""
    solution = Task().select(rows=ROWS, **QUICK)
    assert solution.stats["trials"][4]["rule"] == "joint in cells"
    assert solution.norm == pytest.approx(np.linalg.norm(ROWS[solution.mask].sum(0)))
    problem = subsetsel.Problem(ROWS, size=7, normalization="kept")
    solution = Task().select(rows=problem, **QUICK)
    assert solution.norm == pytest.approx(problem.norm(solution.mask))


def test_near_a_trained_model_the_joint_choice_is_confirmed_whatever_its_rank() -> None:
    """All joint rules are tried, nothing is searched, and joint is first to be confirmed."""
    task = Task()
    solution = task.select(start="trained", rows=ROWS, num_trials=None, **QUICK)
    rules = [t["rule"] for t in solution.stats["trials"]]
    assert rules == [
        *("random", "class-balanced", "strata", "gentle strata"),
        *("joint", "joint in classes", "joint in cells"),
    ]
    assert solution.stats["confirmation"][0]["rule"] == "joint"
    values = {t["rule"]: t["value"] for t in solution.stats["trials"]}
    assert values["joint"] < max(values.values())
    assert solution.stats["start"] == "trained"


def test_the_same_seed_gives_the_same_solution_and_another_seed_another() -> None:
    """Whatever kind of integer the seed is."""
    first = answer(Task().select(seed=3))
    assert answer(Task().select(seed=np.int64(3))) == first
    assert answer(Task().select(seed=4))["kept"] != first["kept"]


class Stop:
    """Presses Ctrl-C at one training."""

    def __init__(self, task: Task, number: int) -> None:
        self.task, self.number = task, number

    def __call__(self, kept: Any, held_out: Any, seed: int) -> float:
        """Train, or be interrupted."""
        if len(self.task.calls) == self.number:
            raise KeyboardInterrupt
        return self.task.train(kept, held_out, seed)


def test_ctrl_c_before_the_first_training_ended_gives_nothing_and_says_so() -> None:
    """Nothing is pruned, and the status is unknown."""
    task = Task()
    solution = task.select(Stop(task, 0))
    assert (solution.status, solution.limit) == ("unknown", "interrupted")
    assert not solution.mask.any()
    assert solution.stats["trials"] == []
    assert solution.message == "Nothing was tried: interrupted before a training ended."


def test_ctrl_c_in_the_search_gives_the_best_so_far() -> None:
    """Unconfirmed, by one training each, and the message says that it may be luck."""
    task = Task()
    solution = task.select(Stop(task, 6))
    trials = solution.stats["trials"]
    assert len(trials) == 4
    best = max(trials, key=lambda t: float(t["value"]))
    assert best["rule"] != "random"
    assert (solution.stats["rule"], solution.limit) == (best["rule"], "interrupted")
    assert solution.stats["is_confirmed"] is False
    assert "Not confirmed, interrupted: the best of 4 trials by one training each" in (
        solution.message
    )
    assert f"(random {trials[0]['value']:.6g}). It may owe that to luck." in solution.message
    assert len(solution.kept) == 40


def test_ctrl_c_after_random_alone_keeps_random() -> None:
    """The first trial is random; the check of the seed was interrupted."""
    task = Task()
    solution = task.select(Stop(task, 1))
    assert (solution.stats["rule"], solution.status) == ("random", "feasible")
    assert "Random is kept, the best so far; interrupted." in solution.message


@pytest.mark.parametrize(("rows_done", "num_pairs"), [(2, 0), (3, 3), (5, 5)])
def test_ctrl_c_in_the_confirmation_compares_what_was_trained(
    rows_done: int, num_pairs: int
) -> None:
    """Whole rounds of three or more pairs; fewer are no comparison."""
    task = Task()
    before = 9 + 2 + 4
    solution = task.select(Stop(task, before + 3 * rows_done + 2), num_confirmations=6)
    assert solution.limit == "interrupted"
    assert {len(one["values"]) for one in solution.stats["confirmation"]} == (
        {num_pairs} if num_pairs else set()
    )
    assert solution.stats["is_confirmed"] == (num_pairs > 0)
    assert solution.stats["rule"] != "random"


def test_a_callback_gets_every_trial_and_ends_the_search() -> None:
    """What it returns counts if true; the best so far are confirmed."""
    seen: list[Any] = []

    def callback(trial: Any) -> bool:
        seen.append(trial)
        return len(seen) == 6

    solution = Task().select(callback=callback, num_confirmations=6)
    assert [t.record() for t in seen] == solution.stats["trials"]
    assert len(seen) == 6
    assert solution.limit is None
    assert solution.stats["is_confirmed"]


def test_progress_states_the_cost_before_the_first_training() -> None:
    """How many trainings of which kind first; how long, once one was timed; one line for each."""
    task = Task()
    lines: list[str] = []
    before: list[int] = []

    def progress(line: str) -> None:
        lines.append(line)
        before.append(len(task.calls))

    solution = task.select(progress=progress)
    assert before[0] == 0
    assert lines[0] == (
        "at most 24 trainings: 9 compositions, 2 to check the seed, 4 again, 9 to confirm"
    )
    assert lines[1].startswith("[1/24] random: 0.")
    assert lines[2].startswith("all of them would take about ")
    assert before[2] == 1
    told = [line for line in lines if line.startswith("[")]
    assert len(told) == len(task.calls) == solution.stats["num_trainings"] == 24
    assert told[-1].startswith("[24/24] confirm ")


def test_progress_of_a_study_that_goes_on_says_what_was_done_before(tmp_path: Path) -> None:
    """The time that is left is told after the first training of this call, without those before."""
    task = Task()
    lines: list[str] = []
    task.select(Stop(task, 10), study=tmp_path / "s")
    task.select(study=tmp_path / "s", progress=lines.append)
    assert sum("(done before)" in line for line in lines) == 8
    told = [i for i, line in enumerate(lines) if "would take about" in line]
    assert len(told) == 1
    assert lines[told[0] - 1].startswith("[11/24]")


class Watch:
    """A clock that only trainings move on; ten seconds for a whole one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
        self.now, self.task = 0.0, task
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        for module in ("selection.search", "support.clock"):
            monkeypatch.setattr(f"subsetsel.{module}.time", clock)

    def train(self, kept: Any, held_out: Any, seed: int) -> float:
        """Take ten seconds."""
        return self.train_shortly(kept, held_out, seed, 1.0)

    def train_shortly(self, kept: Any, held_out: Any, seed: int, budget: float) -> float:
        """Take as long as the budget says."""
        self.now += 10 * budget
        return self.task.train(kept, held_out, seed)


@pytest.mark.parametrize("is_short", [False, True], ids=["whole", "budget"])
def test_no_training_is_begun_that_would_not_end_in_time(
    monkeypatch: pytest.MonkeyPatch, *, is_short: bool
) -> None:
    """For every limit in which the first and its check end; what was trained is used."""
    limits, num_trials, is_confirmed = [], [], []
    for time_limit in (35, 150, 170, 215, 241, 300):
        watch = Watch(monkeypatch, Task())
        train = watch.train_shortly if is_short else watch.train
        solution = watch.task.select(train, time_limit=time_limit)
        assert watch.now <= time_limit
        assert solution.stats["training_time"] == pytest.approx(watch.now)
        limits.append(solution.limit)
        num_trials.append(len(solution.stats["trials"]))
        is_confirmed.append(solution.stats["is_confirmed"])
    assert limits[0] == "time"
    assert limits[-1] is None
    assert num_trials == sorted(num_trials)
    assert num_trials[0] == 1
    assert num_trials[-1] == 9
    # The confirmation has its part of the time: a search that was cut short is confirmed, too.
    assert (True, "time") in set(zip(is_confirmed, limits, strict=True))


@pytest.mark.parametrize("time_limit", [0, 25, 75])
def test_what_follows_a_finished_search_keeps_to_the_time_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, time_limit: float
) -> None:
    """The best again, and every round of confirmation, begin only if they end in time.

    Mutation: no look at the clock: fails.
    """
    watch = Watch(monkeypatch, Task())

    def search(kept: Any, held_out: Any, seed: int) -> float:
        if len(watch.task.calls) == 9 + 2:
            raise KeyboardInterrupt
        return watch.train(kept, held_out, seed)

    watch.task.select(search, study=tmp_path / "s")
    watch.now = 0.0
    solution = watch.task.select(watch.train, study=tmp_path / "s", time_limit=time_limit)
    assert time_limit - 30 < watch.now <= time_limit
    assert (solution.limit, solution.stats["is_confirmed"]) == ("time", False)


def test_a_time_limit_of_nothing_still_gives_random() -> None:
    """One training and its check; the message says why there is no more."""
    solution = Task().select(time_limit=0)
    assert (solution.limit, solution.stats["rule"]) == ("time", "random")
    assert "Random is kept, the best so far; stopped by the time limit." in solution.message


def test_what_is_in_a_study_takes_no_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A finished search is told at once, and whole, whatever the limit."""
    watch = Watch(monkeypatch, Task())
    wanted = answer(watch.task.select(watch.train, study=tmp_path / "s"))
    assert answer(watch.task.select(watch.train, study=tmp_path / "s", time_limit=0)) == wanted


def test_stats_survive_the_file_of_a_solution(tmp_path: Path) -> None:
    """Plain values, so that the page and the manifest have them; NaN for no norm."""
    solution = Task().select(study=tmp_path / "study")
    solution.save(tmp_path / "kept.npz")
    again = subsetsel.Solution.load(tmp_path / "kept.npz")
    assert again.stats == solution.stats
    assert again.message == solution.message
    assert np.isnan(again.norm)
    np.testing.assert_array_equal(again.kept, solution.kept)


def test_without_optuna_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained; a search needs it, a composition does not."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    task = Task()
    with pytest.raises(MissingExtraError, match=r'pip install "subsetsel\[select\]"'):
        task.select()
    assert task.calls == []


def test_naming_the_function_loads_no_heavy_package(tmp_path: Path) -> None:
    """Optuna and torch are loaded where a search begins."""
    loaded = loaded_by("import subsetsel; subsetsel.select_for_training", tmp_path)
    assert not loaded & {"optuna", "torch", "matplotlib", "sklearn"}
