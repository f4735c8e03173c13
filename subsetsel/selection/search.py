"""The course of a selection: try compositions, try the best again, confirm them beside random."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from subsetsel.errors import SolverError, TrainingError
from subsetsel.problem.progress import Limit
from subsetsel.rows.base import IndexArray
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import Composition, random_rule
from subsetsel.selection.confirm import MIN_PAIRS, Confirmation
from subsetsel.selection.referee import Referee, TrainingFault, seed_of, set_aside
from subsetsel.selection.study import Outcome, Study, Trial
from subsetsel.support.clock import Clock
from subsetsel.support.text import spoken_time

# Where `train` takes a budget, compositions are searched with a part of it. With a quarter of 600
# steps what was found was too easy for all 600.
CHEAP_BUDGET = 0.5
NUM_AGAIN = 4
"""How many of the best are trained a second time, so that no lucky seed wins."""
NUM_AGAIN_AFTER_CHEAP = 8
NUM_CONFIRMED = 2

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
        self.held_out = self._set_aside(_HELD_OUT, 0)
        self._search_budget = CHEAP_BUDGET if referee.takes_budget else 1.0
        self.num_done, self.training_time = 0, 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the selection began."""
        return self._clock.elapsed

    @property
    def num_again(self) -> int:
        """How many are trained a second time."""
        most = NUM_AGAIN_AFTER_CHEAP if self.referee.takes_budget else NUM_AGAIN
        return min(most, self.settings.num_trials)

    @property
    def num_to_do(self) -> int:
        """Most trainings that there will be: two check what `train` does with its seed."""
        confirming = self.settings.num_confirmations * (NUM_CONFIRMED + 1)
        return self.settings.num_trials + 2 + self.num_again + confirming

    def run(self) -> None:
        """Do everything up to the limit."""
        settings = self.settings
        self._say(
            f"at most {self.num_to_do} trainings: {settings.num_trials} compositions"
            f"{f' at {CHEAP_BUDGET:.0%} of the budget' if self.referee.takes_budget else ''}, 2 to "
            f"check the seed, {self.num_again} again, {self.num_to_do - self._num_searching} to "
            "confirm"
        )
        try:
            self._try_all()
            self._confirm(self._finalists())
        except KeyboardInterrupt:
            self.limit = "interrupted"

    @property
    def _num_searching(self) -> int:
        return self.settings.num_trials + 2 + self.num_again

    # --- trials ---------------------------------------------------------------------------------

    def _try_all(self) -> None:
        for trial in self.study.trials:
            self._count(f"{trial.rule} (done before)", trial.outcome)
            if trial.number == 0:
                self._check_seeds(trial)
        while (number := len(self.study.trials)) < self.settings.num_trials:
            if number and not self._has_time_for(self._num_left_after_search + 1):
                self.limit = "time"
                return
            trial = self._try(number)
            if number == 0:
                self._check_seeds(trial)
            if self._callback is not None and self._callback(trial):
                return

    @property
    def _num_left_after_search(self) -> int:
        return self.num_to_do - self.settings.num_trials

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
        self._count(rule, outcome)
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
                f"train gave {first.value:.6g} for two seeds on the same examples: it ignores its "
                "seed. That is right for a model that is fitted exactly; a network should draw its "
                "initial parameters and the order of its batches from the seed."
            )

    # --- finalists ------------------------------------------------------------------------------

    def _finalists(self) -> list[tuple[str, Composition]]:
        """Train the best again, and give those that are to be confirmed."""
        others = [t for t in self.study.trials if t.value is not None and t.rule != "random"]
        ranked = sorted(others, key=lambda trial: -(trial.value or 0.0))
        seed = seed_of(self.settings.seed, _AGAIN)
        means: dict[int, float] = {}
        for trial in ranked[: self.num_again]:
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
        default = [trial for trial in others if trial.rule == self.settings.default]
        ranked = [*default, *(trial for trial in ranked if trial not in default)]
        return [(trial.rule, trial.composition) for trial in ranked[:NUM_CONFIRMED]]

    def _confirm(self, finalists: list[tuple[str, Composition]]) -> None:
        """Train the finalists and random on fresh seeds, each with a fresh held-out part."""
        settings = self.settings
        rules = [("random", random_rule(self._fixed[0][1].score)), *finalists]
        pairs: list[list[float | None]] = []
        try:
            for number in range(settings.num_confirmations if finalists else 0):
                if not self._has_time_for(len(rules)):
                    self.limit = "time"
                    return
                # Examples set aside anew: a composition that suits one part by luck is found out.
                held_out = self._set_aside(_CONFIRM, number)
                seed = seed_of(settings.seed, _CONFIRM, number)
                pairs.append([
                    self._recalled(
                        f"confirm {number} {composition.record()}",
                        composition,
                        held_out,
                        seed,
                        rule=rule,
                    ).value
                    for rule, composition in rules
                ])
        finally:
            self.confirmations = list(_compare(rules, pairs))

    # --- trainings ------------------------------------------------------------------------------

    def _set_aside(self, *kind: int) -> IndexArray:
        seed = seed_of(self.settings.seed, _HELD_OUT, *kind)
        return set_aside(self.chooser.n, self.settings.held_out, seed)

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
        if outcome is None:
            outcome = self._train(composition, held_out, seed, train_seed=train_seed, budget=budget)
            self.study.remember(key, outcome)
        self._count(f"{key.partition(' ')[0]} {rule}", outcome)
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
            value, seconds = self.referee.score(
                kept, held_out, seed if train_seed is None else train_seed, budget
            )
        except (TrainingFault, SolverError) as error:
            return Outcome(None, str(error), time.perf_counter() - started)
        return Outcome(value, "", seconds)

    def _count(self, what: str, outcome: Outcome) -> None:
        self.num_done += 1
        self.training_time += outcome.seconds
        result = outcome.reason if outcome.value is None else f"{outcome.value:.6g}"
        self._say(f"[{self.num_done}/{self.num_to_do}] {what}: {result} ({outcome.seconds:.1f} s)")
        if self.num_done == 1:
            full = outcome.seconds / self._search_budget
            rest = (self.settings.num_trials + 1) * outcome.seconds
            rest += (self.num_to_do - self.settings.num_trials - 2) * full
            self._say(f"all of them would take about {spoken_time(rest)} more")

    def _has_time_for(self, num_trainings: int) -> bool:
        """Whether so many trainings of the kind seen so far end before the deadline."""
        each = self.training_time / max(1, self.num_done)
        return self._clock.remaining > num_trainings * each


def _compare(
    rules: list[tuple[str, Composition]], pairs: list[list[float | None]]
) -> Iterator[Confirmation]:
    """Test every rule against the first, by the pairs in which both have a value."""
    for column, (rule, composition) in enumerate(rules[1:], 1):
        both = [(row[column], row[0]) for row in pairs]
        known = [(value, random) for value, random in both if None not in {value, random}]
        if len(known) >= MIN_PAIRS:
            values, random = (list(map(float, side)) for side in zip(*known, strict=True))
            yield Confirmation.of_pairs(rule, replace(composition), values, random)
