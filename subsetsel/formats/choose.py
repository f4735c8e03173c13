"""Which column is what: from a table and the wishes of the user to labelled examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats.arrays import Arrays
from subsetsel.formats.data import Array, Data, Table, numbers_of
from subsetsel.formats.reading import Reading
from subsetsel.formats.text import MISSING, other_delimiter

# What pandas calls columns of its own making, the index of a frame among them.
_OF_PANDAS = re.compile(r"Unnamed: \d+|__index_level_\d+__|index|level_\d+")


def examples_of(table: Table, how: Reading, labels: Table | None) -> Data:
    """Read labelled examples; the labels from a table of their own where one is given."""
    identity = _identity(table, how)
    side_id = None if labels is None or identity is not None else _identity(labels, how)
    features, y_name = _columns(table, how, identity, has_ids=side_id is not None)
    X, y, ids = table.take(features, y_name, identity)
    source = table
    if labels is not None:
        _, y, more = labels.take((), label_of(labels, how), side_id)
        ids, source = (ids, labels) if ids is not None else (more, labels)
    assert X is not None
    assert y is not None
    if not X.size:
        raise FileFormatError(
            f"{table.path}: the features have shape {X.shape} and hold no number; name others with "
            "--features."
        )
    y = require_labels(source, y, how)
    weights = _weights([table] if labels is None else [table, labels], how.weight)
    names = None if isinstance(table, Arrays) else tuple(features)
    data = Data(X, y, ids, weights=weights, names=names)
    _check_lengths(table, source, data)
    _check_ids(
        table if identity is not None else source, ids, side_id if identity is None else identity
    )
    return data


@dataclass(frozen=True)
class Beside:
    """What is read of a table whose features lie in shards.

    Attributes
    ----------
    features : tuple of str
        Their columns.
    ids, weights : ndarray of shape (n,) or None
    """

    features: tuple[str, ...]
    ids: Array | None
    weights: Array | None


def beside_features(table: Table, how: Reading) -> Beside:
    """Choose the columns of features as `examples_of` does, and read ids and weights alone."""
    identity = _identity(table, how)
    features, _ = _columns(table, how, identity, has_ids=False)
    _, _, ids = table.take((), None, identity)
    _check_ids(table, ids, identity)
    return Beside(tuple(features), ids, _weights([table], how.weight))


def _columns(
    table: Table, how: Reading, identity: str | None, *, has_ids: bool
) -> tuple[list[str], str | None]:
    """Choose the columns of features and of labels; the latter are None in a file of their own."""
    if how.needs_ids and how.identity != "id" and identity is None and not has_ids:
        refuse_missing(table, how.identity, "Name the column of ids with --id.")
    y_name = None if how.labels is not None else how.label
    if y_name is not None and y_name not in table.names:
        refuse_missing(
            table,
            y_name,
            f"Name the labels' {table.kind} with --label, or another file that holds them with "
            "--labels.",
        )
    return _features(table, how, y_name, identity), y_name


def refuse_missing(table: Table, name: str, cure: str) -> None:
    """Refuse a file that lacks a column or an array."""
    known = [repr(n) if n != n.strip() or not n else n for n in table.names]
    more = ", ..." if len(known) > 8 else ""
    listed = (
        f"its {table.kind}s are {', '.join(known[:8])}{more}"
        if table.kind in {"column", "field"}
        else f"it holds {', '.join(known) or 'none'}"
    )
    if table.kind == "column":
        cure = other_delimiter(table.names) or cure
    raise FileFormatError(f"{table.path} has no {table.kind} {name!r}; {listed}. {cure}")


def matrix_columns(table: Table, drop: Sequence[str]) -> list[str]:
    """Name all columns but those to be left out and those of an index."""
    _refuse_repeated(table)
    _refuse_unknown(table, "--drop", drop)
    names = [name for name in table.names if name not in {*table.index, *drop}]
    _refuse_invented(table, names, "leave it out with --drop")
    if not names:
        raise FileFormatError(f"{table.path} has no {table.kind} of numbers.")
    return names


def _identity(table: Table, how: Reading) -> str | None:
    """Find the ids: a column of the name given, else the index of the frame that was written."""
    if how.identity == "id" and isinstance(table, Arrays) and "ids" in table.names:
        return "ids"
    if how.identity in table.names:
        return how.identity
    taken = {how.label, how.weight, *how.drop, *how.features}
    index = [name for name in table.index if name not in taken]
    return index[0] if len(index) == 1 and how.identity == "id" else None


def label_of(labels: Table, how: Reading) -> str:
    """Find the labels in a file of their own: by name, or because there is nothing else."""
    if how.label in labels.names:
        return how.label
    others = [n for n in labels.names if n not in {how.identity, how.weight, "ids", *labels.index}]
    if len(others) != 1:
        refuse_missing(labels, how.label, f"Name the labels' {labels.kind} with --label.")
    return others[0]


def _refuse_repeated(table: Table) -> None:
    """Refuse two columns of one name, and any but the first without one, which is an index."""
    for c, name in enumerate(table.names):
        if not name and c:
            raise FileFormatError(
                f"{table.path}: column {c + 1} has no name. Give it one, or take it away."
            )
        if name in table.names[:c]:
            raise FileFormatError(f"{table.path} has two columns named {name!r}; rename one.")


def _refuse_unknown(table: Table, flag: str, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.names:
            refuse_missing(table, name, f"{flag} must name {table.kind}s that are there.")


def _refuse_invented(table: Table, names: Sequence[str], cure: str) -> None:
    """Refuse names that pandas makes up, where nobody said that they are features."""
    for name in names:
        if _OF_PANDAS.fullmatch(name):
            raise FileFormatError(
                f"{table.path}: {table.kind} {name!r} looks like the index of a frame, written by "
                f"pandas; {cure}."
            )


def _features(table: Table, how: Reading, label: str | None, identity: str | None) -> list[str]:
    """Choose the features: those named, or all that are nothing else."""
    _refuse_repeated(table)
    _refuse_unknown(table, "--features", how.features)
    _refuse_unknown(table, "--drop", how.drop)
    others = {label, identity, how.weight, how.identity}
    if how.features:
        for name in how.features:
            if name in others or name in how.drop or how.features.count(name) > 1:
                raise OptionError(
                    f"--features names {name!r}, which is named as something else too (--label, "
                    "--id, --weight, --drop) or twice; name it once."
                )
        return list(how.features)
    rest = [n for n in table.names if n not in {*others, *how.drop, *table.index}]
    if isinstance(table, Arrays):
        return [_array_of_features(table, [n for n in rest if n not in table.texts])]
    _refuse_invented(
        table, rest, "leave it out with --drop, make it the ids with --id, or name the features"
    )
    if not rest:
        raise FileFormatError(
            f"{table.path} has no {table.kind} of features beside {label or 'the ids'!r}."
        )
    return rest


def _array_of_features(table: Arrays, names: Sequence[str]) -> str:
    if "X" in names:
        return "X"
    if len(names) != 1:
        refuse_missing(table, "X", f"Say which {table.kind} holds the features with --features.")
    return names[0]


def require_labels(table: Table, y: Array, how: Reading) -> Array:
    """Refuse labels that are none, and labels that only spaces tell apart; give them back."""
    if y.ndim and y.dtype.kind == "f" and np.isnan(y).any():
        bad = np.isnan(y.reshape(len(y), -1)).any(axis=1)
    elif y.dtype.kind == "U" and y.ndim == 1:
        classes = np.unique(y)
        words = [str(name).strip() for name in classes]
        if len(set(words)) < len(words):
            twice = next(word for word in words if words.count(word) > 1)
            raise FileFormatError(
                f"{table.path}: labels that are {twice!r} but for spaces around it are there in "
                "two ways; write them alike."
            )
        none = [
            name
            for name, word in zip(classes, words, strict=True)
            if not word or (not how.keep_na and word.lower() in MISSING)
        ]
        bad = np.isin(y, none)
    else:
        return y
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        text = y[row].item() if y.ndim == 1 else y[row].tolist()
        cure = "Fill it in, or leave the example out"
        if str(text).strip() and y.dtype.kind == "U":
            cure += f"; if {text} is the name of a class, say --keep-na"
        raise FileFormatError(f"{table.path}, {table.place(row)}: no label, but {text!r}. {cure}.")
    return y


def _weights(tables: Sequence[Table], name: str | None) -> Array | None:
    if name is None:
        return None
    table = next((one for one in tables if name in one.names), None)
    if table is None:
        refuse_missing(tables[0], name, "Name that of the weights with --weight.")
        raise AssertionError
    weights = numbers_of(table, [name])
    if weights.size != len(weights):
        raise FileFormatError(
            f"{table.path}: {table.kind} {name!r} must hold one weight per example, it has shape "
            f"{weights.shape}. Name another with --weight."
        )
    weights = weights.reshape(-1).astype(np.float64)
    bad = ~(np.isfinite(weights) & (weights > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise FileFormatError(
            f"{table.path}, {table.place(row)}: a weight must be positive and finite, and this "
            f"one is {weights[row]}. Leave examples that do not count out of the file."
        )
    return weights


def _check_lengths(table: Table, source: Table, data: Data) -> None:
    parts = {"labels": data.y, "ids": data.ids, "weights": data.weights}
    for what, array in parts.items():
        if array is not None and array.shape[:1] != data.X.shape[:1]:
            where = source.path if what == "labels" else table.path
            cure = " A table begins with a line of names." if source is not table else ""
            raise FileFormatError(
                f"{where}: the {what} have shape {array.shape}, and the features of {table.path} "
                f"{data.X.shape}; there must be one for each example.{cure}"
            )


def _check_ids(table: Table, ids: Array | None, name: str | None) -> None:
    """Refuse ids that are empty or stand twice: nobody could tell which example is meant."""
    if ids is None:
        return
    cure = (
        f"Name another {table.kind} with --id"
        + (f", or leave this one out with --drop {name!r}" if name in table.index else "")
        + ", or write each once."
    )
    if ids.ndim != 1:
        raise FileFormatError(
            f"{table.path}: the ids have shape {ids.shape}, not one dimension. {cure}"
        )
    # By NaN, an infinity or a date that is none nothing is found again.
    if ids.dtype.kind in "fcmM" and not np.isfinite(ids).all():
        row = int(np.flatnonzero(~np.isfinite(ids))[0])
        raise FileFormatError(f"{table.path}, {table.place(row)}: no id, but {ids[row]}. {cure}")
    found, first, counts = np.unique(ids, return_index=True, return_counts=True)
    if found.dtype.kind in "US" and found.size and not found[0]:
        raise FileFormatError(f"{table.path}, {table.place(int(first[0]))}: no id. {cure}")
    if found.size < ids.size:
        twice = found[int(np.argmax(counts > 1))]
        rows = np.flatnonzero(ids == twice)[:2]
        places = " and in ".join(table.place(int(row)) for row in rows)
        raise FileFormatError(
            f"{table.path}: the id {twice.item()!r} stands in {places}; ids must differ. {cure}"
        )
