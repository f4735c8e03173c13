"""What docs/api.md and ``subsetsel.__all__`` name is documented in full, in numpydoc sections."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import subsetsel

PAGE = Path(__file__).parents[1] / "docs" / "api.md"
DIRECTIVE = re.compile(
    r"^\.\. auto(function|class|module):: (\S+)\n(?:\s+:members: ([\w, ]+)$)?", re.M
)
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.M)


def resolve(name: str) -> Any:
    """Import what a dotted name stands for; one without a dot is a name of ``subsetsel``."""
    if "." not in name:
        return getattr(subsetsel, name)
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError:  # a module, not yet imported
        return importlib.import_module(name)


def documented() -> Iterator[tuple[str, Any]]:
    """Every public name with what it stands for, methods that the page lists among them."""
    for name in subsetsel.__all__:
        yield name, getattr(subsetsel, name)
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    for kind, name, members in DIRECTIVE.findall(text):
        thing = resolve(name)
        if kind == "module":
            yield from (
                (f"{name}.{each}", getattr(thing, each)) for each in getattr(thing, "__all__", ())
            )
            continue
        yield name, thing
        for each in filter(None, re.split(r",\s*", members)):
            yield f"{name}.{each}", inspect.getattr_static(thing, each)


def sections_of(thing: Any) -> dict[str, str]:
    """Title of each section of a docstring, with its text."""
    found = SECTION.split(inspect.getdoc(thing) or "")[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def names_in(section: str) -> set[str]:
    """Parameters that a section describes: the names on its lines that are not indented."""
    lines = re.findall(r"^(\S[^:\n]*?)\s*(?::.*)?$", section, re.M)
    return {name.strip(" *") for line in lines for name in line.split(",")}


CALLABLES = {
    name: thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
    for name, thing in documented()
    if callable(thing) or isinstance(thing, classmethod | staticmethod)
}
FUNCTIONS = {name: thing for name, thing in CALLABLES.items() if inspect.isfunction(thing)}
CLASSES = {
    name: thing
    for name, thing in CALLABLES.items()
    if inspect.isclass(thing) and not issubclass(thing, Exception)
}


def parameters_of(function: Callable[..., Any]) -> set[str]:
    """Names of the parameters of a function, but ``self`` and ``cls``."""
    return set(inspect.signature(function).parameters) - {"self", "cls"}


def is_no_method(function: Callable[..., Any]) -> bool:
    """Whether a function is written at the top of its module."""
    return "." not in function.__qualname__


def described_by(thing: Any) -> set[str]:
    """Parameters that a docstring describes, itself or through a name in backticks."""
    others = set(re.findall(r"`([\w.]+)`", inspect.getdoc(thing) or ""))
    things = [thing, *(other for name, other in CALLABLES.items() if others & name_ends(name))]
    return set().union(*(names_in(sections_of(each).get("Parameters", "")) for each in things))


def name_ends(name: str) -> set[str]:
    """A dotted name and its last part, as one docstring may refer to another."""
    return {name, name.rpartition(".")[2]}


def has_open_keywords(function: Callable[..., Any]) -> bool:
    """Whether a function takes keywords that its signature does not name."""
    parameters = inspect.signature(function).parameters.values()
    return any(each.kind is each.VAR_KEYWORD for each in parameters)


@pytest.mark.parametrize(
    "name", [n for n, each in FUNCTIONS.items() if not has_open_keywords(each)]
)
def test_parameters_that_are_described_are_there(name: str) -> None:
    """A parameter that was renamed is renamed in its docstring."""
    described = names_in(sections_of(FUNCTIONS[name]).get("Parameters", ""))
    assert described <= parameters_of(FUNCTIONS[name])


@pytest.mark.parametrize("name", [name for name, each in FUNCTIONS.items() if is_no_method(each)])
def test_parameters_of_a_public_function_are_described(name: str) -> None:
    """The section Parameters names each, or that of a function which the docstring refers to."""
    assert parameters_of(FUNCTIONS[name]) <= described_by(FUNCTIONS[name])


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_what_a_public_function_returns_is_described(function: Any) -> None:
    """There is a section Returns, or Yields, unless the function returns nothing."""
    returns = inspect.signature(function).return_annotation not in (None, "None")
    assert returns == bool({"Returns", "Yields"} & set(sections_of(function)))


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_what_a_public_class_holds_is_described(cls: Any) -> None:
    """There is a section Parameters or Attributes."""
    assert {"Parameters", "Attributes"} & set(sections_of(cls))
