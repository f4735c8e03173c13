"""Pictures as data of `prune`: a network turns them into features, and files are named as kept."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import QUICK, call, prune, refused
from PIL import Image
from torch import nn

from subsetsel.cli.load_network import load_network
from subsetsel.cli.with_model import parse_size, write_features
from subsetsel.errors import (
    FileFormatError,
    MissingExtraError,
    OptionError,
    ProblemError,
    SubsetselError,
)
from subsetsel.experiments.labelled import read_labelled

datasets = pytest.importorskip("datasets")

RNG = np.random.default_rng(0)


def network(side: int = 8, num_classes: int = 3) -> nn.Module:
    """One layer on the pixels, then the head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * side**2, 6), nn.Tanh(), nn.Linear(6, num_classes)
    )


def smaller(picture: Image.Image) -> torch.Tensor:
    """A transform: 8 x 8 pixels."""
    pixels = np.asarray(picture.resize((8, 8)), dtype=np.float32) / 255
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


@pytest.fixture(autouse=True)
def _made() -> Any:
    """A module of the user's, with functions of several kinds."""
    module: Any = types.ModuleType("mynet")
    module.make = network
    module.wide = lambda: network(num_classes=1000)
    module.with_transform = lambda: (network(), smaller)
    module.bad_transform = lambda: (network(), lambda picture: picture["text"])
    module.of_rows = lambda: (network(), lambda row: torch.tensor(row["pixels"]))
    module.ready = network()
    module.nothing = lambda: None
    module.needs = lambda size: network(size)
    module.number = 3
    sys.modules["mynet"] = module
    yield
    del sys.modules["mynet"]


def picture(path: Path, kind: int, shape: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    """Write a picture whose brightness tells its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 80, (*shape, 3)) + 60 * kind
    Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(path)


def folder(root: Path, num: int = 30, **how: Any) -> Path:
    """A folder per class."""
    for i in range(num):
        picture(root / ["ant", "bee", "fox"][i % 3] / f"{i:02d}.png", i % 3, **how)
    return root


def features(data: Path, tmp_path: Path, model: str = "mynet:make", **how: Any) -> Any:
    """The arrays written for the data."""
    made = write_features({"data": data}, model, beside=tmp_path / "kept.csv", **how)
    assert made == {"data": tmp_path / "kept.features.npz"}
    with np.load(made["data"]) as file:
        return dict(file)


def test_a_folder_of_pictures_becomes_features_with_names(tmp_path: Path) -> None:
    """What the head is given, class names as labels, and file names as ids."""
    found = features(folder(tmp_path / "pictures"), tmp_path)
    assert found["ids"][:2].tolist() == ["ant/00.png", "ant/03.png"]
    assert found["y"].tolist() == ["ant"] * 10 + ["bee"] * 10 + ["fox"] * 10
    pixels = np.asarray(Image.open(tmp_path / "pictures/ant/03.png"), dtype=np.float32) / 255
    body = network()[:3]  # type: ignore[index]
    expected = body(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]).detach().numpy()[0]
    np.testing.assert_allclose(found["X"][1], expected, rtol=1e-5)


def test_the_features_are_data_of_prune(tmp_path: Path) -> None:
    """The search, the check and the list of file names need no network any more."""
    data, test = folder(tmp_path / "pictures"), folder(tmp_path / "others", 6)
    out = tmp_path / "kept.csv"
    made = write_features({"data": data, "test": test}, "mynet:make", beside=out)
    assert made["test"] == tmp_path / "kept.test-features.npz"
    result = prune(made["data"], "--rel-epsilon", 0.2, "--test", made["test"], "--out", out)
    assert "verified" in result.stdout
    assert "ant/00.png" in out.read_text()


def test_a_head_of_more_classes_than_the_folder_has_serves(tmp_path: Path) -> None:
    """Of a network for 1,000 classes only the features count: the head is trained anew."""
    data = folder(tmp_path / "pictures")
    wide = features(data, tmp_path, "mynet:wide")
    assert wide["X"].shape == (30, 6)


def test_pictures_in_folders_within_a_class_count(tmp_path: Path) -> None:
    """Nested, behind a link, in capitals; a link to a folder above does not go on forever."""
    data = folder(tmp_path / "pictures", 6)
    picture(data / "ant" / "more" / "DEEP.PNG", 0)
    picture(tmp_path / "elsewhere" / "linked.jpg", 1)
    (data / "bee" / "link").symlink_to(tmp_path / "elsewhere")
    (data / "fox" / "loop").symlink_to(data / "fox")
    found = read_labelled(data)
    assert found.ids is not None
    assert {"ant/more/DEEP.PNG", "bee/link/linked.jpg"} <= set(found.ids)
    assert len(found) == 8


def test_what_is_left_out_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files that are no pictures, and classes without one; hidden files are nobody's business."""
    data = folder(tmp_path / "pictures", 6)
    (data / "ant" / "notes.txt").write_text("x")
    (data / "ant" / "._00.png").write_text("x")
    (data / "yak").mkdir()
    assert len(features(data, tmp_path)["y"]) == 6
    assert "left out 2 without a picture: ant/notes.txt, yak" in capsys.readouterr().err


@pytest.mark.parametrize("raw", [b"", b"no picture", None])
def test_a_picture_that_cannot_be_read_is_named(raw: bytes | None, tmp_path: Path) -> None:
    """Empty, something else, or cut short; taken out, as the message says, the rest is read."""
    data = folder(tmp_path / "pictures", 9, shape=(64, 64))
    bad = data / "bee" / "04.png"
    bad.write_bytes(bad.read_bytes()[:2000] if raw is None else raw)
    with pytest.raises(FileFormatError, match=r"bee/04\.png cannot be read as a picture.*take it"):
        features(data, tmp_path, image_size="8")
    bad.unlink()
    assert len(features(data, tmp_path, image_size="8")["y"]) == 8


def test_what_cannot_be_opened_is_found_before_the_network_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last picture of all is named before the first has become features."""
    data = folder(tmp_path / "pictures")
    (data / "fox" / "99.png").write_bytes(b"no picture")

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("the network ran")

    monkeypatch.setattr("subsetsel.influence.features.extract.features_from_model", run)
    with pytest.raises(FileFormatError, match=r"fox/99\.png cannot be read"):
        features(data, tmp_path)


def test_samples_of_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    """Pillow would clip them without a word; scaled, as the message says, they are read.

    Mutation: the check of the mode left out: fails.
    """
    data = folder(tmp_path / "pictures", 9)
    deep = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    Image.fromarray(deep).save(data / "ant" / "00.png")
    with pytest.raises(FileFormatError, match=r"ant/00\.png has samples of more than 8 bits"):
        features(data, tmp_path)
    Image.fromarray((deep >> 8).astype(np.uint8)).save(data / "ant" / "00.png")
    assert len(features(data, tmp_path)["y"]) == 9


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "LA"])
def test_pictures_of_all_modes_become_colour(mode: str, tmp_path: Path) -> None:
    """Grey, with a palette, with transparency, for print."""
    data = folder(tmp_path / "pictures", 6)
    ending = "tif" if mode == "CMYK" else "png"
    picture(data / "ant" / f"more.{ending}", 0, mode=mode)
    assert len(features(data, tmp_path)["y"]) == 7


def test_pictures_of_differing_sizes_need_a_size(tmp_path: Path) -> None:
    """Both are named; the option in the message cures it, and so does a transform."""
    data = folder(tmp_path / "pictures", 9)
    picture(data / "fox" / "99.png", 2, shape=(5, 7))
    with pytest.raises(
        FileFormatError, match=r"ant/00\.png is 8 x 8, .*fox/99\.png is 7 x 5"
    ) as no:
        features(data, tmp_path)
    size = str(no.value).partition("--image-size ")[2].partition(",")[0]
    assert size == "8x8"
    assert len(features(data, tmp_path, image_size=size)["X"]) == 10
    assert len(features(data, tmp_path, "mynet:with_transform")["X"]) == 10


def test_a_size_that_the_network_cannot_take_is_told_with_the_cure(tmp_path: Path) -> None:
    """All pictures are alike, but the network was made for others."""
    data = folder(tmp_path / "pictures", 9, shape=(10, 10))
    with pytest.raises(ProblemError, match=r"cannot take.*--image-size"):
        features(data, tmp_path)
    assert len(features(data, tmp_path, image_size="8")["X"]) == 9


def test_height_comes_first_in_a_size(tmp_path: Path) -> None:
    """As in the shape of an array; 0, words and giants are refused."""
    assert (parse_size("4x16"), parse_size("8")) == ((4, 16), (8, 8))
    for text in ("0", "8x0", "5000", "8*8", "-8", "8x8x3", "big"):
        with pytest.raises(OptionError, match="such as 224 or 224x192"):
            parse_size(text)


def test_a_size_beside_a_transform_is_refused(tmp_path: Path) -> None:
    """Two say the size; without the option it is the transform."""
    data = folder(tmp_path / "pictures", 9)
    with pytest.raises(OptionError, match="leave --image-size out"):
        features(data, tmp_path, "mynet:with_transform", image_size="8")
    features(data, tmp_path, "mynet:with_transform")


def test_a_transform_that_fails_says_on_which_picture(tmp_path: Path) -> None:
    """With the error that it raised."""
    data = folder(tmp_path / "pictures", 9)
    with pytest.raises(ProblemError, match=r"mynet:bad_transform failed on .*ant/00\.png: "):
        features(data, tmp_path, "mynet:bad_transform")


def test_halves_are_not_taken_for_classes(tmp_path: Path) -> None:
    """A folder of `train` and `test` would make two classes; the folders it names are read."""
    folder(tmp_path / "all" / "train", 9)
    folder(tmp_path / "all" / "test", 6)
    with pytest.raises(FileFormatError, match="halves of a data set") as no:
        read_labelled(tmp_path / "all")
    cure = str(no.value).partition("such as ")[2].partition(", and")[0]
    assert Path(cure) == tmp_path / "all" / "train"
    assert set(read_labelled(Path(cure)).labels) == {"ant", "bee", "fox"}


def test_pictures_without_a_class_are_refused(tmp_path: Path) -> None:
    """Loose in the folder, alone or beside classes; a list of them, as the cure says, is read."""
    picture(tmp_path / "flat" / "a.png", 0)
    picture(tmp_path / "flat" / "b.png", 1)
    with pytest.raises(FileFormatError, match=r"whose class is not known.*\.csv file"):
        read_labelled(tmp_path / "flat")
    (tmp_path / "flat" / "list.csv").write_text("id,y\nb.png,NA\na.png,1\n")
    found = read_labelled(tmp_path / "flat" / "list.csv")
    assert (found.ids, found.labels) == (["b.png", "a.png"], ["NA", "1"])
    assert found.open(0).size == (8, 8)
    folder(tmp_path / "flat", 3)
    with pytest.raises(FileFormatError, match="pictures beside folders"):
        read_labelled(tmp_path / "flat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,y\na.png,1\n", "no column 'id'; its columns are file, y.*--id"),
        ("id,y\na.png,\n", "example 1 has an empty 'y'"),
        ("id,y\n,1\n", "example 1 has an empty 'id'"),
        ("id,y\na.png,1\na.png,2\n", "names a.png twice, as examples 1 and 2"),
        ("id,y\nc.png,1\n", "there is no file"),
        ("id,y\n", "names no pictures"),
        ("", "cannot be read as a list"),
    ],
)
def test_a_list_that_is_wrong_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """With the line and the cure."""
    picture(tmp_path / "a.png", 0)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        read_labelled(tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("file,y\na.png,1\n")
    assert read_labelled(tmp_path / "list.csv", identity="file").ids == ["a.png"]


@pytest.mark.parametrize("name", ["line\nbreak.png", os.fsdecode(b"caf\xe9.png")])
def test_a_file_name_that_no_list_holds_is_refused_before_the_work(
    name: str, tmp_path: Path
) -> None:
    """It would be found when the list is written; renamed, it is read."""
    data = folder(tmp_path / "pictures", 3)
    picture(data / "ant" / "x.png", 0)
    (data / "ant" / "x.png").rename(data / "ant" / name)
    with pytest.raises(FileFormatError, match="cannot be written as a line of text; rename"):
        read_labelled(data)
    (data / "ant" / name).rename(data / "ant" / "Bild\u202fäöü.png")
    assert len(read_labelled(data)) == 4


def test_a_held_out_label_that_the_data_lack_is_found_before_the_work(tmp_path: Path) -> None:
    """The first picture with it is named; without it the features are written.

    Mutation: the check of labels before the network left out: fails.
    """
    data, test = folder(tmp_path / "pictures", 9), folder(tmp_path / "others", 6)
    picture(test / "yak" / "1.png", 0)
    how: dict[str, Any] = {"beside": tmp_path / "kept.npz"}
    with pytest.raises(ProblemError, match=r"--test: .*yak/1\.png has the label 'yak'"):
        write_features({"data": data, "test": test}, "mynet:make", **how)
    assert not list(tmp_path.glob("*.npz"))
    (test / "yak" / "1.png").unlink()
    write_features({"data": data, "test": test}, "mynet:make", **how)


@pytest.mark.parametrize("beside", [None, Path("-")])
def test_features_need_a_place(beside: Path | None, tmp_path: Path) -> None:
    """They lie beside the result, so there must be one."""
    with pytest.raises(OptionError, match=r"such as --out kept\.npz"):
        write_features({"data": folder(tmp_path / "p", 3)}, "mynet:make", beside=beside)


@pytest.mark.parametrize("name", ["kept", "my-data-set", "data-kept"])
def test_features_are_named_for_the_result(name: str, tmp_path: Path) -> None:
    """Whatever that is called: two results never share one file.

    Mutation: `data-` taken out of the whole name: fails for all but the first.
    """
    inputs = {"data": folder(tmp_path / "p", 6), "test": folder(tmp_path / "t", 3)}
    made = write_features(inputs, "mynet:make", beside=tmp_path / f"{name}.npz")
    assert {key: path.name for key, path in made.items()} == {
        "data": f"{name}.features.npz",
        "test": f"{name}.test-features.npz",
    }


@pytest.mark.parametrize(
    "flags",
    [
        ("--weight", "w"),
        ("--features", "u"),
        ("--drop", "u"),
        ("--delimiter", ";"),
        ("--decimal", ","),
        ("--encoding", "latin-1"),
    ],
    ids=lambda flags: flags[0],
)
def test_what_speaks_of_a_table_is_refused_before_the_network_runs(
    flags: tuple[str, str], tmp_path: Path
) -> None:
    """Pictures have no columns; without the flag the same command prunes them.

    Mutation: `_refuse_columns` left out: three flags fail after the work, three go unheard.
    """
    asked = ("prune", folder(tmp_path / "p"), "--model", "mynet:make", "--l2", 1e-2, *QUICK)
    out = ("--fraction", 0.3, "--out", tmp_path / "k.npz")
    assert f"{flags[0]} speaks of a table" in refused(*asked, *out, *flags)
    assert not list(tmp_path.glob("*.npz"))
    call(*asked, *out)


def test_a_class_may_be_called_none_in_a_folder(tmp_path: Path) -> None:
    """--keep-na speaks of labels, which pictures have."""
    data = folder(tmp_path / "p")
    (data / "ant").rename(data / "none")
    asked = ("prune", data, "--model", "mynet:make", "--l2", 1e-2, "--fraction", 0.3, *QUICK)
    call(*asked, "--keep-na", "--out", tmp_path / "k.npz")
    with np.load(tmp_path / "k.features.npz") as features:
        assert "none" in features["y"]


# --- Hugging Face data sets ----------------------------------------------------------------------


def saved(path: Path, **columns: Any) -> Path:
    """A data set on disk, with pictures and a ClassLabel."""
    pixels = [RNG.integers(0, 80, (8, 8, 3)) + 60 * (i % 3) for i in range(12)]
    kinds = datasets.Features(
        image=datasets.Image(), kind=datasets.ClassLabel(names=["ant", "bee", "fox"])
    )
    data: dict[str, Any] = {
        "image": [Image.fromarray(p.astype(np.uint8)) for p in pixels],
        "kind": [i % 3 for i in range(12)],
    }
    for name, (values, feature) in columns.items():
        data[name], kinds[name] = values, feature
    datasets.Dataset.from_dict(data, features=kinds).save_to_disk(path)
    return path


def test_a_saved_data_set_has_its_class_names(tmp_path: Path) -> None:
    """The only ClassLabel column is the label; without ids examples go by their number."""
    found = features(saved(tmp_path / "set"), tmp_path)
    assert found["y"].tolist() == ["ant", "bee", "fox"] * 4
    assert found["X"].shape == (12, 6)
    assert "ids" not in found


def test_a_saved_data_set_may_have_ids(tmp_path: Path) -> None:
    """From the column that --id names."""
    names = [f"row{i}" for i in range(12)]
    data = saved(tmp_path / "set", name=(names, datasets.Value("string")))
    assert features(data, tmp_path, identity="name")["ids"].tolist() == names


def test_two_columns_of_classes_are_not_guessed_between(tmp_path: Path) -> None:
    """Both are named; with --label one is taken."""
    other = ([i // 6 for i in range(12)], datasets.ClassLabel(names=["old", "new"]))
    data = saved(tmp_path / "set", age=other)
    with pytest.raises(FileFormatError, match="with --label, one of kind, age"):
        read_labelled(data)
    assert read_labelled(data, label="age").labels == ["old"] * 6 + ["new"] * 6


def test_examples_without_a_label_are_refused(tmp_path: Path) -> None:
    """-1 and null would be a class of their own; filtered as the message says, it is read.

    Mutation: the check for null and -1 left out: fails.
    """
    marks = ([-1, None, *[i % 2 for i in range(10)]], datasets.ClassLabel(names=["no", "yes"]))
    data = saved(tmp_path / "set", marked=marks)
    with pytest.raises(FileFormatError, match=r"2 of 12 examples have no label in 'marked'") as no:
        read_labelled(data, label="marked")
    code = str(no.value).partition("as in ")[2].rstrip(".")
    whole = datasets.load_from_disk(str(data))
    eval(code, {"data": whole}).save_to_disk(tmp_path / "filtered")
    assert len(read_labelled(tmp_path / "filtered", label="marked")) == 10


def test_a_set_of_data_sets_names_its_parts(tmp_path: Path) -> None:
    """The folder in the message is read."""
    whole = datasets.load_from_disk(str(saved(tmp_path / "one")))
    datasets.DatasetDict({"train": whole, "test": whole}).save_to_disk(tmp_path / "set")
    with pytest.raises(FileFormatError, match=r"several data sets \(train, test\)") as no:
        read_labelled(tmp_path / "set")
    cure = str(no.value).partition("such as ")[2].rstrip(".")
    assert len(read_labelled(Path(cure))) == 12


def test_a_damaged_picture_of_a_data_set_is_named_by_its_row(tmp_path: Path) -> None:
    """Bytes that are no picture, and a row without one."""
    bad = [{"bytes": b"no picture", "path": None}, None]
    kinds = datasets.Features(image=datasets.Image(), y=datasets.Value("int64"))
    for row, message in ((0, "row 0 cannot be read"), (1, "row 1 has no picture")):
        data = datasets.Dataset.from_dict({"image": bad, "y": [0, 1]}, features=kinds)
        data.save_to_disk(tmp_path / f"set{row}")
        with pytest.raises(FileFormatError, match=message):
            read_labelled(tmp_path / f"set{row}").open(row)


def test_rows_without_pictures_need_a_transform(tmp_path: Path) -> None:
    """A transform that takes the row, as the message says, makes features of it."""
    pixels = RNG.random((12, 192)).astype(np.float32).tolist()
    data = datasets.Dataset.from_dict({"pixels": pixels, "y": [i % 3 for i in range(12)]})
    data.save_to_disk(tmp_path / "set")
    with pytest.raises(OptionError, match="return network, transform"):
        features(tmp_path / "set", tmp_path)
    assert features(tmp_path / "set", tmp_path, "mynet:of_rows")["X"].shape == (12, 6)


def test_a_damaged_data_set_is_refused(tmp_path: Path) -> None:
    """An arrow file that was cut short, and a state that is no JSON."""
    data = saved(tmp_path / "set")
    arrow = next(data.glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:100])
    with pytest.raises(FileFormatError, match="is damaged"):
        read_labelled(data)
    (data / "state.json").write_text("{")
    with pytest.raises(FileFormatError, match="is damaged"):
        read_labelled(data)


# --- networks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mynet:make", "mynet:ready", "mynet:with_transform"])
def test_a_network_is_made_by_name(name: str) -> None:
    """By a function, as it lies there, or with a transform."""
    made, transform = load_network(name)
    assert isinstance(made, nn.Module)
    assert (transform is smaller) == (name == "mynet:with_transform")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mynet", "must be package.module:function"),
        ("mynet:", "must be package.module:function"),
        ("mynet:other", "has no attribute 'other'; name a function of mynet"),
        ("no_such_module:make", "cannot be imported: ModuleNotFoundError"),
        ("mynet:number", "is a int and no function"),
        ("mynet:nothing", "gave a NoneType; it must give a torch.nn.Module"),
        ("mynet:needs", "failed: TypeError.*called without arguments"),
    ],
)
def test_a_model_that_is_none_is_refused(name: str, message: str) -> None:
    """By what is wrong with it; a function of the kind that the message asks for is taken."""
    with pytest.raises(OptionError, match=message):
        load_network(name)
    assert isinstance(load_network("mynet:make")[0], nn.Module)


def test_a_module_in_the_current_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script `subsetsel` does not look there by itself; a fault within is told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    text = "from torch import nn\nmake = lambda: nn.Linear(2, 2)\n"
    (tmp_path / "net_of_this_folder.py").write_text(text)
    (tmp_path / "net_with_a_fault.py").write_text("1 / 0\n")
    assert isinstance(load_network("net_of_this_folder:make")[0], nn.Linear)
    with pytest.raises(OptionError, match="cannot be imported: ZeroDivisionError"):
        load_network("net_with_a_fault:make")


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_a_library_that_is_missing_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the package, and the other way, which works without it."""
    monkeypatch.setitem(sys.modules, name.partition(":")[0], None)
    with pytest.raises(MissingExtraError, match=r"pip install .*function of your own"):
        load_network(name)
    load_network("mynet:make")


def test_networks_of_torchvision_and_timm_come_with_their_transforms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the functions these libraries have for it; what they raise is told."""

    class Weights:
        DEFAULT = types.SimpleNamespace(transforms=lambda: smaller)

    def get_model(name: str, weights: Any) -> nn.Module:
        assert (name, weights) == ("small", Weights.DEFAULT)
        return network()

    def get_model_weights(name: str) -> Any:
        if name != "small":
            raise ValueError(f"Unknown model {name}")
        return Weights

    def create_model(name: str, pretrained: bool) -> nn.Module:
        assert pretrained
        return get_model(name, Weights.DEFAULT)

    def create_transform(input_size: int) -> Callable[[Any], Any]:
        assert input_size == 8
        return smaller

    vision, models, timm, data = (types.ModuleType(name) for name in ("torchvision", "m", "t", "d"))
    vars(models).update(get_model=get_model, get_model_weights=get_model_weights)
    vars(timm).update(create_model=create_model, data=data)
    vars(data).update(
        create_transform=create_transform, resolve_model_data_config=lambda _: {"input_size": 8}
    )
    for name, module in (
        ("torchvision", vision),
        ("torchvision.models", models),
        ("timm", timm),
        ("timm.data", data),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("torchvision:small", "timm:small"):
        made, transform = load_network(name)
        assert isinstance(made, nn.Module)
        assert transform is smaller
    with pytest.raises(OptionError, match="Unknown model large"):
        load_network("torchvision:large")


def test_pillow_is_asked_for_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the extra that brings it, before the network is made."""
    data = folder(tmp_path / "pictures", 3)
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r'pip install "subsetsel\[pictures\]"'):
        features(data, tmp_path, "no_such_module:make")


def test_what_is_no_pictures_is_told_what_would_be(tmp_path: Path) -> None:
    """A file of features, an empty folder, nothing at all."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "x.npz", tmp_path / "empty", Path("-")):
        with pytest.raises(SubsetselError, match=r"no folder of pictures|holds no pictures"):
            read_labelled(path)


def test_one_command_lists_the_kept_files(tmp_path: Path) -> None:
    """From a folder to file names; repeated from the manifest, without the network."""
    data, out, kept = folder(tmp_path / "pictures"), tmp_path / "p.npz", tmp_path / "kept.txt"
    goal = ("--rel-epsilon", 0.2)
    prune(data, "--model", "mynet:make", *goal, "--out", out, "--kept", kept)
    names = kept.read_text().split()
    assert 0 < len(names) < 30
    assert all((data / name).is_file() for name in names)
    again = call("prune", "--from", tmp_path / "p.manifest.json")
    assert "the same subset" in again.stderr


def test_a_size_without_a_network_is_refused(tmp_path: Path) -> None:
    """It would be passed over without a word."""
    l2 = ("--l2", 1, "--size", 1)
    assert "goes with --model" in refused("prune", tmp_path / "x.npz", *l2, "--image-size", "8")


def test_a_folder_of_pictures_without_a_network_is_told_the_flag(tmp_path: Path) -> None:
    """A folder is read as parquet files otherwise; with the flag the command works."""
    data, out = folder(tmp_path / "pictures"), tmp_path / "p.npz"
    assert "name your network: --model" in refused("prune", data, "--l2", 1, "--size", 1)
    prune(data, "--model", "mynet:make", "--size", 10, "--out", out)
    assert out.exists()
