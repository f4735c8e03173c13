"""What a manifest must hold before anything in it is believed."""

from __future__ import annotations

from os import PathLike
from typing import Any

from subsetsel.errors import FileFormatError

_REQUIRED: dict[str, type] = {
    "command": str,
    "settings": dict,
    "inputs": list,
    "solution": dict,
    "environment": dict,
    "kept": list,
    "pruned": list,
    "created": str,
}


def require_fields(path: str | PathLike[str], record: dict[str, Any]) -> None:
    """Refuse a record in which something that will be read is missing or of another type."""
    for name, kind in _REQUIRED.items():
        if not isinstance(record.get(name), kind):
            raise FileFormatError(f"{path}: field {name!r} is missing or no {kind.__name__}.")
    trace = record.get("trace", [])
    if not isinstance(trace, list) or not all(isinstance(point, dict) for point in trace):
        raise FileFormatError(f"{path}: trace must be a list of records.")
    if not all(_is_input(item) for item in record["inputs"]):
        raise FileFormatError(f"{path}: inputs must be records with a name, SHA-256 and path.")
    if not isinstance(record["environment"].get("versions", {}), dict):
        raise FileFormatError(f"{path}: the versions of the environment must be a record.")
    if not all(isinstance(i, (str, int, float)) for i in record["kept"] + record["pruned"]):
        raise FileFormatError(f"{path}: ids must be texts or numbers.")
    if not isinstance(record.get("has_ids"), (bool, type(None))):
        raise FileFormatError(f"{path}: has_ids must be true, false or null.")
    if not isinstance(record.get("subset_sha256"), (str, type(None))):
        raise FileFormatError(f"{path}: subset_sha256 must be a text or null.")
    if not isinstance(record.get("look"), (dict, type(None))):
        raise FileFormatError(f"{path}: look must be a record or null.")
    _require_agreement(path, record)


def _require_agreement(path: str | PathLike[str], record: dict[str, Any]) -> None:
    """Refuse a record whose parts speak of different subsets."""
    pruned, kept, solution = record["pruned"], record["kept"], record["solution"]
    if record.get("subset_sha256") is not None and not pruned and not kept:
        return
    both = set(pruned) & set(kept)
    if both:
        raise FileFormatError(
            f"{path} contradicts itself: it says of {len(both)} examples that they are kept and "
            f"pruned (such as {next(i for i in pruned if i in both)!r}). Prune again, or take the "
            "manifest that the run wrote."
        )
    if len({*pruned, *kept}) != len(pruned) + len(kept):
        raise FileFormatError(
            f"{path} names an example twice; give each an id of its own, and prune again."
        )
    said = {"size": len(pruned), "n": len(pruned) + len(kept)}
    for name, count in said.items():
        if solution.get(name, count) != count:
            raise FileFormatError(
                f"{path} contradicts itself: its solution says {name} = {solution[name]}, and it "
                f"names {count}. Prune again, or take the manifest that the run wrote."
            )


def _is_input(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and isinstance(item.get("name"), str)
        and all(isinstance(item.get(key, ""), str) for key in ("sha256", "path"))
    )
