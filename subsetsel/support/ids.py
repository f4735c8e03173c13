"""Names of examples: one for each, none twice, and found again in other data by the name alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subsetsel.errors import FileFormatError


def check_ids(what: str, ids: ArrayLike, n: int) -> None:
    """Demand one id for each of n examples, and each but once.

    ``what`` begins the message: the file or the argument that holds them.
    """
    names = np.asarray(ids)
    if names.shape != (n,):
        raise FileFormatError(
            f"{what}: ids must hold one id per example, shape ({n},), got {names.shape}; correct "
            "them, or leave them out."
        )
    if names.dtype.kind == "f" and not np.isfinite(names).all():
        bad = int(np.flatnonzero(~np.isfinite(names))[0])
        raise FileFormatError(
            f"{what}: the id of example {bad} is {names[bad]}, by which nothing is found again; "
            "give it an id, or leave all ids out."
        )
    values = names.tolist()
    if len(set(values)) == n:
        return
    name, count = Counter(values).most_common(1)[0]
    places = [i for i, value in enumerate(values) if value == name][:2]
    raise FileFormatError(
        f"{what}: the id {name!r} belongs to {count} examples ({places[0]} and {places[1]} first), "
        "and what is kept is told by ids; give each example an id of its own, or leave them out."
    )


def find_places(
    claim: str, names: Sequence[Any], data: str, ids: Sequence[Any]
) -> NDArray[np.int64]:
    """Find the place of each example of the data among the names of a claim.

    A table holds ids as text where an array holds numbers: two sides that differ in that are
    compared as text.

    Parameters
    ----------
    claim, data : str
        Begin the parts of the message: who names, and who is named.
    names, ids : sequence
        Ids of the claim, and of the data.

    Returns
    -------
    ndarray of shape (len(ids),), int64
        ``names[places[i]]`` is ``ids[i]``.

    Raises
    ------
    FileFormatError
        If the two do not name the same examples, each once.
    """
    theirs, ours = list(names), list(ids)
    for what, values in ((claim, theirs), (data, ours)):
        check_ids(what, _as_objects(values), len(values))
    if any(isinstance(a, str) for a in theirs) != any(isinstance(a, str) for a in ours):
        theirs, ours = list(map(str, theirs)), list(map(str, ours))
    known = {name: place for place, name in enumerate(theirs)}
    unknown = [name for name in ours if name not in known]
    missing = known.keys() - set(ours)
    if unknown or missing:
        first = next((name for name in theirs if name in missing), None)
        raise FileFormatError(
            f"the ids of {claim} and of {data} differ: {len(unknown)} of the data are not in "
            f"{claim}{_such_as(unknown[:1])}, and {len(missing)} of {claim} are not in the data"
            f"{_such_as([first] if missing else [])}. Give the data that were pruned, and name "
            "their column of ids with --id."
        )
    return np.array([known[name] for name in ours], dtype=np.int64)


def _as_objects(values: list[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _such_as(names: list[Any]) -> str:
    return f" (such as {names[0]!r})" if names else ""
