"""Labelled pictures as they lie on disk, opened one by one: what a network is given to look at.

A folder with a folder per class, a list of files with labels, or a Hugging Face data set that was
saved to disk. The pictures are not held in memory, and may differ in size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from subsetsel.errors import FileFormatError
from subsetsel.experiments.folders import SUFFIXES, import_pillow, open_picture, walk
from subsetsel.support.optional import import_extra

_HALVES = frozenset({"train", "val", "valid", "validation", "test", "dev"})
_MAX_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Labelled:
    """Examples with labels, of which each is opened when it is asked for.

    Attributes
    ----------
    path : Path
    labels : list
        Names of classes, or what the label column holds.
    ids : list or None
        Relative file names, or what the id column holds.
    is_pictures : bool
        Whether an example is a picture; else it is a row of the data set, a mapping.
    left_out : list of Path
        Files in the folder that are no pictures, and folders without one.
    """

    path: Path
    labels: list[Any]
    ids: list[Any] | None
    is_pictures: bool
    left_out: list[Path]
    _source: Callable[[int], Any]

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, row: int) -> str:
        """Say which example, for messages."""
        return f"{self.path}: row {row}" if self.ids is None else f"{self.path}: {self.ids[row]}"

    def open(self, row: int) -> Any:
        """Give a picture of Pillow in RGB, decoded, or the row; a FileFormatError names it."""
        source = self._source(row)
        return open_picture(source, self.name(row)) if self.is_pictures else source

    def size(self, row: int) -> tuple[int, int]:
        """(width, height) of a picture by its header; raises as `open` does."""
        width, height = open_picture(self._source(row), self.name(row), is_decoded=False).size
        return width, height


def read_labelled(path: Path, *, label: str = "y", identity: str = "id") -> Labelled:
    """Find the examples of a folder of pictures, a list of files or a saved data set.

    Parameters
    ----------
    path : Path
        A folder with a folder of pictures per class, as torchvision's ImageFolder; a ``.csv`` or
        ``.tsv`` file whose columns ``identity`` and ``label`` hold file names, relative to it, and
        labels; or a folder that ``datasets.Dataset.save_to_disk`` wrote.
    label, identity : str
        Columns of a list or of a data set. Of a data set without a column ``y``, the only column
        of the kind ClassLabel is taken.

    Raises
    ------
    FileFormatError
        If it is none of these, or it is not clear which label an example has.
    MissingExtraError
        If Pillow, or the package datasets, is needed and not installed.
    """
    if path.is_dir():
        if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
            return _of_data_set(path, label, identity)
        found = _of_folder(path)
    elif path.suffix.lower() in {".csv", ".tsv"} and path.exists():
        found = _of_list(path, label, identity)
    else:
        raise FileFormatError(
            f"{path} is no folder of pictures (one folder per class), no folder of a saved Hugging "
            "Face data set, and no .csv or .tsv file with file names and labels; a network needs "
            "one of these."
        )
    import_pillow()
    _require_names(found)
    return found


def _of_folder(folder: Path) -> Labelled:
    inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    classes = [path for path in inside if path.is_dir()]
    loose = [path for path in inside if path not in classes]
    if any(path.suffix.lower() in SUFFIXES for path in loose):
        also = " beside folders" if classes else ""
        raise FileFormatError(
            f"{folder} holds pictures{also}, such as {loose[0].name}, whose class is not known. "
            "Put them into a folder per class, or name a .csv file with the columns id (file "
            "names) and y (labels) in place of the folder."
        )
    if len(classes) > 1 and {path.name.lower() for path in classes} <= _HALVES:
        first, *others = classes
        raise FileFormatError(
            f"the folders of {folder} are halves of a data set and no classes "
            f"({', '.join(path.name for path in classes)}). Name one of them as the data, such as "
            f"{others[0] if 'train' in others[0].name.lower() else first}, and another by --test."
        )
    labels, ids, left_out = [], [], loose
    for kind in classes:
        files = walk(kind)
        pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
        left_out += [path for path in files if path not in set(pictures)]
        if not pictures:
            left_out.append(kind)
        labels += [kind.name] * len(pictures)
        ids += [path.relative_to(folder).as_posix() for path in pictures]
    if not labels:
        raise FileFormatError(
            f"{folder} holds no pictures in folders named for classes; pictures are files that "
            f"end in {', '.join(sorted(SUFFIXES))}."
        )
    return Labelled(folder, labels, ids, True, left_out, lambda row: folder / ids[row])


def _of_list(path: Path, label: str, identity: str) -> Labelled:
    import pandas as pd

    mark = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        # As text, and no text means "missing": NA may be a class.
        frame = pd.read_csv(path, sep=mark, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise FileFormatError(f"{path} cannot be read as a list: {error}.") from error
    for name in (identity, label):
        if name not in frame.columns:
            raise FileFormatError(
                f"{path} has no column {name!r}; its columns are "
                f"{', '.join(map(str, frame.columns))}. Name those of the file names and of the "
                "labels with --id and --label."
            )
    ids, labels = frame[identity].tolist(), frame[label].tolist()
    first: dict[str, int] = {}
    for row, (name, kind) in enumerate(zip(ids, labels, strict=True)):
        if not name or not kind.strip():
            what = identity if not name else label
            raise FileFormatError(f"{path}: example {row + 1} has an empty {what!r}; fill it in.")
        if first.setdefault(name, row) != row:
            raise FileFormatError(
                f"{path} names {name} twice, as examples {first[name] + 1} and {row + 1}; leave "
                "one of them."
            )
        if not (path.parent / name).is_file():
            raise FileFormatError(
                f"{path} names {name}, and there is no file {path.parent / name}; file names are "
                "relative to the list."
            )
    if not ids:
        raise FileFormatError(f"{path} names no pictures.")
    return Labelled(path, labels, ids, True, [], lambda row: path.parent / ids[row])


def _of_data_set(folder: Path, label: str, identity: str) -> Labelled:
    datasets = import_extra("datasets", "datasets", "Hugging Face data sets")
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise FileFormatError(f"{folder} is no saved data set, or is damaged: {error}.") from error
    if isinstance(found, datasets.DatasetDict):
        names = ", ".join(found)
        raise FileFormatError(
            f"{folder} holds several data sets ({names}); name one of them, such as "
            f"{folder / next(iter(found))}."
        )
    features = found.features
    column = _label_column(folder, features, label, datasets.ClassLabel)
    labels = _named(folder, column, features[column], found[column][:])
    pictures = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    ids = found[identity][:] if identity in features else None
    if len(pictures) != 1:
        return Labelled(folder, labels, ids, False, [], found.__getitem__)
    import_pillow()
    raw = found.cast_column(pictures[0], datasets.Image(decode=False)).select_columns(pictures)

    def source(row: int) -> Any:
        item = raw[row][pictures[0]]
        if item is None:
            raise FileFormatError(f"{folder}: row {row} has no picture; filter such rows out.")
        return item["path"] if item["bytes"] is None else BytesIO(item["bytes"])

    return Labelled(folder, labels, ids, True, [], source)


def _label_column(folder: Path, features: Any, label: str, kind: Any) -> str:
    if label in features:
        return label
    named: list[str] = [name for name, feature in features.items() if isinstance(feature, kind)]
    if label == "y" and len(named) == 1:
        return named[0]
    raise FileFormatError(
        f"{folder} has no column {label!r}; name that of the labels with --label, one of "
        f"{', '.join(named or features)}."
    )


def _named(folder: Path, column: str, kind: Any, values: list[Any]) -> list[Any]:
    """Give classes by their names, and refuse examples without one."""
    names = getattr(kind, "names", None)
    missing = [row for row, v in enumerate(values) if v is None or (names is not None and v < 0)]
    if missing:
        shown = ", ".join(map(str, missing[:_MAX_SHOWN])) + ", ..." * (len(missing) > _MAX_SHOWN)
        raise FileFormatError(
            f"{folder}: {len(missing)} of {len(values)} examples have no label in {column!r} (rows "
            f"{shown}); filter them out, as in data.filter(lambda row: row[{column!r}] not in "
            "(None, -1))."
        )
    if names is not None:
        return [names[value] for value in values]
    if not all(isinstance(value, str | int) for value in values):
        raise FileFormatError(
            f"{folder}: the column {column!r} holds {kind}; labels are texts, integers or of the "
            "kind ClassLabel. Name another column with --label."
        )
    return values


def _require_names(found: Labelled) -> None:
    """Refuse file names that no list could hold, before the work rather than after it."""
    for name in found.ids or []:
        # A name that is no UTF-8 on disk has surrogates, which no file of text holds.
        if len(name.splitlines()) != 1 or (not name.isascii() and _has_surrogates(name)):
            raise FileFormatError(
                f"{found.path}: the file name {name!r} cannot be written as a line of text; rename "
                "the file."
            )


def _has_surrogates(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)
