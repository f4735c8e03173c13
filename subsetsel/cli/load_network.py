"""What `--model` names: a function of the user's, or a network of torchvision or timm."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from subsetsel.errors import MissingExtraError, OptionError, SubsetselError

Prepare = Callable[[Any], Any]


def load_network(name: str) -> tuple[Any, Prepare | None]:
    """Make the network that ``--model`` names, and the transform of an example if it has one."""
    module, colon, what = name.partition(":")
    if not (module and colon and what):
        raise OptionError(
            f"--model must be package.module:function, torchvision:NAME or timm:NAME; got {name}."
        )
    if module in {"torchvision", "timm"}:
        made = _from_library(module, what)
    else:
        function = _find(module, what, name)
        made = function if _is_network(function) else _call(name, function)
    network, transform = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not _is_network(network) or not (transform is None or callable(transform)):
        kinds = ", ".join(type(part).__name__ for part in made) if type(made) is tuple else ""
        raise OptionError(
            f"--model {name} gave a {type(made).__name__}{f' of {kinds}' if kinds else ''}; it "
            "must give a torch.nn.Module, or one and the transform of an example: "
            "return network, transform."
        )
    return network, transform


def _is_network(value: Any) -> bool:
    from torch import nn

    return isinstance(value, nn.Module)


def _find(module: str, what: str, name: str) -> Any:
    # As `python -m` does, and the script `subsetsel` does not.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in what.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise OptionError(f"--model {name}: {error}; name a function of {module}.") from error
    except Exception as error:
        raise OptionError(
            f"--model {name}: {module} cannot be imported: {type(error).__name__}: {error}. It is "
            f"looked for in {here} and among the packages that are installed."
        ) from error
    if not callable(found):
        raise OptionError(
            f"--model {name} is a {type(found).__name__} and no function; name one that gives the "
            "network, or the network itself."
        )
    return found


def _call(name: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Call what others wrote; what it raises becomes an error that says who raised it."""
    try:
        return function(*arguments, **named)
    except SubsetselError:
        raise
    except Exception as error:
        raise OptionError(
            f"--model {name} failed: {type(error).__name__}: {error}. It is called without "
            "arguments and must give the network."
        ) from error


def _from_library(library: str, what: str) -> tuple[Any, Prepare]:
    """Make a pretrained network of torchvision or timm, with the transform it was trained for."""
    name = f"{library}:{what}"
    try:
        if library == "timm":
            timm, data = (importlib.import_module(part) for part in ("timm", "timm.data"))
        else:
            models = importlib.import_module("torchvision.models")
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(
            f"--model {name} needs {library}, which cannot be imported ({error}); pip install "
            f"{library}, in the version for your torch, or name a function of your own, such as "
            "--model my_module:make."
        ) from error
    if library == "timm":
        network = _call(name, timm.create_model, what, pretrained=True)
        return network, data.create_transform(**data.resolve_model_data_config(network))
    weights = _call(name, models.get_model_weights, what).DEFAULT
    return _call(name, models.get_model, what, weights=weights), weights.transforms()
