"""What is run: which instances, by whom, how long and how often.

Only the standard library is imported here: the thread limits must be set before NumPy is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERYBODY = ("*",)
"""Every registered solver, the paper's annealing and every peer."""

_FAMILIES = ("gaussian", "heavytail1", "heavytail2", "powerlaw", "planted")


@dataclass(frozen=True)
class Group:
    """Instances (names or patterns) that share solvers, time limits in seconds and seeds."""

    instances: tuple[str, ...]
    time_limits: tuple[float, ...]
    num_seeds: int = 1
    solvers: tuple[str, ...] = EVERYBODY


@dataclass(frozen=True)
class Preset:
    """A named selection, and what it is for and costs on two cores."""

    about: str
    groups: tuple[Group, ...]


_STANDARD = (
    "digits/*",
    "digits-ridge/*",
    "fmnist-pca128/*",
    "fmnist-pca128-ridge/size=40%",
    *(f"{family}-20000x256/eps=20%" for family in _FAMILIES),
    *(f"{family}-20000x256/size=40%" for family in _FAMILIES),
)
_EVERY_SHAPE = tuple(f"{family}-20000x{d}/*" for d in (16, 256, 2048) for family in _FAMILIES)
# What takes part at n = 20,000 and more; the others are listed by "standard" with their limits.
_LARGE_SCALE = ("anneal", "anneal-plain", "greedy", "herding")

_SIZES = (5_000, 20_000, 80_000, 320_000)

PRESETS: dict[str, Preset] = {
    "smoke": Preset(
        "every solver on tiny instances, for CI: about a minute",
        (Group(("tiny-*", "gaussian-200x8/*", "planted-200x4/*"), (0.5,)),),
    ),
    "quick": Preset(
        "the default, a few minutes: digits and four synthetic families",
        (
            Group(("tiny-20x5/*",), (1.0,)),
            Group(
                (
                    "digits/eps=0.1",
                    "digits/eps=1.0",
                    "digits-ridge/size=40%",
                    "gaussian-20000x16/eps=20%",
                    "powerlaw-20000x256/eps=20%",
                    "heavytail1-20000x256/size=40%",
                ),
                (5.0,),
            ),
        ),
    ),
    "standard": Preset(
        "real data and every family, 3 seeds, 10 s: under an hour",
        (Group(_STANDARD, (10.0,), num_seeds=3),),
    ),
    "families": Preset(
        "every family at n = 20,000 and d = 16, 256, 2,048, 10 s: about an hour",
        (Group(_EVERY_SHAPE, (10.0,)),),
    ),
    "headline": Preset(
        "what the documentation promises at n = 60,000 and 1,280,000: about 20 minutes",
        (
            Group(("fmnist-pca128/eps=50%",), (15.0,), solvers=("anneal",)),
            Group(("fmnist-pca128/eps=20%",), (20.0,), solvers=("anneal",)),
            Group(("fmnist-pca128/eps=2%",), (40.0,), solvers=("anneal",)),
            Group(
                ("fmnist-pca128-ridge/size=40%",),
                (10.0, 60.0),
                solvers=("anneal", "anneal-plain"),
            ),
            Group(("fmnist-pca128-ridge/size=40%",), (300.0,), solvers=("anneal-plain",)),
            Group(("digits/*",), (5.0, 60.0), solvers=("anneal",)),
            Group(("mixed-1280000x256/*",), (90.0,), solvers=("anneal",)),
        ),
    ),
    "scaling": Preset(
        "how the default grows with n, from 5,000 to 1,280,000 rows: about 5 minutes",
        (
            Group(
                tuple(f"mixed-{n}x256/{goal}" for n in _SIZES for goal in ("eps=20%", "size=40%")),
                (10.0,),
                solvers=("anneal",),
            ),
            Group(
                ("mixed-1280000x256/eps=20%", "mixed-1280000x256/size=40%"),
                (60.0,),
                solvers=("anneal",),
            ),
        ),
    ),
    "full": Preset(
        "10 seeds, 10, 60 and 600 s: weeks of computing; meant to be cut with --instances",
        (
            Group((*_STANDARD, *_EVERY_SHAPE), (10.0, 60.0, 600.0), num_seeds=10),
            Group(("mixed-1280000x256/*",), (60.0, 600.0), num_seeds=3, solvers=_LARGE_SCALE),
        ),
    ),
}
"""name -> Preset."""
