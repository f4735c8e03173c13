"""The option `--model`: pictures become features by a network of the user's, in one command.

The features are written beside the result, as examples like any others: what follows (search,
check, report, a repeated run) reads them and needs neither the pictures nor the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from subsetsel.cli.console import print_note, working
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.load_network import Prepare, load_network
from subsetsel.cli.stdin import STANDARD
from subsetsel.errors import (
    FileFormatError,
    OptionError,
    ProblemError,
    SubsetselError,
)
from subsetsel.support.files import written_whole

if TYPE_CHECKING:
    from subsetsel.experiments.labelled import Labelled

ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:FUNCTION",
        help="Turn pictures into features by this network: a function without arguments that gives "
        "a torch module, or one and the transform of a picture; or torchvision:NAME, timm:NAME. "
        "DATA is then a folder with a folder per class, a .csv of file names and labels, or a "
        "saved Hugging Face data set.",
    ),
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="SIDE|HEIGHTxWIDTH",
        help="Scale every picture to this size, where the function of --model gives no transform.",
    ),
]

_MAX_SIDE = 4096
_HOLDS_EXAMPLES = ("data", "test", "validation")


def write_features(
    inputs: Mapping[str, Path],
    model: str,
    *,
    beside: Path | None,
    label: str = "y",
    identity: str = "id",
    image_size: str | None = None,
    device: str = "auto",
) -> dict[str, Path]:
    """Run a network over all examples and write what its classifier is given.

    Parameters
    ----------
    inputs : mapping
        ``data``, and perhaps ``test`` and ``validation``: what `read_labelled` reads.
    model : str
        ``package.module:function``, ``torchvision:NAME`` or ``timm:NAME``.
    beside : Path or None
        The file of the result: for ``kept.npz`` the features of the data are written to
        ``kept.features.npz``, those of the test examples to ``kept.test-features.npz``.
    label, identity : str
        Columns of a list or of a data set.
    image_size : str, optional
        ``SIDE`` or ``HEIGHTxWIDTH``.
    device : str

    Returns
    -------
    dict
        ``.npz`` files with the arrays ``X``, ``y`` and, where examples have names, ``ids``, under
        the keys of ``inputs``.

    Raises
    ------
    OptionError
        For a model that cannot be made, a bad size, or no place for the features.
    FileFormatError
        For data that are no pictures with labels; the message names the picture.
    ProblemError
        If the network cannot take the pictures, or held-out examples have other labels.
    """
    places = _places(inputs, beside)
    size = None if image_size is None else parse_size(image_size)
    with quits_at_once():
        from subsetsel.experiments.labelled import read_labelled

        found = {}
        for name in places:
            with working(f"looking at {inputs[name]}"):
                found[name] = read_labelled(inputs[name], label=label, identity=identity)
                _tell_left_out(found[name])
        _check_labels(found)
        with working(f"making {model}"):
            network, transform = load_network(model)
        if transform is not None and size is not None:
            raise OptionError(
                f"--image-size {image_size} cannot go with --model {model}, which gives a "
                "transform that says the size itself; leave --image-size out."
            )
        for examples in found.values():
            with working(f"looking at {examples.path}"):
                _check_pictures(examples, model, size, has_transform=transform is not None)
        for name, examples in found.items():
            X = _features(network, examples, transform, size, model, device)
            _write(places[name], X, examples)
            print_note(f"wrote {places[name]}: {X.shape[1]} features of {len(X):,} examples")
    return places


def _places(inputs: Mapping[str, Path], beside: Path | None) -> dict[str, Path]:
    """Find where features are to be written; refuse, before any work, what cannot be."""
    if "data" not in inputs:
        raise OptionError("--model needs data: a folder with a folder of pictures per class.")
    if beside is None or beside == STANDARD:
        raise OptionError(
            "--model writes the features beside the result; name its file, such as --out kept.npz."
        )
    extra = [name for name in inputs if name not in _HOLDS_EXAMPLES]
    if extra:
        raise OptionError(
            f"--{extra[0]} cannot go with --model, which finds {extra[0]} beside the pictures; "
            "leave it out."
        )
    beside.parent.mkdir(parents=True, exist_ok=True)
    stem = beside.with_suffix("")
    kinds = {name: "features" if name == "data" else f"{name}-features" for name in inputs}
    return {name: stem.with_name(f"{stem.name}.{kind}.npz") for name, kind in kinds.items()}


def parse_size(text: str) -> tuple[int, int]:
    """Read ``SIDE`` or ``HEIGHTxWIDTH``, as (height, width)."""
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    sides = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
    if not all(1 <= side <= _MAX_SIDE for side in sides):
        raise OptionError(
            f"--image-size must be a side or HEIGHTxWIDTH from 1 to {_MAX_SIDE}, such as 224 or "
            f"224x192; got {text}."
        )
    return sides


def _tell_left_out(found: Labelled) -> None:
    if found.left_out:
        shown = ", ".join(str(path.relative_to(found.path)) for path in found.left_out[:3])
        more = ", ..." * (len(found.left_out) > 3)
        print_note(f"{found.path}: left out {len(found.left_out)} without a picture: {shown}{more}")


def _check_labels(found: Mapping[str, Labelled]) -> None:
    """Refuse held-out labels that the data do not have, before the network runs."""
    known = set(found["data"].labels)
    for name, examples in found.items():
        for row, kind in enumerate(examples.labels):
            if kind not in known:
                raise ProblemError(
                    f"--{name}: {examples.name(row)} has the label {kind!r}, which no example of "
                    f"{found['data'].path} has; leave such examples out."
                )


def _check_pictures(
    examples: Labelled, model: str, size: tuple[int, int] | None, *, has_transform: bool
) -> None:
    """Open every picture as far as its header, and refuse what the network could not take."""
    if not examples.is_pictures:
        if not has_transform:
            raise OptionError(
                f"{examples.path} has not one column of pictures, so what the network is given is "
                f"not known; the function of --model {model} must say it: return network, "
                "transform, where the transform takes a row as a dict."
            )
        return
    first = examples.size(0)
    for row in range(1, len(examples)):
        if examples.size(row) != first and not has_transform and size is None:
            (w, h), (v, g) = first, examples.size(row)
            raise FileFormatError(
                f"pictures differ in size: {examples.name(0)} is {w} x {h}, {examples.name(row)} "
                f"is {v} x {g}. Say to which size they are scaled, such as --image-size {h}x{w}, "
                f"or let the function of --model {model} return network, transform."
            )


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What the network is given, example by example; labels play no part in features."""

    examples: Labelled
    prepare: Prepare
    model: str

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        example = self.examples.open(row)
        try:
            return self.prepare(example), 0
        except Exception as error:
            raise ProblemError(
                f"the transform of --model {self.model} failed on {self.examples.name(row)}: "
                f"{type(error).__name__}: {error}."
            ) from error


def _plain(size: tuple[int, int] | None) -> Prepare:
    """Make (3, height, width) numbers from 0 to 1 of a picture, scaled if a size is given."""
    import torch

    def prepare(picture: Any) -> Any:
        if size is not None and picture.size != size[::-1]:
            # As torchvision scales: bilinear, with antialiasing.
            picture = picture.resize(size[::-1], resample=2)
        pixels = np.asarray(picture, dtype=np.float32) / 255
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))

    return prepare


def _features(
    network: Any,
    examples: Labelled,
    transform: Prepare | None,
    size: tuple[int, int] | None,
    model: str,
    device: str,
) -> Any:
    from subsetsel.influence.features.extract import features_from_model

    inputs = _Inputs(examples, _plain(size) if transform is None else transform, model)
    try:
        return features_from_model(network, inputs, device=device).X
    except (RuntimeError, TypeError, ValueError) as error:
        is_told = isinstance(error, SubsetselError)
        if is_told and not (transform is None and isinstance(error.__cause__, RuntimeError)):
            raise
        given = "what its transform gives"
        if transform is None:
            given = "a batch of shape (b, 3, height, width) with numbers from 0 to 1"
        raise ProblemError(
            f"the network of --model {model} cannot take {given}: {error}. Scale the pictures with "
            "--image-size, or return network, transform from the function."
        ) from error


def _write(path: Path, X: Any, examples: Labelled) -> None:
    arrays = {"X": X, "y": np.asarray(examples.labels)}
    if examples.ids is not None:
        arrays["ids"] = np.asarray(examples.ids)
    with written_whole(path) as part, part.open("wb") as stream:
        np.savez(stream, **arrays)
