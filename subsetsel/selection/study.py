"""Trials on disk, and the search for the next one: Optuna's, with one sampler for each trial.

A sampler is made anew for every trial, from the seed and the number of the trial. What it proposes
depends on the finished trials alone, so that a search that was killed goes on as if it were not.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from subsetsel.errors import FileFormatError, OptionError
from subsetsel.selection.composition import Composition
from subsetsel.selection.referee import seed_of
from subsetsel.support.files import locked
from subsetsel.support.optional import import_extra
from subsetsel.support.records import plain

_FORMAT = "subsetsel-study-1"
_NAME = "select_for_training"
# How an Optuna journal begins.
_FIRST_BYTES = b'{"op_code":'
# The first proposals of the sampler are by lot, beside the fixed rules that come before it.
_NUM_STARTUP = 10


@dataclass(frozen=True)
class Outcome:
    """What came of one training.

    Attributes
    ----------
    value : float or None
        The score; None where there is none.
    reason : str
        Why there is none.
    seconds : float
    """

    value: float | None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Trial:
    """A composition that was tried once.

    Attributes
    ----------
    number : int
        From 0 on.
    rule : str
        ``"searched"``, ``"earlier"`` (of the study that was given as ``warm_start``), or the name
        of a fixed rule.
    composition : Composition
    outcome : Outcome
    """

    number: int
    rule: str
    composition: Composition
    outcome: Outcome

    @property
    def value(self) -> float | None:
        """The score; None where the training failed."""
        return self.outcome.value

    def record(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "number": self.number,
            "rule": self.rule,
            "value": self.value,
            "state": "failed" if self.value is None else "finished",
            "reason": self.outcome.reason,
            "seconds": self.outcome.seconds,
            **self.composition.record(),
        }


@dataclass(frozen=True)
class Space:
    """Where compositions are looked for.

    Attributes
    ----------
    scores, choices : tuple of str
    room : float
        The share that may be cut at both ends together, so that what is kept is left.
    """

    scores: tuple[str, ...]
    choices: tuple[str, ...]
    room: float

    @property
    def max_hard_cut(self) -> float:
        """Most that is cut at the hard end."""
        return min(0.9, self.room)

    def distributions(self, optuna: Any) -> dict[str, Any]:
        """Say it in Optuna's words."""
        shares = {
            "hard_cut": self.max_hard_cut,
            "easy_cut": min(0.5, self.room),
            "evenness": 1.0,
            "class_balance": 1.0,
        }
        found: dict[str, Any] = {
            name: optuna.distributions.FloatDistribution(0.0, most) for name, most in shares.items()
        }
        for name, values in (("score", self.scores), ("choice", self.choices)):
            found[name] = optuna.distributions.CategoricalDistribution(values)
        return found

    def composition(self, params: Mapping[str, Any]) -> Composition:
        """Read a proposal: cuts that would leave too little are shortened at the easy end."""
        left = max(0.0, self.room - params["hard_cut"])
        given = {**params, "easy_cut": min(params["easy_cut"], left)}
        return Composition(**given).reduced()


class Study:
    """The trials of one search, and every other training that belongs to it.

    Parameters
    ----------
    path : path-like or None
        An Optuna journal; None keeps everything in memory.
    about : mapping
        What the search is about; a file of another search is refused.
    space : Space
    seed : int
    """

    def __init__(
        self,
        path: str | PathLike[str] | None,
        about: Mapping[str, Any],
        space: Space,
        seed: int,
    ) -> None:
        self._optuna = _import_optuna()
        self._space, self._seed = space, seed
        self._study = _open(self._optuna, path)
        found = self._study.user_attrs.get("about")
        told = {"format": _FORMAT, **plain(about)}
        if found is None:
            if self._study.trials:
                raise OptionError(f"{path} is a study of something else; name another file.")
            self._study.set_user_attr("about", told)
        elif found != told:
            names = sorted(k for k in {*found, *told} if found.get(k) != told.get(k))
            raise OptionError(
                f"study {path} was made with another {', '.join(names)}; name another file for "
                "this search, and this one as warm_start to profit from it."
            )
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == self._optuna.trial.TrialState.RUNNING:
                # Its run was killed: after its training, or before the end of it. Then the same
                # proposal will be made again.
                if "about" in trial.user_attrs:
                    self._study.tell(trial.number, self._told(trial.user_attrs["about"]["value"]))
                else:
                    self.give_up(trial.number)

    @property
    def trials(self) -> list[Trial]:
        """Those that came to an end, in their order."""
        return _read_trials(self._study)

    def propose(self, number: int) -> tuple[Any, Composition]:
        """Ask for the composition of trial ``number``; with what `finish` is told."""
        self._study.sampler = self._optuna.samplers.GPSampler(
            seed=seed_of(self._seed, 1, number),
            n_startup_trials=_NUM_STARTUP,
            deterministic_objective=False,
            warn_independent_sampling=False,
        )
        with _quietly(self._optuna):
            trial = self._study.ask(self._space.distributions(self._optuna))
        return trial, self._space.composition(trial.params)

    def give_up(self, token: Any) -> None:
        """Say that a proposal came to no end: it will be made again."""
        if token is not None:
            self._study.tell(token, state=self._optuna.trial.TrialState.FAIL)

    def finish(self, token: Any, rule: str, composition: Composition, outcome: Outcome) -> Trial:
        """Write a trial down; it is on the disk when this returns."""
        number = len(self.trials)
        about = {"rule": rule, "composition": composition.record(), **plain(outcome)}
        told = self._told(outcome.value)
        if token is None:
            self._study.add_trial(
                self._optuna.create_trial(
                    value=told,
                    params=composition.record(),
                    distributions=self._space.distributions(self._optuna),
                    user_attrs={"about": about},
                )
            )
        else:
            token.set_user_attr("about", about)
            self._study.tell(token, told)
        return Trial(number, rule, composition, outcome)

    def _told(self, value: float | None) -> float:
        """Tell the sampler of a failure as of the worst score: else it proposes the same again."""
        if value is not None:
            return value
        return min(trial.value for trial in self.trials if trial.value is not None)

    def recall(self, key: str) -> Outcome | None:
        """Find another training of this search that was done before."""
        found = self._study.user_attrs.get(f"training {key}")
        return None if found is None else Outcome(**found)

    def remember(self, key: str, outcome: Outcome) -> None:
        """Write another training down."""
        self._study.set_user_attr(f"training {key}", plain(outcome))


def earlier_compositions(path: str | PathLike[str], num: int, space: Space) -> list[Composition]:
    """Read the best compositions of an earlier study that fit this search, best first.

    Raises
    ------
    FileFormatError
        If it is no study of compositions.
    FileNotFoundError
        If there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(2, "warm_start names a study that does not exist", str(path))
    study = _open(_import_optuna(), path, is_read_only=True)
    about = study.user_attrs.get("about")
    if not isinstance(about, dict) or about.get("format") != _FORMAT:
        raise FileFormatError(f"{path} is no study of select_for_training; name another file.")
    ranked = sorted(
        (trial for trial in _read_trials(study) if trial.value is not None),
        key=lambda trial: -(trial.value or 0.0),
    )
    found: list[Composition] = []
    for trial in ranked:
        one = trial.composition
        fits = one.hard_cut + one.easy_cut <= space.room and one.hard_cut <= space.max_hard_cut
        is_known = one.score in space.scores and one.choice in space.choices
        if fits and is_known and not one.is_plain and one not in found:
            found.append(one)
    return found[:num]


@contextmanager
def only_run(path: str | PathLike[str] | None) -> Iterator[None]:
    """Keep other runs away from a study, and repair what a killed one left.

    Raises
    ------
    FolderInUseError
        If another run is at work on it.
    FileFormatError
        If it is no study; it is left as it is.
    """
    if path is None:
        yield
        return
    file = Path(path)
    if file.is_dir():
        raise OptionError(f"study {str(path)!r} is a folder; name a file in it.")
    with locked(file.parent, name=f".{file.name}"):
        # Optuna's own lock outlives a process that is killed while it writes.
        Path(f"{file}.lock").unlink(missing_ok=True)
        _cut_torn_line(file)
        yield


def _cut_torn_line(file: Path) -> None:
    """Cut off the end of a line that a killed run did not finish, of a journal and nothing else."""
    if file.is_file() and file.stat().st_size:
        with file.open("r+b") as stream:
            written = stream.read()
            if not _FIRST_BYTES.startswith(written[: len(_FIRST_BYTES)]):
                raise FileFormatError(f"{file} is no study of select_for_training; name another.")
            if not written.endswith(b"\n"):
                stream.truncate(written.rfind(b"\n") + 1)


def _open(optuna: Any, path: str | PathLike[str] | None, *, is_read_only: bool = False) -> Any:
    if path is None:
        with _quietly(optuna):
            return optuna.create_study(direction="maximize")
    journal = import_extra("optuna.storages.journal", "select", "searches for a composition")
    try:
        with _quietly(optuna):
            storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
            names = {study.study_name for study in storage.get_all_studies()}
            if is_read_only or _NAME in names:
                return optuna.load_study(storage=storage, study_name=_NAME)
            return optuna.create_study(storage=storage, study_name=_NAME, direction="maximize")
    except OSError:
        raise
    except Exception as error:
        raise FileFormatError(
            f"{path} cannot be read as a study: {type(error).__name__}: {error}; name another file."
        ) from error


def _read_trials(study: Any) -> list[Trial]:
    found: list[Trial] = []
    for trial in study.get_trials(deepcopy=False):
        about = trial.user_attrs.get("about")
        if about is not None and trial.state.is_finished():
            outcome = Outcome(about["value"], about["reason"], about["seconds"])
            composition = Composition.of_record(about["composition"])
            found.append(Trial(len(found), about["rule"], composition, outcome))
    return found


def _import_optuna() -> Any:
    return import_extra("optuna", "select", "searches for a composition")


@contextmanager
def _quietly(optuna: Any) -> Iterator[None]:
    """Keep Optuna's remarks on studies and on its experimental parts from users."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)
