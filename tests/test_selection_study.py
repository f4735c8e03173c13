"""Studies on disk: stopped at any moment, gone on with, refused, and begun from another."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from kills import killed_at_touch, needs_fork
from optuna.storages.journal import JournalFileBackend
from selecting import N, Task, answer

import subsetsel
from subsetsel.errors import FileFormatError, FolderInUseError, OptionError
from subsetsel.selection.composition import Composition
from subsetsel.selection.study import Outcome, Space, Study, only_run


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, Any]:
    """What comes of a search that nothing stops."""
    return answer(Task().select())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of that search; not to be written to."""
    path = tmp_path_factory.mktemp("finished") / "study"
    Task().select(study=path)
    return path


def test_a_study_changes_nothing(finished: Path, uninterrupted: dict[str, Any]) -> None:
    """In a file or in memory; a finished one is read without a training, and without a change."""
    written = finished.read_bytes()
    task = Task()
    again = task.select(study=finished)
    assert answer(again) == uninterrupted
    assert task.calls == []
    assert again.stats["study"] == str(finished)
    assert finished.read_bytes() == written


def test_a_search_interrupted_at_every_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    """Each training is interrupted once by Ctrl-C; what was done is not done again."""
    # So many that the last are proposed by what was found.
    options: dict[str, Any] = {"num_trials": 11}
    whole = Task()
    wanted = answer(whole.select(**options))
    task = Task()
    done: list[Any] = []
    limits: list[Any] = []

    def train(kept: Any, held_out: Any, seed: int) -> float:
        if len(limits) <= len(done):
            raise KeyboardInterrupt
        done.append((kept.tolist(), held_out.tolist(), seed))
        return task.train(kept, held_out, seed)

    while True:
        solution = task.select(train, study=tmp_path / "s", **options)
        if solution.limit is None:
            break
        limits.append(solution.limit)
        assert len(solution.kept) in {40, N}
    assert answer(solution) == wanted
    assert done == [(k.tolist(), h.tolist(), s) for k, h, s in whole.calls]
    assert limits == ["interrupted"] * len(done)


def test_a_study_cut_off_at_any_byte_goes_on_to_the_same_end(
    finished: Path, uninterrupted: dict[str, Any], tmp_path: Path
) -> None:
    """Also where a line is torn, or one of the two lines that end a trial is missing."""
    written = finished.read_bytes()
    lines = np.cumsum([len(line) for line in written.splitlines(keepends=True)])
    places = {0, 1, *range(7, len(written), len(written) // 7), *lines[:3], *lines[35:56:5]}
    for place in sorted(places):
        path = tmp_path / str(place)
        path.write_bytes(written[:place])
        assert answer(Task().select(study=path)) == uninterrupted, place


@needs_fork
@pytest.mark.parametrize("number", [0, 1, 5, 12, 30, 55, 90])
def test_a_search_that_is_killed_goes_on_to_the_same_end(
    number: int, tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    """SIGKILL leaves the lock of Optuna behind, and a proposal without an end."""
    path = tmp_path / "folder" / "study"
    assert killed_at_touch(lambda: Task().select(study=path), path.parent, number)
    # As a process that dies while it writes leaves it.
    path.parent.mkdir(exist_ok=True)
    Path(f"{path}.lock").unlink(missing_ok=True)
    Path(f"{path}.lock").symlink_to(path)
    assert answer(Task().select(study=path)) == uninterrupted
    assert not Path(f"{path}.lock").is_symlink()


def test_a_proposal_whose_run_was_killed_after_its_training_is_not_trained_again(
    tmp_path: Path,
) -> None:
    """The last line of a trial says that it is over; the line before has all that came of it.

    What is proposed after it depends on it, too.

    Mutation: the killed trial given up: fails.
    """
    path, whole = tmp_path / "study", Task()
    wanted = answer(whole.select(study=path, num_trials=11))
    lines = path.read_bytes().splitlines(keepends=True)
    ends = [i for i, line in enumerate(lines) if b'"state":1' in line and b'"trial_id":9' in line]
    path.write_bytes(b"".join(lines[: ends[-1]]))
    task = Task()
    assert answer(task.select(study=path, num_trials=11)) == wanted
    # One trial, four again and three rounds of confirmation come after that line.
    assert len(task.calls) == 1 + 4 + 3 * 3


def test_the_lock_of_a_run_that_was_killed_is_taken_away_at_once(tmp_path: Path) -> None:
    """Optuna would wait for half a minute, for a run that the lock beside it shows to be over."""
    lock = tmp_path / "study.lock"
    lock.symlink_to(tmp_path / "study")
    with only_run(tmp_path / "study"):
        assert not lock.is_symlink()


def rows(seed: int = 0) -> np.ndarray[Any, Any]:
    """Rows of the task for joint choices."""
    return np.random.default_rng(seed).normal(size=(N, 3))


QUICK: dict[str, Any] = {"solve_options": {"solver": "greedy"}}


@pytest.mark.parametrize(
    ("first", "other", "name"),
    [
        ({}, {"num_kept": 41}, "num_kept"),
        ({}, {"seed": 1}, "seed"),
        ({}, {"held_out": 0.2}, "held_out"),
        ({}, {"labels": np.arange(N) % 3}, "labels"),
        ({}, {"difficulty": np.arange(float(N))}, "difficulty"),
        ({}, {"difficulty": {"el2n": Task().difficulty}}, "difficulty, scores"),
        ({}, {"rows": rows(), **QUICK}, "choices, rows, solve_options"),
        ({"rows": rows(), **QUICK}, {"rows": rows(1), **QUICK}, "rows"),
        ({"rows": rows(), **QUICK}, {"rows": rows()[::-1].copy(), **QUICK}, "rows"),
        ({"rows": rows(), **QUICK}, {"rows": rows(), "solve_options": {}}, "solve_options"),
        (
            {"rows": rows(), **QUICK},
            {"rows": rows(), "start": "trained", **QUICK},
            "choices, start",
        ),
        (
            {"difficulty": {"a": Task().difficulty, "b": np.arange(float(N))}},
            {"difficulty": {"b": np.arange(float(N)), "a": Task().difficulty}},
            "scores",
        ),
    ],
)
def test_another_search_in_the_same_file_is_refused(
    first: dict[str, Any], other: dict[str, Any], name: str, tmp_path: Path
) -> None:
    """What differs is named; a file of its own, begun from this study, is the cure."""
    path, task = tmp_path / "study", Task()

    def stop(_: Any) -> bool:
        raise KeyboardInterrupt

    task.select(study=path, callback=stop, **first)
    num_before, written = len(task.calls), path.read_bytes()
    with pytest.raises(OptionError, match=f"was made with another {name}; name another file"):
        task.select(study=path, **other)
    assert len(task.calls) == num_before
    assert path.read_bytes() == written
    task.select(study=tmp_path / "another", warm_start=path, callback=stop, **other)
    # And the first goes on as it was.
    assert len(task.select(study=path, callback=stop, **first).kept) == 40


def test_another_budget_or_another_warm_start_in_the_same_file_is_refused(tmp_path: Path) -> None:
    """Scores of half a training stand beside no others, and trials keep their compositions."""
    path, task = tmp_path / "study", Task()

    def short(kept: Any, held_out: Any, seed: int, budget: float) -> float:
        return task.train(kept, held_out, seed)

    task.select(study=path)
    with pytest.raises(OptionError, match="with another budget; name"):
        task.select(short, study=path)
    with pytest.raises(OptionError, match="with another warm_start; name"):
        task.select(study=path, warm_start=path)
    assert len(task.select(short, study=tmp_path / "b", warm_start=path).kept) == 40


def test_rows_of_the_same_numbers_are_the_same_rows(tmp_path: Path) -> None:
    """A problem of them, another layout or storage, and a callback make no other search."""
    path, task = tmp_path / "study", Task()
    wanted = answer(task.select(study=path, rows=rows(), **QUICK))
    num_before = len(task.calls)
    watching = {"solve_options": {"solver": "greedy", "progress": lambda _: None}}
    for same in (np.asfortranarray(rows()), subsetsel.Problem(rows(), size=3)):
        assert answer(task.select(study=path, rows=same, **watching)) == wanted
    assert len(task.calls) == num_before


def test_more_trials_and_more_confirmations_go_on_from_fewer(tmp_path: Path) -> None:
    """A finished study is no end: asked for more, it trains what is missing."""
    path, whole, parts = tmp_path / "study", Task(), Task()
    wanted = answer(whole.select(num_trials=10, num_confirmations=4))
    parts.select(study=path, num_trials=7, num_confirmations=3)
    solution = parts.select(study=path, num_trials=10, num_confirmations=4)
    assert solution.stats["trials"][:9] == parts.select(study=path).stats["trials"][:9]
    found = answer(solution)
    assert found["confirmation"] == wanted["confirmation"]
    assert (found["kept"], found["message"]) == (wanted["kept"], wanted["message"])


FOREIGN = {
    "text": b"two lines\nof a letter",
    "one line": b"a letter",
    "npz": b"PK\x03\x04" + bytes(range(256)),
    "json": b'{"a": 1}\n',
    "other lines": b'[1]\n"b"\n',
    "other operations": b'{"op_code":99,"worker_id":"a"}\n',
    "another database": b"SQLite format 3\x00" + bytes(80),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("role", ["study", "warm_start"])
def test_a_file_that_is_no_study_is_refused_and_left_as_it_is(
    kind: str, role: str, tmp_path: Path
) -> None:
    """A slip in a path must not cost a file, not even its last line.

    Mutation: no look at the first bytes: fails.
    """
    path, task = tmp_path / "precious", Task()
    path.write_bytes(FOREIGN[kind])
    with pytest.raises(FileFormatError, match=r"(?s)precious.* name another"):
        task.select(**{role: path})
    assert path.read_bytes() == FOREIGN[kind]
    assert task.calls == []


def test_a_study_of_another_program_is_not_taken_for_an_earlier_one(tmp_path: Path) -> None:
    """A journal of Optuna with other studies is a journal, and no study of compositions."""
    path = tmp_path / "journal"
    backend = JournalFileBackend(str(path))
    storage = optuna.storages.JournalStorage(backend)
    optuna.create_study(storage=storage, study_name="mine")
    with pytest.raises(FileFormatError, match="name another file"):
        Task().select(warm_start=path)
    optuna.create_study(storage=storage, study_name="select_for_training").add_trial(
        optuna.create_trial(value=1.0)
    )
    with pytest.raises(OptionError, match="is a study of something else; name another file"):
        Task().select(study=path)
    with pytest.raises(FileFormatError, match="is no study of select_for_training"):
        Task().select(warm_start=path)


def test_an_empty_file_begins_a_study(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    """As tempfile makes it; as an earlier study it is none."""
    path = tmp_path / "empty"
    path.touch()
    with pytest.raises(FileFormatError):
        Task().select(warm_start=path)
    assert path.read_bytes() == b""
    assert answer(Task().select(study=path)) == uninterrupted


def test_a_folder_is_no_study(tmp_path: Path) -> None:
    """Nothing is left beside it; a file in it, whose folder need not be there yet, is the cure."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(OptionError, match="is a folder; name a file in it"):
        Task().select(study=tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    Task().select(study=str(tmp_path / "folder" / "deeper" / "study"))


def test_two_runs_at_once_are_kept_apart(tmp_path: Path) -> None:
    """The second is refused while the first trains; another file, or waiting, is the cure."""
    path, task, other = tmp_path / "study", Task(), Task()
    errors: list[BaseException] = []

    def try_another() -> None:
        try:
            other.select(study=path)
        except FolderInUseError as error:
            errors.append(error)

    def train(kept: Any, held_out: Any, seed: int) -> float:
        if not errors:
            thread = threading.Thread(target=try_another)
            thread.start()
            thread.join()
            other.select(study=tmp_path / "another")
        return task.train(kept, held_out, seed)

    task.select(train, study=path)
    assert "study is in use by another run" in str(errors[0])
    assert "give another file" in str(errors[0])
    num_before = len(other.calls)
    other.select(study=path)
    assert len(other.calls) == num_before


def test_a_study_may_be_read_while_it_is_made(tmp_path: Path) -> None:
    """A search begins from one that still runs, whose file it neither locks nor changes."""
    path, task, other = tmp_path / "study", Task(), Task()
    sizes: list[tuple[int, int]] = []

    def train(kept: Any, held_out: Any, seed: int) -> float:
        if len(task.calls) == 8:
            before = path.stat().st_size
            other.select(warm_start=path)
            sizes.append((before, path.stat().st_size))
        return task.train(kept, held_out, seed)

    task.select(train, study=path)
    assert len(sizes) == 1
    assert sizes[0][0] == sizes[0][1]


def test_the_best_of_an_earlier_study_are_tried_after_the_fixed_rules(finished: Path) -> None:
    """Of a study with fewer kept, best first, each once, and nothing that is a fixed rule here."""
    earlier = Task().select(study=finished).stats["trials"]
    trials = Task().select(num_kept=60, warm_start=finished).stats["trials"]
    assert [t["rule"] for t in trials[:4]] == [
        "random",
        "class-balanced",
        "strata",
        "gentle strata",
    ]
    parts = ("hard_cut", "easy_cut", "evenness", "class_balance", "choice", "score")
    tried = [[t[part] for part in parts] for t in trials if t["rule"] == "earlier"]
    fixed = [[t[part] for part in parts] for t in trials[:4]]
    best = sorted(earlier, key=lambda t: -t["value"])
    wanted = [[t[part] for part in parts] for t in best]
    wanted = [one for one in wanted if any(one[:4])][:6]
    assert tried == [one for one in wanted if one not in fixed][: len(tried)]
    assert len(tried) >= 3


def test_of_an_earlier_study_only_what_fits_is_tried(finished: Path) -> None:
    """Cuts that leave too little here, and scores that are not there, are passed over."""
    trials = Task().select(num_kept=400, warm_start=finished).stats["trials"]
    assert all(t["hard_cut"] + t["easy_cut"] <= 1 - 400 / 540 for t in trials)
    other = {"difficulty": {"aum": Task().difficulty}}
    trials = Task().select(warm_start=finished, **other).stats["trials"]
    assert {t["score"] for t in trials} == {"aum"}
    assert not [t for t in trials if t["rule"] == "earlier"]


def test_an_earlier_study_that_is_missing_is_named(tmp_path: Path, finished: Path) -> None:
    """And is not made by asking for it; its right path is the cure."""
    with pytest.raises(FileNotFoundError, match="warm_start names a study that does not exist"):
        Task().select(warm_start=tmp_path / "study")
    assert list(tmp_path.iterdir()) == []
    shutil.copy(finished, tmp_path / "study")
    assert len(Task().select(warm_start=tmp_path / "study").kept) == 40


def test_what_fails_is_not_proposed_again_and_again() -> None:
    """Were a failure nothing to the sampler, it would look for its maximum at the same place.

    Mutation: a failure told as the best score: fails.
    """
    study = Study(None, {}, Space(("el2n",), ("draw",), 0.9), seed=0)

    def tried(token: Any, composition: Composition) -> bool:
        # The better the more is cut, up to a half; beyond it the training fails.
        is_right = composition.hard_cut < 0.5
        value = composition.hard_cut if is_right else None
        study.finish(token, "searched", composition, Outcome(value, "" if is_right else "diverged"))
        return is_right

    for cut in np.linspace(0, 0.9, 19):
        tried(None, Composition("el2n", float(cut)))
    assert sum(tried(*study.propose(number)) for number in range(19, 22)) >= 2
    assert {t.outcome.reason for t in study.trials if t.value is None} == {"diverged"}


def test_the_logging_of_optuna_is_left_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    """Whoever uses Optuna beside this sees what it says there, and nothing of it here."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        Task().select(num_trials=11)
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
    finally:
        optuna.logging.set_verbosity(before)
    assert capfd.readouterr().err == ""
