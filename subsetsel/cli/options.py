"""The options of all commands, each declared once, and what several commands do with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from subsetsel.cli.console import print_text
from subsetsel.errors import OptionError


def _argument(text: str) -> Any:
    return typer.Argument(help=text)


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, **more)


def _solver_names(incomplete: str) -> list[str]:
    """Offer the names of the solvers to the shell."""
    from subsetsel.engine.registry import registered_solvers

    return [name for name in registered_solvers() if name.startswith(incomplete)]


# --- what is read -------------------------------------------------------------------------------

_S = _argument(
    "S, one row per example: .npy, .npz, .safetensors, .parquet, .csv, .tsv, .jsonl; - for stdin."
)
Matrix = Annotated[Path, _S]
MatrixOfRun = Annotated[list[Path] | None, _S]
DataOfRun = Annotated[
    list[Path] | None,
    _argument(
        "Features and labels (and ids): .npz, .safetensors, .parquet (a folder or a quoted glob "
        "too), .csv, .tsv, .jsonl, the last three also as .gz; .npy with --labels; - for stdin. "
        "Several files lie in shards: .npy, .npz, .parquet, .zarr."
    ),
]
Data = Annotated[Path, _option("The examples that were pruned.")]
Claim = Annotated[Path, _argument("What `prune --out` wrote, its manifest, or a --certificate.")]
ManifestFile = Annotated[Path, _argument("What --out left beside the subset (.json).")]
Format = Annotated[
    str | None,
    _option(
        "Of standard input (-): npy, npz, safetensors, parquet, csv, tsv or jsonl, the last three "
        "also with .gz.",
        "--format",
    ),
]
Key = Annotated[str | None, _option("Array of an .npz or .safetensors file that holds several.")]
Label = Annotated[str, _option("Column (or array) that holds the labels.")]
Identity = Annotated[str, _option("Column (or array) that holds the examples' names.", "--id")]
LabelAgain = Annotated[
    str | None, _option("Column (or array) of the labels; by default as it was.")
]
IdentityAgain = Annotated[str | None, _option("Column (or array) of the names; as it was.", "--id")]
Features = Annotated[
    list[str] | None,
    _option(
        "Columns (or arrays) of features, with commas between; repeatable. All others if none."
    ),
]
Drop = Annotated[
    list[str] | None,
    _option("Columns that are no features, with commas between; repeatable.", "--drop"),
]
Weight = Annotated[str | None, _option("Column (or array) that says how much each one counts.")]
Labels = Annotated[Path | None, _option("Another file, which holds the labels in the same order.")]
KeepNa = Annotated[
    bool, _option("Take the labels NA, nan, null and None for classes.", "--keep-na")
]
Delimiter = Annotated[str | None, _option("Between the cells of a text table: one character, tab.")]
Decimal = Annotated[str, _option("Begins the decimals in a text table: . or ,")]
Encoding = Annotated[str, _option("Of a text table, such as utf-16 or latin-1.")]
Test = Annotated[Path | None, _option("Held-out examples, to compare accuracy and loss on.")]
Validation = Annotated[Path | None, _option("Examples that decide, unlike those of --test.")]
From = Annotated[
    Path | None,
    _option("A manifest: repeat its run, on its data unless others are named.", "--from"),
]
Images = Annotated[
    Path,
    _argument(
        "Pictures: a folder of IDX files (MNIST), of CIFAR's binary files, of TinyImageNet, "
        "one with train/ and test/ holding a folder per class, or an .npz file."
    ),
]

# --- the problem --------------------------------------------------------------------------------

L2 = Annotated[
    float | None, _option("Weight decay of mean loss + (l2 / 2) ||theta||^2, bias included.")
]
Epsilon = Annotated[float | None, _option("Largest parameter change; prune as many as it allows.")]
RelEpsilon = Annotated[float | None, _option("The same as a fraction of ||theta||_2.")]
Size = Annotated[int | None, _option("Prune exactly this many examples.")]
Fraction = Annotated[float | None, _option("Prune this share of the examples.")]
NumKept = Annotated[int | None, _option("Keep exactly this many examples.")]
HessianOf = Annotated[
    str, _option("With a size: all (first order), or kept (minimizes what an exact refit says).")
]
MaxSize = Annotated[int | None, _option("Prune at most this many.")]
Offset = Annotated[
    Path | None, _option("A vector v0: ||v0 + S^T W|| stands for ||S^T W||, to reach a target.")
]
Normalized = Annotated[str, _option("full (Eq. 3 of the paper) or kept (times the kept share).")]
MaxLossGap = Annotated[float | None, _option("Largest rise of the mean loss on --validation.")]
MaxAccuracyDrop = Annotated[
    float | None, _option("Largest fall of the accuracy on it, a share: 0.002 is 0.2 points.")
]
MinCurvature = Annotated[float | None, _option("Least share of curvature in every direction.")]
KeepPerClass = Annotated[int | None, _option("Keep at least this many examples of every class.")]

# --- the search ---------------------------------------------------------------------------------

Solver = Annotated[
    str, _option("A name that `subsetsel solvers` lists.", autocompletion=_solver_names)
]
Solvers = Annotated[str | None, _option("Names with commas between; all that are installed.")]
TimeLimit = Annotated[
    float | None,
    _option("Seconds for head, S and search; otherwise the solver's own budget of work."),
]
TimeOfEach = Annotated[float, _option("Seconds for each solver.")]
Seed = Annotated[int, _option("Same seed, same subset (unless a time limit stops the search).")]
NumWorkers = Annotated[int, _option("Threads.")]
TightBound = Annotated[
    bool, _option("Spend a fifth of the time on the semidefinite bound too.", "--tight-bound")
]
SolverOptions = Annotated[
    list[str] | None,
    _option("An option of the solver; repeatable.", "--option", metavar="NAME=VALUE"),
]
Device = Annotated[str, _option("auto, cpu or cuda.")]

# --- what is written ----------------------------------------------------------------------------

Out = Annotated[
    Path | None,
    _option(
        "Where to save the subset: .npz, .safetensors, .parquet, .csv, .tsv; a manifest "
        "(.json) is put beside it. - writes a table to standard output."
    ),
]
Certificate = Annotated[
    Path | None, _option("What others need to check the claim: a .json, and an .npz beside it.")
]
Json = Annotated[bool, _option("Print one JSON object instead of text.", "--json")]
DryRun = Annotated[bool, _option("Read the data, say what it would cost, and stop.", "--dry-run")]
Folder = Annotated[Path, _option("Where the subset, the manifest, the picture and the page go.")]
Page = Annotated[Path | None, _option("The page, beside the manifest by default; - for stdout.")]

# --- the page -----------------------------------------------------------------------------------

DataOfPage = Annotated[Path | None, _option("The examples that were pruned.")]
Examples = Annotated[
    Path | None,
    _option(
        "What they look like, to show kept beside pruned: pictures as .npy or .npz of "
        "shape (n, height, width[, 3]), or texts as a table with a column `text`."
    ),
]
ImageShape = Annotated[
    str | None, _option("Show the features themselves as pictures of this shape.", metavar="HxW")
]
Curve = Annotated[
    bool,
    _option(
        "Prune other shares too and refit, with random subsets beside them; takes several "
        "times as long as the pruning did.",
        "--curve",
    ),
]

# --- retraining ---------------------------------------------------------------------------------


def _list_methods(is_wanted: bool) -> None:
    if is_wanted:
        from subsetsel.experiments.methods import METHODS

        print_text("\n".join(["whole", *METHODS]))
        raise typer.Exit


Kept = Annotated[str, _option("How many to keep; several with commas between.")]
Methods = Annotated[str, _option("Names with commas between; see --list-methods.")]
NumSeeds = Annotated[int, _option("How many; each draws scorer, choice and training anew.")]
Network = Annotated[str, _option("Trained on what is kept; several with commas between.")]
Scorer = Annotated[str, _option("Network whose outputs tell what to keep.")]
ScorerEpochs = Annotated[int, _option("Passes of the scorer over all examples.")]
Epochs = Annotated[int | None, _option("Passes over what is kept; this or --iterations.")]
Iterations = Annotated[int | None, _option("Steps, however many are kept; this or --epochs.")]
BatchSize = Annotated[int, _option("Pictures in a step.")]
LearningRate = Annotated[float, _option("Of the first step; falls along a cosine.")]
Padding = Annotated[int, _option("Random crop and mirror; 0 for neither.")]
Balanced = Annotated[
    bool, _option("Rank by scores within classes, and keep as many of each.", "--balanced")
]
ShareScorer = Annotated[bool, _option("One scorer for all seeds.", "--share-scorer")]
Results = Annotated[Path, _option("Folder for results; finished runs in it are not repeated.")]
CostOnly = Annotated[bool, _option("Print the cost and stop.", "--dry-run")]
ListMethods = Annotated[
    bool,
    _option("Print them and exit.", "--list-methods", callback=_list_methods, is_eager=True),
]


# --- selection for a training -------------------------------------------------------------------

Pool = Annotated[
    Path,
    _argument(
        "Pictures: a folder with a folder per class, a .csv of file names and labels, a saved "
        "Hugging Face data set, IDX or CIFAR files (the training half), an .npz with X of bytes "
        "and y; or features and labels, as of `prune`."
    ),
]
KeptOut = Annotated[
    Path,
    _option(
        "Where to save what is kept: .npz, .safetensors, .parquet, .csv, .tsv; the list (.txt), "
        "the manifest, the page and the study are put beside it."
    ),
]
OneNetwork = Annotated[str, _option("Trained on what is kept: a network by its name.")]
OwnModel = Annotated[
    str | None,
    _option(
        "Your own network: a function without arguments that gives a torch module, or one and the "
        "transform of a picture. It is called anew for each training.",
        "--model",
        metavar="MODULE:FUNCTION",
    ),
]
SizeOfPictures = Annotated[
    str | None,
    _option("Scale picture files to this size.", metavar="SIDE|HEIGHTxWIDTH"),
]
ScorerOf = Annotated[
    str | None,
    _option("Network that says what is hard; strided, or that of --model where one is given."),
]
NumFolds = Annotated[
    int | None,
    _option("Let each example be judged by a training on the other folds; so many folds."),
]
NumTrials = Annotated[
    int | None,
    _option("Compositions that are tried; 24 for pictures, the fixed rules for features."),
]
NumConfirmations = Annotated[
    int, _option("Fresh seeds with which the best two are compared with random; 3 at least.")
]
HeldOut = Annotated[float, _option("Share of the examples that is set aside for judging.")]
StudyFile = Annotated[
    Path | None,
    _option("Every training is written here; the same command goes on. Beside --out by default."),
]
EarlierStudy = Annotated[
    Path | None, _option("An earlier study, whose best compositions are tried first.")
]
TimeOfAll = Annotated[
    float | None, _option("Seconds; no training is begun that would not end in time.")
]
PageOut = Annotated[Path | None, _option("The page (.html); beside --out by default.")]
ListOut = Annotated[
    Path | None,
    _option("The list of what is kept (.txt), one name or number a line; beside --out by default."),
]


def names_in(texts: list[str] | None) -> tuple[str, ...]:
    """Read names with commas between; an empty one is that of an index which pandas wrote."""
    return tuple(name.strip() for text in texts or [] for name in text.split(","))


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the flags that were given."""
    return {name: value for name, value in values.items() if value is not None}


def flag(name: str) -> str:
    """Write the name of an argument as the command line does."""
    return f"--{name.replace('_', '-')}"


def one_goal(goals: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the goal that was given; an error unless there is exactly one."""
    found = given(goals)
    if len(found) != 1:
        got = " and ".join(map(flag, found)) or "none"
        raise OptionError(f"give exactly one of {', '.join(map(flag, goals))}; got {got}.")
    return found


def search_settings(
    solver: str, time_limit: float | None, seed: int, num_workers: int, options: list[str] | None
) -> dict[str, Any]:
    """Put the arguments of a search together."""
    settings = {
        "solver": solver,
        "time_limit": time_limit,
        "seed": seed,
        "num_workers": num_workers,
    }
    return {**settings, **_solver_options(options)}


def _solver_options(texts: list[str] | None) -> dict[str, Any]:
    """Turn ``name=value`` texts into options; a value that is JSON is read as such."""
    options: dict[str, Any] = {}
    for text in texts or []:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise OptionError(f"--option must look like name=value, got {text!r}.")
        try:
            options[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            options[name.replace("-", "_")] = value
    return options


def numbers(name: str, text: str) -> tuple[int, ...]:
    """Read integers with commas between."""
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"{flag(name)} must be integers with commas between, got {text!r}."
        ) from error
