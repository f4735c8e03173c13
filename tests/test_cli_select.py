"""`subsetsel select`: from pictures or features to the list of what a network is trained on."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import blobs, call, refused
from PIL import Image
from torch import nn

from subsetsel.experiments import training_data
from subsetsel.experiments.training import PictureTraining
from subsetsel.formats import read_solution
from subsetsel.report.manifest import Manifest

N, KEPT = 72, 12
# The fixed rules and as few confirmations as there may be: 23 trainings of some milliseconds.
SHORT = ("--network", "strided", "--iterations", 4, "--scorer-epochs", 2)
FEW = ("--num-kept", KEPT, "--trials", 8, "--confirmations", 3)


def stripes(num: int = N, side: int = 8) -> tuple[Any, Any]:
    """Grey pictures of three classes, told by where they are bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(num) % 3
    pixels = rng.integers(0, 120, (num, side, side), dtype=np.uint8)
    for row, label in enumerate(labels):
        pixels[row, 2 * label : 2 * label + 2] += 100
    return pixels, labels


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """The pictures as an array, with labels in words and names."""
    return write_npz(tmp_path / "stripes.npz")


def write_npz(path: Path) -> Path:
    """Write the pictures as an array."""
    pixels, labels = stripes()
    names = np.array([f"stripe-{i}" for i in range(N)])
    np.savez(path, X=pixels, y=np.array(["ant", "bee", "fox"])[labels], ids=names)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a selection that came to its end: its data, its study, its list."""
    root = tmp_path_factory.mktemp("finished")
    select(write_npz(root / "stripes.npz"), root / "kept.csv")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The pictures as files in a folder per class."""
    return write_folder(tmp_path / "pictures")


def write_folder(root: Path, side: int = 8) -> Path:
    """Write a folder per class."""
    pixels, labels = stripes(side=side)
    for row, label in enumerate(labels):
        path = root / ["ant", "bee", "fox"][label] / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[row]).save(path)
    return root


def select(data: Path, out: Path, *more: Any, expect: int = 0) -> Any:
    """Select with the short settings of these tests."""
    return call("select", data, "--out", out, *FEW, *SHORT, *more, expect=expect)


def names_in(path: Path) -> list[str]:
    """The list of what is kept."""
    return path.read_text().splitlines()


@pytest.fixture
def mine() -> Any:
    """A module of the user's with networks of several kinds."""

    def network(num_classes: int = 3, channels: int = 3) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(channels * 64, 6), nn.Dropout(), nn.Linear(6, num_classes)
        )

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, pictures: Any) -> Any:
            return types.SimpleNamespace(logits=self.inner(pictures))

    def smaller(picture: Any) -> torch.Tensor:
        return torch.from_numpy(np.asarray(picture.resize((8, 8)).convert("L"), np.float32)[None])

    def frozen() -> nn.Module:
        return network().requires_grad_(False)

    module: Any = types.ModuleType("mynet")
    module.make, module.grey = network, lambda: network(channels=1)
    module.wrapped, module.frozen = Wrapped, frozen
    module.narrow, module.wide = lambda: network(2), lambda: network(5)
    module.with_transform = lambda: (network(channels=1), smaller)
    module.uneven = lambda: (
        network(channels=1),
        lambda picture: smaller(picture)[:, : 8 - int(np.asarray(picture)[0, 0].max() % 2)],
    )
    module.flat = lambda: (network(channels=1), lambda picture: smaller(picture).flatten())
    module.failing = lambda: (network(), lambda picture: picture["text"])
    module.ready = network(channels=1)
    sys.modules["mynet"] = module
    yield module
    del sys.modules["mynet"]


# --- what comes out ------------------------------------------------------------------------------


def test_a_folder_of_pictures_becomes_a_list_of_file_names(folder: Path, tmp_path: Path) -> None:
    """With the subset, the manifest, the page with pictures, and the study beside it."""
    result = select(folder, tmp_path / "out" / "kept.csv")
    kept = names_in(tmp_path / "out" / "kept.txt")
    assert len(set(kept)) == KEPT
    assert all((folder / name).is_file() for name in kept)
    solution = read_solution(tmp_path / "out" / "kept.csv")
    assert (solution.n, len(solution.kept)) == (N, KEPT)
    manifest = Manifest.read(tmp_path / "out" / "kept.manifest.json")
    assert (manifest.command, manifest.kept) == ("select", kept)
    assert manifest.solution["solver"] == "select"
    page = (tmp_path / "out" / "kept.html").read_text()
    assert 'class="gallery pictures"' in page
    assert kept[0] in page
    assert (tmp_path / "out" / "kept.study.jsonl").exists()
    for name in ("kept.csv", "kept.txt", "kept.manifest.json", "kept.html"):
        assert f"wrote {tmp_path / 'out' / name}" in result.stdout


def test_the_cost_is_said_before_the_first_training(npz: Path, tmp_path: Path) -> None:
    """And every training has a line of its own on stderr."""
    lines = select(npz, tmp_path / "kept.npz").stderr.splitlines()
    cost = next(i for i, line in enumerate(lines) if line.startswith("estimated cost"))
    first = next(i for i, line in enumerate(lines) if line.startswith("[1/23]"))
    assert cost < first
    assert sum(line.startswith("[") for line in lines) == 23


def test_the_cost_counts_the_trials_that_a_search_has_by_default(npz: Path, tmp_path: Path) -> None:
    """As many as `select_for_training` makes where nothing is said."""
    run = ("select", npz, "--out", tmp_path / "kept.csv", "--num-kept", KEPT, *SHORT, "--dry-run")
    assert "48 trainings of 4 steps" in call(*run).stdout


def test_a_dry_run_says_the_cost_and_writes_nothing(npz: Path, tmp_path: Path) -> None:
    """For people and for machines."""
    out = tmp_path / "dry" / "kept.csv"
    assert "23 trainings of 4 steps" in select(npz, out, "--dry-run").stdout
    record = json.loads(select(npz, out, "--dry-run", "--json").stdout)
    assert record["seconds"] == pytest.approx(sum(record["items"].values()))
    assert list((tmp_path / "dry").iterdir()) == []


def test_json_has_the_solution_and_what_is_kept(npz: Path, tmp_path: Path) -> None:
    """One object on stdout, with the trials."""
    record = json.loads(select(npz, tmp_path / "kept.csv", "--json").stdout)
    assert len(record["kept"]) == KEPT
    assert len(record["solution"]["stats"]["trials"]) == 8


def test_the_table_goes_to_standard_output(npz: Path, tmp_path: Path) -> None:
    """Then nothing is written beside it, for there is no place."""
    before = set(tmp_path.iterdir())
    lines = select(npz, Path("-")).stdout.splitlines()
    assert lines[0] == "index,id,pruned"
    assert sum(line.endswith(",0") for line in lines) == KEPT
    assert set(tmp_path.iterdir()) == before


def test_report_shows_it_again_from_the_manifest(finished: Path, tmp_path: Path) -> None:
    """A page from the manifest alone; and `prune --from` says what it cannot repeat."""
    manifest = finished / "kept.manifest.json"
    call("report", manifest, "--out", tmp_path / "again.html")
    assert (tmp_path / "again.html").exists()
    assert "subsetsel select" in refused("prune", "--from", manifest)


# --- what goes in --------------------------------------------------------------------------------


def test_a_list_names_the_files(folder: Path, tmp_path: Path) -> None:
    """A table of file names and labels; what is kept of it can be written as it came."""
    rows = [f"{p.relative_to(tmp_path)},{p.parent.name}" for p in sorted(folder.rglob("*.png"))]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(["id,y", *rows]) + "\n")
    select(listed, tmp_path / "kept.csv", "--kept", tmp_path / "rows.csv")
    kept = names_in(tmp_path / "rows.csv")
    assert kept[0] == "id,y"
    assert len(kept) == KEPT + 1
    assert set(kept[1:]) <= set(rows)


def test_the_training_half_of_a_folder_is_taken(tmp_path: Path) -> None:
    """Beside a test half; the names are relative to it."""
    write_folder(tmp_path / "both" / "train")
    write_folder(tmp_path / "both" / "test")
    result = select(tmp_path / "both", tmp_path / "kept.csv")
    assert "the training half is chosen from, 72 pictures" in result.stderr
    assert all(
        (tmp_path / "both/train" / name).is_file() for name in names_in(tmp_path / "kept.txt")
    )


def test_idx_files_are_kept_by_number(tmp_path: Path) -> None:
    """The training half of MNIST's format."""
    pixels, labels = stripes()
    for half, num in (("train", N), ("t10k", 9)):
        head = struct.pack(">4B3I", 0, 0, 8, 3, num, 8, 8)
        (tmp_path / f"{half}-images-idx3-ubyte").write_bytes(head + pixels[:num].tobytes())
        head = struct.pack(">4BI", 0, 0, 8, 1, num)
        data = labels[:num].astype(np.uint8).tobytes()
        (tmp_path / f"{half}-labels-idx1-ubyte").write_bytes(head + data)
    select(tmp_path, tmp_path / "out" / "kept.csv")
    kept = [int(line) for line in names_in(tmp_path / "out" / "kept.txt")]
    assert len(kept) == KEPT
    assert max(kept) < N


def test_cifar_files_are_kept_by_number(tmp_path: Path) -> None:
    """The training half of CIFAR's binary version."""
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        records = rng.integers(0, 256, (14, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(14) % 3
        (tmp_path / name).write_bytes(records.tobytes())
    select(tmp_path, tmp_path / "out" / "kept.csv")
    assert len(names_in(tmp_path / "out" / "kept.txt")) == KEPT


def test_an_npz_with_a_training_half_is_pictures(tmp_path: Path) -> None:
    """What `compare` reads; the test half plays no part."""
    pixels, labels = stripes()
    np.savez(tmp_path / "both.npz", train=pixels, train_labels=labels, test=pixels[:3])
    select(tmp_path / "both.npz", tmp_path / "kept.csv")
    assert len(names_in(tmp_path / "kept.txt")) == KEPT


@pytest.mark.parametrize("form", ["npz", "csv", "parquet"])
def test_features_are_judged_by_exact_refits(form: str, tmp_path: Path) -> None:
    """The joint choice is among the trials, and the list names the examples."""
    import pandas as pd

    X, y = blobs(0, 90)
    path = tmp_path / f"blobs.{form}"
    if form == "npz":
        np.savez(path, X=X, y=y)
    else:
        frame = pd.DataFrame(X, columns=list("abcd")).assign(y=y)
        frame.to_csv(path, index=False) if form == "csv" else frame.to_parquet(path)
    out = tmp_path / "kept.csv"
    run = ("select", path, "--out", out, "--num-kept", 15, "--l2", 1e-2, "--confirmations", 3)
    told = call(*run).stderr
    assert "22 exact refits" in told, "the cost counts"
    assert "at most 22 trainings" in told, "what is done"
    assert len(names_in(tmp_path / "kept.txt")) == 15
    stats = Manifest.read(tmp_path / "kept.manifest.json").solution["stats"]
    assert stats["start"] == "trained"
    assert {"random", "joint", "joint in classes"} <= {one["rule"] for one in stats["trials"]}


def test_rows_are_written_as_they_came(tmp_path: Path) -> None:
    """With the delimiter that the table was read with, and a line break within a cell."""
    X, y = blobs(0, 60)
    rows = [f'{a};{b};"one\ntwo";{label}' for (a, b, *_), label in zip(X, y, strict=True)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["a;b;note;y", *rows]) + "\n")
    run = ("select", table, "--delimiter", ";", "--drop", "note", "--num-kept", 12, "--l2", 1e-2)
    more = ("--confirmations", 3, "--kept", tmp_path / "rows.csv")
    call(*run, *more, "--out", tmp_path / "kept.csv")
    kept = (tmp_path / "rows.csv").read_text()
    assert kept.startswith("a;b;note;y\n")
    assert sum(row in kept for row in rows) == kept.count("one\ntwo") == 12


def test_difficulty_can_be_measured_out_of_fold(npz: Path, tmp_path: Path) -> None:
    """Of pictures and of features alike; then there is no forgetting."""
    select(npz, tmp_path / "kept.csv", "--out-of-fold", 3)
    with np.load(tmp_path / "kept.study.difficulty.npz") as found:
        assert set(found.files) == {"about", "el2n"}
    X, y = blobs(0, 90)
    np.savez(tmp_path / "blobs.npz", X=X, y=y)
    more = ("--out-of-fold", 3, "--confirmations", 3, "--dry-run")
    call("select", tmp_path / "blobs.npz", "--out", "-", "--num-kept", 15, "--l2", 1e-2, *more)


# --- the user's own network ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grey", "wrapped", "with_transform", "ready", "wide"])
def test_a_network_of_the_users_is_trained(name: str, npz: Path, folder: Path, mine: Any) -> None:
    """A function, one with a transform, one whose outputs are wrapped, and a network itself."""
    before = {key: value.clone() for key, value in mine.ready.state_dict().items()}
    data = folder if name == "with_transform" else npz
    if name in {"wrapped", "wide"}:
        pixels, labels = stripes()
        np.savez(npz, X=np.stack([pixels] * 3, axis=3), y=labels)
    out = npz.parent / "kept.csv"
    run = ("select", data, "--out", out, *FEW, "--iterations", 4, "--scorer-epochs", 1)
    result = call(*run, "--model", f"mynet:{name}")
    assert len(names_in(npz.parent / "kept.txt")) == KEPT
    assert "does not follow the seed" not in result.stdout, "dropout is drawn by the seed"
    after = mine.ready.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before), "no training goes on"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("narrow", "gives 2 numbers for each picture, and there are 3 classes"),
        ("make", "cannot take pictures of 8 x 8 with 1 channel"),
        ("frozen", "no parameters that can be trained"),
        ("uneven", "let it scale all to one size"),
        ("flat", "must give a tensor of shape (channels, height, width)"),
        ("failing", "the transform of --model mynet:failing failed on"),
    ],
)
def test_a_network_that_cannot_be_trained_is_refused(
    name: str, told: str, folder: Path, mine: Any
) -> None:
    """By its name, before anything is trained."""
    if name in {"narrow", "frozen"}:
        for path in folder.rglob("*.png"):
            pixels = np.asarray(Image.open(path))
            Image.fromarray(np.stack([pixels, pixels // 2, pixels], axis=2)).save(path)
    out = folder.parent / "kept.csv"
    run = ("select", folder, "--out", out, *FEW, "--iterations", 4)
    assert told in refused(*run, "--model", f"mynet:{name}")


def test_a_transform_and_a_size_contradict_each_other(folder: Path, mine: Any) -> None:
    """One of the two says how large a picture is."""
    run = ("select", folder, "--out", folder.parent / "kept.csv", *FEW, "--iterations", 4)
    told = refused(*run, "--model", "mynet:with_transform", "--image-size", 8)
    assert "leave --image-size out" in told
    call(*run, "--model", "mynet:with_transform")


# --- what cannot be ------------------------------------------------------------------------------


def test_pictures_of_two_sizes_need_a_size(folder: Path, tmp_path: Path) -> None:
    """The message names both pictures and the flag, and the flag works."""
    pixels, _ = stripes(1, side=10)
    Image.fromarray(pixels[0]).save(folder / "fox" / "big.png")
    told = refused("select", folder, "--out", tmp_path / "kept.csv", *FEW, *SHORT)
    assert "fox/big.png is 10 x 10" in told
    select(folder, tmp_path / "kept.csv", "--image-size", "8x8")


def test_pictures_too_small_for_a_network_need_a_size(folder: Path, tmp_path: Path) -> None:
    """Of the default network, LeNet; scaled up they are taken."""
    run = ("select", folder, "--out", tmp_path / "kept.csv", *FEW, "--iterations", 2)
    told = refused(*run)
    assert "--network lenet cannot take pictures of 8 x 8 with 1 channel" in told
    call(*run, "--image-size", 28)


def test_pictures_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first is decoded."""
    monkeypatch.setattr("subsetsel.support.memory._known", lambda: iter([1 << 30]))
    run = ("select", folder, "--out", tmp_path / "kept.csv", *FEW, *SHORT)
    told = refused(*run, "--image-size", 2000)
    assert "72 pictures of 2000 x 2000 takes" in told
    assert "--image-size" in told
    call(*run, "--image-size", 8)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--l2", 1e-3), "leave out --l2"),
        (("--hessian", "kept"), "leave out --hessian"),
        (("--drop", "a"), "leave out --drop"),
        (("--out-of-fold", 1), "at least 2 folds"),
        (("--time-limit", 0), "must be positive"),
        (("--held-out", 0.9), "0 < held_out <= 0.5"),
        (("--confirmations", 2), "num_confirmations must be"),
        (("--trials", 0), "num_trials must be"),
        (("--num-kept", 70), "leaves no choice"),
        (("--fraction", 0.5), "exactly one of --num-kept, --fraction"),
        (("--warm-start", "nothing.jsonl"), "there is no such file"),
        (("--page", "page.txt"), "--page must name an .html file"),
        (("--network", "lenot"), "there is no network 'lenot'"),
        (("--model", "mynet:make"), "give --network or --model, not both"),
        (("--epochs", 3), "exactly one of epochs and iterations"),
        (("--image-size", "8x8"), "--image-size scales picture files"),
        (("--image-size", "big"), "--image-size must be a side"),
        (("--device", "tpu9"), "unknown or not there"),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_any_training(
    flags: tuple[Any, ...], told: str, npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, with nothing written."""
    monkeypatch.setattr("subsetsel.experiments.train._Training.run_epoch", None)
    before = set(tmp_path.iterdir())
    assert told in refused("select", npz, "--out", tmp_path / "kept.csv", *FEW, *SHORT, *flags)
    assert set(tmp_path.iterdir()) == before


def test_the_length_of_a_training_must_be_said(npz: Path, tmp_path: Path) -> None:
    """There is no length that is right for all."""
    run = ("select", npz, "--out", tmp_path / "kept.csv", *FEW, "--network", "strided")
    assert "give --epochs or --iterations" in refused(*run)
    call(*run, "--epochs", 1)


def test_flags_of_pictures_are_refused_for_features(tmp_path: Path) -> None:
    """And the weight decay of the head is needed."""
    X, y = blobs(0, 60)
    np.savez(tmp_path / "blobs.npz", X=X, y=y)
    run = ("select", tmp_path / "blobs.npz", "--out", tmp_path / "kept.csv", "--num-kept", 12)
    assert "leave out --network" in refused(*run, "--network", "lenet", "--l2", 1e-2)
    assert "--l2 is needed" in refused(*run)


@pytest.mark.parametrize("what", ["features", "pictures"])
def test_one_class_is_no_choice(what: str, tmp_path: Path) -> None:
    """The message names the class."""
    X = stripes()[0] if what == "pictures" else blobs(0, N)[0]
    np.savez(tmp_path / "one.npz", X=X, y=["ant"] * N)
    flags = SHORT if what == "pictures" else ("--l2", 1e-2)
    told = refused("select", tmp_path / "one.npz", "--out", tmp_path / "kept.csv", *FEW, *flags)
    assert "all examples are of the class ant" in told


@pytest.mark.parametrize("name", ["nothing", "nothing.npz", "nothing.csv", "nothing/*.parquet"])
def test_data_that_are_not_there_are_named(name: str, tmp_path: Path) -> None:
    """A folder, a file, or a glob that nothing matches."""
    told = refused("select", name, "--out", tmp_path / "kept.csv", *FEW, "--l2", 1e-2)
    assert "there is no file or folder" in told or "no file matches" in told
    assert name in told


def test_standard_input_is_refused(tmp_path: Path) -> None:
    """The same command could not go on from there."""
    told = refused("select", "-", "--out", tmp_path / "kept.csv", *FEW, "--l2", 1e-2)
    assert "name a file" in told


def test_optuna_is_asked_for_before_the_work(
    npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command that installs it."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    told = refused("select", npz, "--out", tmp_path / "kept.csv", *FEW, *SHORT)
    assert 'pip install "subsetsel[select]"' in told


# --- stopped and gone on -------------------------------------------------------------------------


def stopped_at(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C in the training of this number, counted from 1."""
    whole, count = PictureTraining.__call__, [0]

    def train(self: PictureTraining, *arguments: Any) -> float:
        count[0] += 1
        if count[0] == number:
            signal.raise_signal(signal.SIGINT)
        return whole(self, *arguments)

    monkeypatch.setattr(PictureTraining, "__call__", train)


@pytest.mark.parametrize("number", [2, 6, 13, 20])
def test_ctrl_c_keeps_the_best_so_far_and_the_same_command_goes_on(
    number: int, npz: Path, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the check of the seed, the search, the second trainings and the confirmation."""
    out = tmp_path / "kept.csv"
    with monkeypatch.context() as patch:
        stopped_at(number, patch)
        result = select(npz, out, expect=130)
    assert f"the same command goes on from {tmp_path / 'kept.study.jsonl'}" in result.stderr
    assert len(names_in(tmp_path / "kept.txt")) == KEPT
    assert not Manifest.read(tmp_path / "kept.manifest.json").solution["stats"]["is_confirmed"]
    again = select(npz, out).stderr
    assert again.count("[") == 23
    assert names_in(tmp_path / "kept.txt") == names_in(finished / "kept.txt")


def test_ctrl_c_in_the_first_training_writes_no_subset(
    npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none yet; an earlier result stays.

    Mutation: a subset written whatever it is: fails.
    """
    (tmp_path / "kept.txt").write_text("earlier\n")
    stopped_at(1, monkeypatch)
    result = select(npz, tmp_path / "kept.csv", expect=130)
    assert "nothing was tried" in result.stdout.lower()
    assert not (tmp_path / "kept.csv").exists()
    assert names_in(tmp_path / "kept.txt") == ["earlier"]


def test_a_killed_command_goes_on_as_if_it_were_not(
    npz: Path, tmp_path: Path, finished: Path
) -> None:
    """Killed in a training: what was done is on the disk, and the end is the same."""
    killer = (
        "import os, signal, sys\n"
        "from subsetsel.experiments.training import PictureTraining\n"
        "whole, count = PictureTraining.__call__, [0]\n"
        "def train(self, *arguments):\n"
        "    count[0] += 1\n"
        "    if count[0] == 7:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return whole(self, *arguments)\n"
        "PictureTraining.__call__ = train\n"
        "from subsetsel.cli.app import app\n"
        "app(sys.argv[1:])\n"
    )
    run = [*map(str, ("select", npz, "--out", tmp_path / "kept.csv", *FEW, *SHORT))]
    done = subprocess.run([sys.executable, "-c", killer, *run], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    result = select(npz, tmp_path / "kept.csv")
    assert result.stderr.count("(done before)") == 4
    assert names_in(tmp_path / "kept.txt") == names_in(finished / "kept.txt")


def test_a_finished_command_trains_nothing_again(
    npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to measure difficulty nor to judge."""
    select(npz, tmp_path / "kept.csv")
    before = names_in(tmp_path / "kept.txt")
    monkeypatch.setattr("subsetsel.experiments.train._Training.run_epoch", None)
    select(npz, tmp_path / "kept.csv")
    assert names_in(tmp_path / "kept.txt") == before


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--iterations", 5), "recipe"),
        (("--network", "convnet"), "network strided there, convnet here"),
        (("--scorer-epochs", 1), "scorer_recipe"),
        (("--seed", 1), "seed 0 there, 1 here"),
        (("--num-kept", 13), "num_kept 12 there, 13 here"),
        (("--held-out", 0.2), "held_out 0.1 there, 0.2 here"),
        (("--out-of-fold", 3), "num_folds 0 there, 3 here"),
    ],
)
def test_a_study_of_other_settings_is_refused(
    flags: tuple[Any, ...], told: str, finished: Path
) -> None:
    """The message says which; its cure is tried in the next test."""
    run = ("select", finished / "stripes.npz", "--out", finished / "kept.csv", *FEW, *SHORT)
    error = refused(*run, *flags)
    assert told in error
    assert "--warm-start" in error


def test_a_study_of_other_data_is_refused(npz: Path, tmp_path: Path) -> None:
    """One pixel is enough; and the cure that is named works."""
    select(npz, tmp_path / "kept.csv")
    arrays = dict(np.load(npz))
    arrays["X"][0, 0, 0] ^= 1
    np.savez(npz, **arrays)
    run = ("select", npz, "--out", tmp_path / "kept.csv", *FEW, *SHORT)
    assert "(pictures " in refused(*run)
    study = ("--study", tmp_path / "new.jsonl", "--warm-start", tmp_path / "kept.study.jsonl")
    result = call(*run, *study)
    assert "earlier" in result.stderr


def test_damaged_difficulties_are_told(npz: Path, tmp_path: Path) -> None:
    """And measured anew once they are deleted."""
    select(npz, tmp_path / "kept.csv")
    path = tmp_path / "kept.study.difficulty.npz"
    path.write_bytes(path.read_bytes()[:200])
    run = ("select", npz, "--out", tmp_path / "kept.csv", *FEW, *SHORT)
    assert "delete it" in refused(*run)
    path.unlink()
    call(*run)


def test_a_time_limit_ends_it_with_a_choice(npz: Path, tmp_path: Path) -> None:
    """Random at least, and a word about the limit."""
    result = select(npz, tmp_path / "kept.csv", "--time-limit", 1e-3)
    assert len(names_in(tmp_path / "kept.txt")) == KEPT
    assert "the same command goes on" in result.stderr


def test_a_folder_of_parquet_parts_holds_features(tmp_path: Path) -> None:
    """Not pictures; neither does a table whose ids are no files."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.parquet").write_bytes(b"")
    (tmp_path / "table.csv").write_text("id,y,a\nx,0,1.5\n")
    (tmp_path / "list.csv").write_text("id,y\nx.png,0\n")
    assert not training_data.holds_pictures(tmp_path / "parts")
    assert not training_data.holds_pictures(tmp_path / "table.csv")
    assert training_data.holds_pictures(tmp_path / "list.csv")
