"""Two lists of instances made by a rule: one to tune solvers on, one that no tuning has seen.

`TRAINING` is fixed. Constants of a solver may be chosen on it. Its seeds are from 100 on.

`draw` makes the TEST instances of one report from a seed that is new each time, so nothing can be
tuned on them. The rule, for `count` instances:

- A quarter are trained heads, in turn of the sources of `data.SOURCES`, every second one with the
  ridge in S. The others are synthetic, in turn of all families but "tiny".
- Each family meets both forms (Eq. 3, Eq. 4) at three places of the range, the low end, the middle
  and the high end, in turn. `PLACES` has the ranges: shares of ||S^T 1|| for Eq. 3, of n for Eq. 4.
  Every fourth instance of Eq. 3 has normalization kept. With the ridge in S all rows sum to
  zero: there Eq. 3 always has normalization kept, and epsilon is a share of the norm of random
  halves.
- d is log-uniform in 16 to 2,048, n in 2,000 to 320,000 with n d at most 8e7; both by Latin
  hypercube, so that every part of the range is covered. d of a head starts where its source still
  has columns enough, and ends where they are all used; its n ends with the rows of its source.
- The seed of each matrix, at least a million, is drawn too.

No instance is listed by hand, and none is taken out afterwards: what a seed draws is reported.

``python bench/drawn.py training`` and ``python bench/drawn.py test:SEED:COUNT`` print them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
from data import SOURCES
from families import FAMILIES
from instances import select

TRAINING: tuple[str, ...] = (
    "gaussian-5000x64-s100/size=99%",
    "gaussian-20000x256-s101/eps=5%",
    "gaussian-10000x2048-s102/size=30%",
    "gaussian-100000x16-s103/eps=40%",
    "heavytail1-20000x2048-s104/eps=1%",
    "heavytail1-40000x128-s105/size=0.5%",
    "heavytail1-20000x256-s106/size=50%",
    "heavytail1-3000x32-s107/eps=20%",
    "heavytail2-20000x2048-s108/size=40%",
    "heavytail2-20000x256-s109/eps=20%",
    "heavytail2-50000x16-s110/size=95%",
    "heavytail2-8000x512-s111/eps=3%,kept",
    "powerlaw-20000x256-s112/eps=2%",
    "powerlaw-60000x64-s113/size=10%",
    "powerlaw-4000x1024-s114/eps=50%",
    "powerlaw-20000x16-s115/size=3%",
    "planted-20000x128-s116/eps=10%",
    "planted-5000x512-s117/size=70%",
    "planted-2000x32-s118/size=20%",
    "mixed-100000x256-s119/eps=20%",
    "mixed-20000x64-s120/size=40%",
    "mixed-2000x1024-s121/eps=60%",
    "mixed-80000x512-s122/size=1%",
    "fmnist-pca128/eps=20%",
    "fmnist-pca128/eps=2%",
    "fmnist-pca128-ridge/size=40%",
    "digits/eps=1.0",
    "digits-ridge/size=40%",
)
"""What solvers may be tuned on."""

FORMS = ("eps", "size")
PLACES: dict[str, dict[str, tuple[float, float]]] = {
    "eps": {"low": (1.0, 4.0), "middle": (4.0, 25.0), "high": (25.0, 60.0)},
    "size": {"low": (0.5, 5.0), "middle": (5.0, 90.0), "high": (90.0, 99.0)},
}
"""form -> place -> range in percent, of ||S^T 1|| or of n."""

MIN_D, MAX_D = 16, 2_048
MIN_N, MAX_N = 2_000, 320_000
# Float32 rows of 320 MB: half a dozen copies fit a machine of a few GiB.
MAX_ENTRIES = 80_000_000
MIN_SEED = 1_000_000
_HEAD_SHARE = 0.25
_EVERY_KEPT = 4
DRAWN_FAMILIES = tuple(family for family in FAMILIES if family != "tiny")


def draw(seed: int, count: int) -> list[str]:
    """Draw the names of test instances by the rule at the top of this file.

    Parameters
    ----------
    seed : int
        New for each report.
    count : int
        With 48 and more every family meets every form at every place.

    Returns
    -------
    list of str
        Different names, none of them in `TRAINING`.
    """
    rng = np.random.default_rng(seed)
    num_heads = round(_HEAD_SHARE * count)
    names = _draw_group(rng, DRAWN_FAMILIES, count - num_heads)
    names += _draw_group(rng, tuple(SOURCES), num_heads)
    return [names[i] for i in rng.permutation(len(names))]


def _draw_group(rng: np.random.Generator, kinds: tuple[str, ...], count: int) -> list[str]:
    """Go round the kinds and the goals at once, so that every kind meets every goal."""
    cells = [(form, place) for form in FORMS for place in PLACES[form]]
    kinds = tuple(kinds[i] for i in rng.permutation(len(kinds)))
    cells = [cells[i] for i in rng.permutation(len(cells))]
    round_length = math.lcm(len(kinds), len(cells))
    shares_d, shares_n, shares_goal = (_latin(rng, count) for _ in range(3))
    names, num_eps, num_of_kind = [], 0, dict.fromkeys(kinds, 0)
    for k in range(count):
        kind = kinds[k % len(kinds)]
        form, place = cells[(k + k // round_length) % len(cells)]
        num_eps += form == "eps"
        num_of_kind[kind] += 1
        matrix = _matrix_name(
            kind, shares_d[k], shares_n[k], int(rng.integers(MIN_SEED, 2**31)), num_of_kind[kind]
        )
        goal = _goal(form, place, shares_goal[k])
        if form == "eps" and matrix.endswith("-ridge"):
            goal += "random,kept"
        elif form == "eps" and num_eps % _EVERY_KEPT == 0:
            goal += ",kept"
        names.append(f"{matrix}/{goal}")
    return names


def _latin(rng: np.random.Generator, count: int) -> list[float]:
    """One number in each of `count` equal parts of the unit interval, in random order."""
    numbers = (rng.permutation(count) + rng.random(count)) / max(1, count)
    return [float(number) for number in numbers]


def _matrix_name(kind: str, share_d: float, share_n: float, seed: int, number: int) -> str:
    source = SOURCES.get(kind)
    if source is None:
        d = round(_between(MIN_D, MAX_D, share_d))
        n = round(_between(MIN_N, min(MAX_N, MAX_ENTRIES // d), share_n))
        return f"{kind}-{n}x{d}-s{seed}"
    # S has (columns + 1) (classes - 1) dimensions.
    step = source.num_classes - 1
    low, high = (source.min_columns + 1) * step, min(MAX_D, (source.max_columns + 1) * step)
    columns = int(_between(low, high, share_d) / step) - 1
    most = min(source.num_rows, MAX_ENTRIES // ((columns + 1) * step))
    n = round(_between(MIN_N, most, share_n))
    return f"{kind}-n{n}-h{columns}-s{seed}{'' if number % 2 else '-ridge'}"


def _goal(form: str, place: str, share: float) -> str:
    """Spread evenly: sizes in the middle as they are, all else on a log scale.

    At the high end of the sizes it is the share kept whose logarithm is spread.
    """
    low, high = PLACES[form][place]
    if (form, place) == ("size", "middle"):
        return f"size={low + (high - low) * share:.3g}%"
    if (form, place) == ("size", "high"):
        return f"size={100 - _between(100 - low, 100 - high, share):.3g}%"
    return f"{form}={_between(low, high, share):.3g}%"


def _between(low: float, high: float, share: float) -> float:
    return float(low * (high / low) ** share)


def parse_set(words: Sequence[str]) -> list[str]:
    """Read ``training``, ``test:SEED:COUNT``, or the names of instances.

    Raises
    ------
    ValueError
        If they are none of them.
    """
    names: list[str] = []
    for given in words:
        word, *numbers = given.split(":")
        if word == "training" and not numbers:
            names += TRAINING
        elif word == "test" and len(numbers) == 2 and all(number.isdigit() for number in numbers):
            names += draw(int(numbers[0]), int(numbers[1]))
        else:
            names += select([given])
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    print("\n".join(parse_set(sys.argv[1:])))
