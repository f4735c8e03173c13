"""The command `select`: what to keep for a training, with that training as the judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import ExitCode, print_note, print_result, working
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.kept import KeptRows, write_rows
from subsetsel.cli.output import check_out, check_places, exit_code, manifest_path, save, show
from subsetsel.cli.report import can_draw, write_page
from subsetsel.cli.settings import reading_of, unusual
from subsetsel.cli.stdin import STANDARD
from subsetsel.errors import OptionError
from subsetsel.formats import Data
from subsetsel.formats.kept import check_kept
from subsetsel.report.manifest import Manifest
from subsetsel.support.clock import Clock
from subsetsel.support.optional import import_extra
from subsetsel.support.text import spoken_time

if TYPE_CHECKING:
    from subsetsel.cli.select_tasks import Task
    from subsetsel.experiments.cost import Cost
    from subsetsel.problem.solution import Solution

_OF_PICTURES = {
    *("network", "model", "image_size", "scorer", "scorer_epochs", "epochs", "iterations"),
    *("batch_size", "lr", "padding"),
}
_OF_FEATURES = {
    *("l2", "hessian", "features", "drop", "labels", "keep_na"),
    *("delimiter", "decimal", "encoding"),
}


def select(
    ctx: typer.Context,
    data: given.Pool,
    out: given.KeptOut,
    num_kept: given.NumKept = None,
    fraction: given.Fraction = None,
    network: given.OneNetwork = "lenet",
    model: given.OwnModel = None,
    image_size: given.SizeOfPictures = None,
    epochs: given.Epochs = None,
    iterations: given.Iterations = None,
    batch_size: given.BatchSize = 64,
    lr: given.LearningRate = 0.05,
    padding: given.Padding = 0,
    scorer: given.ScorerOf = None,
    scorer_epochs: given.ScorerEpochs = 5,
    out_of_fold: given.NumFolds = None,
    l2: given.L2 = None,
    hessian: given.HessianOf = "all",
    trials: given.NumTrials = None,
    confirmations: given.NumConfirmations = 6,
    held_out: given.HeldOut = 0.1,
    seed: given.Seed = 0,
    study: given.StudyFile = None,
    warm_start: given.EarlierStudy = None,
    time_limit: given.TimeOfAll = None,
    device: given.Device = "auto",
    label: given.Label = "y",
    identity: given.Identity = "id",
    features: given.Features = None,
    drop: given.Drop = None,
    labels: given.Labels = None,
    keep_na: given.KeepNa = False,
    delimiter: given.Delimiter = None,
    decimal: given.Decimal = ".",
    encoding: given.Encoding = "utf-8",
    kept: KeptRows = None,
    page: given.PageOut = None,
    dry_run: given.DryRun = False,
    as_json: given.Json = False,
) -> None:
    """Choose what a network is trained on, with its own training as the judge.

    Of pictures a short training says how hard each one is. Then the network is trained on choices
    of different difficulty and balance of classes, each judged on a random part of the data that
    was set aside; the best two are trained on fresh seeds beside random, and random is what comes
    back unless one of them is ahead of it. Of features an exact refit of the head is the judge, and
    the joint choice is among the choices. Ctrl-C keeps the best so far, and the same command goes
    on from there.

    \b
    Examples:
      subsetsel select pictures/ --num-kept 4000 --iterations 600 --out kept.csv
      subsetsel select pictures/ --num-kept 4000 --iterations 600 --out kept.csv --dry-run
      subsetsel select pictures/ --fraction 0.9 --model network:make --image-size 64 --epochs 20 \\
        --out kept.csv
      subsetsel select pictures/ --num-kept 4000 --network resnet18 --epochs 30 --out big.csv \\
        --warm-start kept.study.jsonl
      subsetsel select features.npz --l2 1e-3 --num-kept 500 --out kept.csv
    """
    settings = _Settings(
        goal=given.one_goal({"num_kept": num_kept, "fraction": fraction}),
        num_trials=trials,
        num_confirmations=confirmations,
        held_out=held_out,
        num_folds=out_of_fold,
        seed=seed,
        warm_start=warm_start,
        time_limit=time_limit,
        device=device,
    )
    settings.check()
    clock, places = Clock(time_limit), _Places.of(out, kept, page, study)
    places.check([path for path in (data, warm_start, labels) if path], as_json=as_json)
    task = _task(ctx, data, settings)
    if dry_run:
        raise typer.Exit(_show_cost(task, settings, as_json=as_json))
    raise typer.Exit(_run(task, settings, places, data, clock, as_json=as_json))


def _task(ctx: typer.Context, data: Path, settings: _Settings) -> Task:
    """Read the data, and take the flags that go with data of their kind."""
    if data == STANDARD:
        raise OptionError("- is standard input, from which nothing can go on; name a file instead.")
    with working("loading"), quits_at_once():
        from subsetsel.cli import select_tasks as tasks
        from subsetsel.experiments.training_data import holds_pictures

        import_extra("optuna", "select", "searches for a composition")
    flags, said = ctx.params, {name for name in ctx.params if _is_said(ctx, name)}
    names = {name: flags[name] for name in ("label", "identity")}
    if flags["model"] is not None or holds_pictures(data, **names):
        _refuse(said & _OF_FEATURES, data, "pictures, which a network is trained on")
        if said >= {"network", "model"}:
            raise OptionError("give --network or --model, not both.")
        own = {name: flags[name] for name in _OF_PICTURES}
        return tasks.picture_task(data, tasks.PictureFlags(**names, **own), settings.measuring)
    _refuse(said & _OF_PICTURES, data, "features, on which a head is fitted exactly")
    own = {name: flags[name] for name in _OF_FEATURES - {"l2", "hessian", "labels"}}
    how = reading_of(**names, labels=flags["labels"], **unusual(**own))
    question = {**settings.goal, "hessian": flags["hessian"]}
    return tasks.feature_task(data, how, flags["l2"], question, settings.measuring)


def _is_said(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refuse(said: set[str], data: Path, what: str) -> None:
    """Refuse flags that play no part in data of this kind, rather than pass over them."""
    if said:
        raise OptionError(
            f"{data} holds {what}: leave out {', '.join(map(given.flag, sorted(said)))}."
        )


@dataclass(frozen=True)
class _Settings:
    """What is asked, whatever the data."""

    goal: Mapping[str, Any]
    num_trials: int | None
    num_confirmations: int
    held_out: float
    num_folds: int | None
    seed: int
    warm_start: Path | None
    time_limit: float | None
    device: str

    def check(self) -> None:
        """Refuse, before any work, what can be told without the data."""
        if self.num_folds is not None and self.num_folds < 2:
            raise OptionError(f"--out-of-fold must be at least 2 folds, got {self.num_folds}.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise OptionError(f"--time-limit must be positive, got {self.time_limit:g} seconds.")
        if self.warm_start is not None and not self.warm_start.is_file():
            raise OptionError(
                f"--warm-start {self.warm_start}: there is no such file; name the study of an "
                "earlier run."
            )

    @property
    def measuring(self) -> dict[str, Any]:
        """What measuring difficulty depends on."""
        return {"seed": self.seed, "num_folds": self.num_folds or 0, "device": self.device}


@dataclass(frozen=True)
class _Places:
    """Where everything is written."""

    out: Path
    kept: Path | None
    page: Path | None
    study: Path | None

    @classmethod
    def of(cls, out: Path, kept: Path | None, page: Path | None, study: Path | None) -> _Places:
        """Put what is not named beside ``out``; beside standard output there is no place."""
        if out == STANDARD:
            return cls(out, kept, page, study)
        return cls(
            out,
            kept or out.with_suffix(".txt"),
            page or out.with_suffix(".html"),
            study or out.with_suffix(".study.jsonl"),
        )

    @property
    def difficulty(self) -> Path | None:
        """Where the difficulties of a study lie, with the settings that they are good for."""
        return None if self.study is None else self.study.with_suffix(".difficulty.npz")

    def check(self, inputs: list[Path], *, as_json: bool) -> None:
        """Refuse, before any work, what could not be written or would replace another file."""
        check_out(self.out, as_json=as_json)
        if self.page is not None and self.page.suffix.lower() not in {".html", ".htm"}:
            raise OptionError(f"--page must name an .html file, got {self.page}.")
        places = {"--kept": self.kept, "--page": self.page, "--study": self.study}
        places["the difficulties of --study"] = self.difficulty
        if self.out != STANDARD:
            places |= {"--out": self.out, "the manifest of --out": manifest_path(self.out)}
        check_places({flag: path for flag, path in places.items() if path is not None}, inputs)


def _show_cost(task: Task, settings: _Settings, *, as_json: bool) -> ExitCode:
    cost = _cost(task, settings)
    print_result({"items": cost.items, "seconds": cost.seconds}, str(cost), as_json=as_json)
    return ExitCode.DONE


def _run(
    task: Task,
    settings: _Settings,
    places: _Places,
    data: Path,
    clock: Clock,
    *,
    as_json: bool,
) -> ExitCode:
    """Choose, save, show."""
    draws = can_draw(needed=False)
    if places.kept is not None:
        check_kept(places.kept, data, task.n, task.ids, task.delimiter)
    solution = _select(task, settings, places, clock)
    manifest = Manifest.of(
        solution,
        command="select",
        settings={**task.about, **asdict(settings)},
        inputs={"data": task.source},
        paths={"data": data},
        ids=task.ids,
        look=task.look,
    )
    written = []
    if solution.is_feasible:
        written = save(solution, manifest, places.out, task.ids)
        if places.kept is not None:
            examples = Data(task.labels, task.labels, task.ids)
            written += write_rows(places.kept, data, solution, examples, task.delimiter)
        if places.page is not None:
            gallery = _gallery(task, solution)
            remarks = [] if task.look is None else task.look.lines()
            write_page(places.page, manifest, [], gallery, draws=draws, remarks=remarks)
            written.append(places.page)
    show(solution, files=written, out=places.out, look=task.look, as_json=as_json)
    if solution.limit is not None and places.study is not None:
        print_note(f"the same command goes on from {places.study}")
    return exit_code(solution)


def _select(task: Task, settings: _Settings, places: _Places, clock: Clock) -> Solution:
    """Measure difficulty, unless an earlier call did, and search."""
    from subsetsel.experiments.difficulty import stored_difficulty
    from subsetsel.selection.select import select_for_training

    num_kept = _num_kept(task, settings)
    about = {**task.about, **settings.measuring, "num_kept": num_kept}
    about["held_out"] = settings.held_out
    if places.difficulty is None or not places.difficulty.exists():
        print_note(str(_cost(task, settings)))
    difficulty = stored_difficulty(places.difficulty, places.study, about, task.measure)
    print_note(f"difficulty: {', '.join(difficulty)} ({spoken_time(clock.elapsed)} so far)")
    near: dict[str, Any] = {}
    if task.rows is not None:
        near = {"rows": task.rows(), "start": "trained"}
    return select_for_training(
        task.train,
        difficulty=difficulty,
        labels=task.labels,
        num_kept=num_kept,
        held_out=settings.held_out,
        num_trials=settings.num_trials,
        num_confirmations=settings.num_confirmations,
        seed=settings.seed,
        study=places.study,
        warm_start=settings.warm_start,
        time_limit=None if settings.time_limit is None else max(0.0, clock.remaining),
        progress=print_note,
        **near,
    )


def _num_kept(task: Task, settings: _Settings) -> int:
    """Count what is kept, and refuse settings that leave no choice before anything is trained."""
    from subsetsel.problem.goal import Goal
    from subsetsel.selection.select import check_settings

    goal = Goal.parse(task.n, **settings.goal)
    assert goal.size is not None
    num_kept = task.n - goal.size
    check_settings(
        task.n, num_kept, settings.held_out, settings.num_trials, settings.num_confirmations
    )
    return num_kept


def _cost(task: Task, settings: _Settings) -> Cost:
    """Estimate what all trainings take, by some steps that are measured."""
    from subsetsel.selection.count import NUM_TRIALS, Trainings

    num_kept = _num_kept(task, settings)
    usual = NUM_TRIALS["scratch" if task.rows is None else "trained"]
    count = Trainings(settings.num_trials or usual, settings.num_confirmations)
    return task.cost(count.num_all, num_kept)


def _gallery(task: Task, solution: Solution) -> str:
    """Show kept beside pruned, where there are pictures of bytes."""
    if task.pictures is None:
        return ""
    from subsetsel.report.gallery import Looks, render_gallery

    names = range(task.n) if task.ids is None else task.ids.tolist()
    return render_gallery(Looks(pictures=task.pictures), task.labels, solution.mask, names)
