"""What docs/api.md and ``subsetsel.__all__`` name is documented in full, in numpydoc sections."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
DIRECTIVE = re.compile(
    r"^\.\. auto(function|class|module):: (\S+)\n(?:\s+:members: ([\w, ]+)$)?", re.M
)
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.M)


def resolve(name: str) -> Any:
    """Import what a dotted name stands for; one without a dot is a name of ``subsetsel``."""
    module, _, attribute = name.rpartition(".")
    found = getattr(import_module(module or "subsetsel"), attribute, None)
    return import_module(name) if found is None else found


def named() -> Iterator[tuple[str, Any]]:
    """Every public name with what it stands for, methods that the page lists among them."""
    for name in import_module("subsetsel").__all__:
        yield name, resolve(name)
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    for kind, name, members in DIRECTIVE.findall(text):
        thing = resolve(name)
        if kind == "module":
            public = getattr(thing, "__all__", vars(thing))
            yield from ((f"{name}.{each}", getattr(thing, each)) for each in public)
            continue
        yield name, thing
        for each in filter(None, re.split(r",\s*", members)):
            member = inspect.getattr_static(thing, each)
            yield f"{name}.{each}", getattr(member, "__func__", member)


# Not before a test runs: with torch and Lightning this takes seconds.
@cache
def functions() -> dict[str, Callable[..., Any]]:
    """Public functions and methods by name."""
    return {name: thing for name, thing in named() if inspect.isfunction(thing)}


def sections_of(thing: Any) -> dict[str, str]:
    """Title of each section of a docstring, with its text."""
    found = SECTION.split(inspect.getdoc(thing) or "")[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def described(thing: Any) -> set[str]:
    """Parameters of the section Parameters: the names on its lines that are not indented."""
    section = sections_of(thing).get("Parameters", "")
    lines = re.findall(r"^(\S[^:\n]*?)\s*(?::.*)?$", section, re.M)
    return {name.strip(" *") for line in lines for name in line.split(",")}


def referred(thing: Any) -> Iterator[Any]:
    """Public functions and classes that a docstring names in backticks."""
    others = set(re.findall(r"`([\w.]+)`", inspect.getdoc(thing) or ""))
    return (other for name, other in named() if others & {name, name.rpartition(".")[2]})


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters of a function, but ``self`` and ``cls``."""
    found = inspect.signature(function).parameters
    return {name: each for name, each in found.items() if name not in {"self", "cls"}}


def is_no_method(function: Callable[..., Any]) -> bool:
    """Whether a function is written at the top of its module."""
    return "." not in function.__qualname__


def test_parameters_that_are_described_are_there() -> None:
    """A parameter that was renamed is renamed in its docstring; open keywords may be anything."""
    stale = {
        name: described(function) - set(parameters_of(function))
        for name, function in functions().items()
        if all(each.kind is not each.VAR_KEYWORD for each in parameters_of(function).values())
    }
    assert {name: found for name, found in stale.items() if found} == {}


def test_parameters_of_a_public_function_are_described() -> None:
    """The section Parameters names each, or that of a function which the docstring refers to."""
    missing = {
        name: set(parameters_of(function)).difference(
            described(function), *map(described, referred(function))
        )
        for name, function in functions().items()
        if is_no_method(function)
    }
    assert {name: found for name, found in missing.items() if found} == {}


def test_what_a_public_function_returns_is_described() -> None:
    """There is a section Returns or Yields; a method, or one like another, may say it in a line."""
    missing = [
        name
        for name, function in functions().items()
        if inspect.signature(function).return_annotation not in {None, "None"}
        and not {"Returns", "Yields"} & set(sections_of(function))
        and (sections_of(function) or (is_no_method(function) and not any(referred(function))))
    ]
    assert missing == []


def test_what_a_public_class_holds_is_described() -> None:
    """There is a section Parameters or Attributes; an error is described by its sentence."""
    wrong = [
        name
        for name, thing in named()
        if inspect.isclass(thing)
        and not issubclass(thing, Exception)
        and thing.__module__.startswith("subsetsel.")
        and not {"Parameters", "Attributes"} & set(sections_of(thing))
    ]
    assert wrong == []
