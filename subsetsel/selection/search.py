"""The course of a selection: try compositions, try the best again, confirm them beside random."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from subsetsel.errors import SolverError, TrainingError
from subsetsel.problem.progress import Limit
from subsetsel.rows.base import IndexArray
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import Composition, random_rule
from subsetsel.selection.confirm import Confirmation, compare
from subsetsel.selection.count import NUM_CHECKS, NUM_CONFIRMED, Trainings
from subsetsel.selection.referee import Referee, TrainingFault, seed_of, set_aside
from subsetsel.selection.study import Outcome, Study, Trial
from subsetsel.support.clock import Clock, TimeIsUp
from subsetsel.support.text import spoken_time

# Where `train` takes a budget, compositions are searched with a part of it. With a quarter of 600
# steps what was found was too easy for all 600.
CHEAP_BUDGET = 0.5

# Kinds of seeds, so that no two trainings share one by accident.
_HELD_OUT, _TRIAL, _AGAIN, _CONFIRM, _CHECK = range(5)


@dataclass(frozen=True)
class Settings:
    """What a selection is asked.

    Attributes
    ----------
    num_kept, num_trials, num_confirmations, seed : int
    held_out : float
        Share that is set aside for the referee.
    default : str
        Rule that is confirmed whatever its rank; empty for none.
    """

    num_kept: int
    num_trials: int
    num_confirmations: int
    held_out: float
    seed: int
    default: str = ""


class Selection:
    """One selection.

    Parameters
    ----------
    settings : Settings
    chooser : Chooser
    referee : Referee
    study : Study
    fixed : list of (rule, Composition)
        Tried before anything is searched; random is the first.
    clock : Clock
    say : callable
        Given one line per training.
    callback : callable, optional
        Given every `Trial`; what it returns ends the search if true.

    Attributes
    ----------
    limit : {None, "time", "interrupted"}
    confirmations : list of Confirmation
    remarks : list of str
    num_done : int
        Trainings of this selection, those of earlier calls of the same study included.
    training_time : float
        Their seconds.
    """

    def __init__(
        self,
        settings: Settings,
        chooser: Chooser,
        referee: Referee,
        study: Study,
        fixed: list[tuple[str, Composition]],
        *,
        clock: Clock,
        say: Callable[[str], None],
        callback: Callable[[Trial], object] | None = None,
    ) -> None:
        self.settings, self.chooser, self.referee, self.study = settings, chooser, referee, study
        self._fixed, self._clock, self._say, self._callback = fixed, clock, say, callback
        self.limit: Limit | None = None
        self.confirmations: list[Confirmation] = []
        self.remarks: list[str] = []
        self.held_out = set_aside(
            chooser.n, settings.held_out, seed_of(settings.seed, _HELD_OUT, 0)
        )
        self._trainings = Trainings(
            settings.num_trials, settings.num_confirmations, referee.takes_budget
        )
        self._search_budget = CHEAP_BUDGET if referee.takes_budget else 1.0
        self.num_done, self.training_time = 0, 0.0
        self._budget_done, self._has_told_time = 0.0, False

    @property
    def elapsed(self) -> float:
        """Seconds since the selection began."""
        return self._clock.elapsed

    def run(self) -> None:
        """Do everything up to the limit."""
        count = self._trainings
        self._say(
            f"at most {count.num_all} trainings: {count.num_trials} compositions"
            f"{f' at {CHEAP_BUDGET:.0%} of the budget' if self.referee.takes_budget else ''}, "
            f"{NUM_CHECKS} to check the seed, {count.num_again} again, {count.num_confirming} to "
            "confirm"
        )
        try:
            self._try_all()
            self._confirm(self._finalists())
        except TimeIsUp:
            self.limit = "time"
        except KeyboardInterrupt:
            self.limit = "interrupted"

    # --- trials ---------------------------------------------------------------------------------

    def _try_all(self) -> None:
        for trial in self.study.trials:
            self._count(f"{trial.rule} (done before)", trial.outcome, self._search_budget)
            if trial.number == 0:
                self._check_seeds(trial)
        while (number := len(self.study.trials)) < self.settings.num_trials:
            if number and not self._has_time_for(self._search_budget + self._trainings.num_whole):
                self.limit = "time"
                return
            trial = self._try(number)
            if number == 0:
                self._check_seeds(trial)
            if self._callback is not None and self._callback(trial):
                return

    def _try(self, number: int) -> Trial:
        if number < len(self._fixed):
            token, (rule, composition) = None, self._fixed[number]
        else:
            rule = "searched"
            token, composition = self.study.propose(number)
        try:
            outcome = self._train(
                composition,
                self.held_out,
                seed_of(self.settings.seed, _TRIAL),
                budget=self._search_budget,
            )
        except BaseException:
            self.study.give_up(token)
            raise
        self._count(rule, outcome, self._search_budget, is_new=True)
        if number == 0 and outcome.value is None:
            raise TrainingError(
                f"train {outcome.reason} on {self.settings.num_kept} random examples (seed "
                f"{seed_of(self.settings.seed, _TRIAL)}), with which everything is compared; mend "
                "train, and try it first as train(kept, held_out, seed=0)."
            )
        return self.study.finish(token, rule, composition, outcome)

    def _check_seeds(self, first: Trial) -> None:
        """Train the random choice twice more: with its own seed, and with another."""
        seed = seed_of(self.settings.seed, _TRIAL)
        found = [
            self._recalled(
                f"check {number}",
                first.composition,
                self.held_out,
                seed,
                train_seed=train_seed,
                budget=self._search_budget,
            ).value
            for number, train_seed in enumerate((seed, seed_of(self.settings.seed, _CHECK)))
        ]
        again, other = found
        if again is not None and again != first.value:
            self.remarks.append(
                f"train gave {first.value:.6g} and {again:.6g} for the same examples and the same "
                "seed: something in it does not follow the seed (initial parameters, the order of "
                "a loader, threads of a GPU), so that pairs differ by more than what was chosen."
            )
        elif other is not None and other == again:
            self.remarks.append(
                f"train gave {first.value:.6g} for two seeds on the same examples: it seems to "
                "ignore its seed, or few held-out examples made them equal by chance. To ignore it "
                "is right for a model that is fitted exactly; a network should draw its initial "
                "parameters and the order of its batches from the seed."
            )

    # --- finalists ------------------------------------------------------------------------------

    def _finalists(self) -> list[tuple[str, Composition]]:
        """Train the best again, and give those that are to be confirmed."""
        # Each once: where little is cut, both rules by strata are the same.
        others = {
            trial.composition: trial
            for trial in reversed(self.study.trials)
            if trial.value is not None and not trial.composition.is_plain
        }
        ranked = sorted(others.values(), key=lambda t: (-(t.value or 0.0), t.number))
        seed = seed_of(self.settings.seed, _AGAIN)
        means: dict[int, float] = {}
        for trial in ranked[: self._trainings.num_again]:
            self._require_time([f"again {trial.number}"])
            again = self._recalled(
                f"again {trial.number}", trial.composition, self.held_out, seed, rule=trial.rule
            )
            if again.value is not None:
                first = again.value if self.referee.takes_budget else trial.value or 0.0
                means[trial.number] = (first + again.value) / 2
        ranked = sorted(
            (trial for trial in ranked if trial.number in means),
            key=lambda trial: -means[trial.number],
        )
        default = [trial for trial in others.values() if trial.rule == self.settings.default]
        ranked = [*default, *(trial for trial in ranked if trial not in default)]
        return [(trial.rule, trial.composition) for trial in ranked[:NUM_CONFIRMED]]

    def _confirm(self, finalists: list[tuple[str, Composition]]) -> None:
        """Train the finalists and random on fresh seeds, each with a fresh held-out part."""
        settings = self.settings
        rules = [("random", random_rule(self._fixed[0][1].score)), *finalists]
        pairs: list[list[float | None]] = []
        try:
            for number in range(settings.num_confirmations if finalists else 0):
                size = self._num_held_out_anew
                keys = [f"confirm {number} on {size} {one.record()}" for _, one in rules]
                self._require_time(keys)
                held_out = self._set_aside_anew(number)
                seed = seed_of(settings.seed, _CONFIRM, number)
                pairs.append([
                    self._recalled(key, composition, held_out, seed, rule=rule).value
                    for key, (rule, composition) in zip(keys, rules, strict=True)
                ])
        finally:
            self.confirmations = list(compare(rules, pairs))

    # --- trainings ------------------------------------------------------------------------------

    def _set_aside_anew(self, number: int) -> IndexArray:
        """Give a held-out part for a confirmation.

        It has nothing of the part that the composition was found with, which it may suit by luck,
        and nothing of the other confirmations, so that the pairs are independent.
        """
        generator = np.random.default_rng(seed_of(self.settings.seed, _HELD_OUT, 1))
        others = np.setdiff1d(np.arange(self.chooser.n), self.held_out)
        size = self._num_held_out_anew
        return np.sort(generator.permutation(others)[number * size : (number + 1) * size])

    @property
    def _num_held_out_anew(self) -> int:
        most = (self.chooser.n - len(self.held_out)) // self.settings.num_confirmations
        return min(len(self.held_out), most)

    def _recalled(
        self,
        key: str,
        composition: Composition,
        held_out: IndexArray,
        seed: int,
        *,
        train_seed: int | None = None,
        rule: str = "random",
        budget: float = 1.0,
    ) -> Outcome:
        """Train, unless this training is in the study."""
        outcome = self.study.recall(key)
        is_new = outcome is None
        if outcome is None:
            outcome = self._train(composition, held_out, seed, train_seed=train_seed, budget=budget)
            self.study.remember(key, outcome)
        self._count(f"{key.partition(' ')[0]} {rule}", outcome, budget, is_new=is_new)
        return outcome

    def _train(
        self,
        composition: Composition,
        held_out: IndexArray,
        seed: int,
        *,
        train_seed: int | None = None,
        budget: float = 1.0,
    ) -> Outcome:
        """Choose, train, judge; a fault of either is an outcome without a value."""
        started = time.perf_counter()
        try:
            kept = self.chooser.choose(
                composition, self.settings.num_kept, seed=seed, held_out=held_out
            )
            value = self.referee.score(
                kept, held_out, seed if train_seed is None else train_seed, budget
            )
        except (TrainingFault, SolverError) as error:
            return Outcome(None, str(error), time.perf_counter() - started)
        return Outcome(value, "", time.perf_counter() - started)

    def _count(self, what: str, outcome: Outcome, budget: float, *, is_new: bool = False) -> None:
        self.num_done += 1
        self._budget_done += budget
        self.training_time += outcome.seconds
        result = outcome.reason if outcome.value is None else f"{outcome.value:.6g}"
        place = f"[{self.num_done}/{self._trainings.num_all}]"
        self._say(f"{place} {what}: {result} ({outcome.seconds:.1f} s)")
        if is_new and not self._has_told_time:
            self._has_told_time = True
            whole = (
                self.settings.num_trials + NUM_CHECKS
            ) * self._search_budget + self._trainings.num_whole
            rest = max(0.0, whole - self._budget_done) * outcome.seconds / budget
            self._say(f"all of them would take about {spoken_time(rest)} more")

    def _has_time_for(self, budget: float) -> bool:
        """Whether so many whole trainings, as fast as those so far, end before the deadline."""
        each = self.training_time / max(self._budget_done, self._search_budget)
        return self._clock.remaining > budget * each

    def _require_time(self, keys: list[str]) -> None:
        """Begin no training that would not end in time; what is in the study takes none."""
        num_new = sum(self.study.recall(key) is None for key in keys)
        if num_new and not self._has_time_for(num_new):
            raise TimeIsUp
