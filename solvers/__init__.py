"""The back ends, one file each, installed as ``subsetsel.solvers``.

The core knows them only as strings in `subsetsel.engine.registry`; each is imported on first use.
"""

if __name__ != "subsetsel.solvers":  # pragma: no cover
    raise ImportError(
        f"this folder was imported as {__name__!r}; it is installed as 'subsetsel.solvers'. "
        "A second copy of its classes would not be recognised by the registry: "
        "import subsetsel.solvers instead."
    )
