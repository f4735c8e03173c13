"""The formulas of a plan: what each step over shards takes, from n, d and the number of shards.

Bytes are those of `Shards.map`: what it sends to every shard, and what it gets back from each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

from subsetsel.engine.plan import COUNTS, Step
from subsetsel.support.memory import most_held

# Of the algorithms, as their modules have them; a test keeps them the same.
GRADED_ROWS_PER_PARAMETER, GRADED_USUAL_ROWS, GRADED_USUAL_BYTES = 10, 20, 2**28
GRADED_FEWEST_ROWS = 4096
MARGIN_ROWS_PER_PARAMETER, MARGIN_FEWEST_ROWS = 10, 4000
CORE_ROWS_PER_PARAMETER, CORE_FEWEST_ROWS, CORE_LEAST = 48, 12_000, 24
MOVERS, PROPOSALS, REACH, WHOLE = 24, 5, 0.2, 4
MOST_FACTORED_POLISH = 1500
BOUND_STEPS = 6
# Orders of magnitude: passes over the rows of a step that its own relaxation takes; proposals of
# the annealer for a row of a core, each of which reads a row.
GRADED_PASSES, CORE_PROPOSALS = 100, 60
# Counted with ``bench/plan_check.py``.
# Gradients of a polish, and products with the Hessian where it is not factored; of a refit.
POLISH_GRADIENTS, POLISH_PRODUCTS = 22, 40
REFIT_GRADIENTS, REFIT_PRODUCTS = 8, 175
# Sizes that `prune` tries with a limit for the refitted head, and cores that are gathered for them.
NUM_SIZES, NUM_CORES = 10, 5
VECTORS_READ = 40  # numbers for each example that the driver passes over in a step


@dataclass(frozen=True)
class Asked:
    """What is to be run.

    Attributes
    ----------
    n, num_shards : int
    d : int
        Parameters; of a head (classes - 1) (features + 1).
    goal : {"epsilon", "size"}
        Eq. 3, or Eq. 4; of a head with "epsilon" what `subsetsel.prune` does: several sizes.
    share : float
        How much of the examples will be pruned.
    itemsize : int
        Bytes of a number as it is held: of S, or of a feature.
    num_features, num_classes : int or None
        Of a head; None where S is stored.
    is_held : bool
        Whether the shards stay in memory between two rounds.
    num_steps : int
        Of the graded sample: 2 or 3 where the margin is thin, 5 to 8 on real heads.
    """

    n: int
    d: int
    num_shards: int
    goal: str = "size"
    share: float = 0.4
    itemsize: int = 4
    num_features: int | None = None
    num_classes: int | None = None
    is_held: bool = True
    num_steps: int = 8

    @property
    def is_head(self) -> bool:
        """Whether rows of S are solved for, from features."""
        return self.num_features is not None

    @property
    def is_eq_3(self) -> bool:
        """Whether epsilon limits the norm itself, not what a refit says."""
        return self.goal == "epsilon" and not self.is_head

    @property
    def file_bytes(self) -> float:
        """Bytes of all files as they are read: S, or the features and a label."""
        width = self.d * self.itemsize
        if self.num_features is not None:
            width = self.num_features * self.itemsize + 8
        return float(self.n) * width

    @property
    def pass_bytes(self) -> float:
        """Bytes that a pass over all examples reads: of a head its scaled features in float64."""
        if self.num_features is None:
            return self.file_bytes
        return 8.0 * self.n * (self.num_features + 1)

    @property
    def held_bytes(self) -> float:
        """Bytes that all shards hold together: what was read, and the scaled features of a head."""
        return self.file_bytes + (self.pass_bytes if self.is_head else 0.0)

    @property
    def row_bytes(self) -> float:
        """Bytes of a row of S on its way: float32 where it is solved for."""
        return self.d * (4.0 if self.is_head else self.itemsize)


# --- what the rows of S are asked for -------------------------------------------------------------


def dot(asked: Asked) -> Step:
    """S u: u to every shard, n numbers back."""
    return Step(
        "dot",
        "2 n d operations",
        rounds=1,
        bytes_sent=8.0 * asked.d * asked.num_shards + 8.0 * asked.n,
        flops=2.0 * asked.n * asked.d + _solves(asked, asked.num_shards),
        bytes_read=asked.pass_bytes,
    )


def weighted_sum(asked: Asked, weight_bytes: int = 8) -> Step:
    """S^T w: its weights to every shard, d numbers back from each."""
    return Step(
        "sum",
        "2 n d operations",
        rounds=1,
        bytes_sent=8.0 * asked.d * asked.num_shards + float(weight_bytes) * asked.n,
        flops=2.0 * asked.n * asked.d + _solves(asked, asked.num_shards),
        bytes_read=asked.pass_bytes,
    )


def take(asked: Asked, num_rows: float) -> Step:
    """Bring rows to the driver: an index there, a row back."""
    return Step(
        "take",
        "rows x d numbers",
        rounds=1,
        bytes_sent=num_rows * (8.0 + asked.row_bytes),
        flops=_solves(asked, num_rows),
        bytes_read=num_rows * asked.row_bytes,
    )


def norms(asked: Asked) -> Step:
    """Squared norms of all rows, once."""
    return Step(
        "norms of the rows",
        "2 n d^2 operations: a solve a row" if asked.is_head else "2 n d operations",
        rounds=1,
        bytes_sent=8.0 * asked.n,
        flops=2.0 * asked.n * asked.d + _solves(asked, asked.n),
        bytes_read=asked.pass_bytes,
    )


def _solves(asked: Asked, count: float) -> float:
    """Operations of solves with the factor of a head's Hessian, two triangles each."""
    return 2.0 * count * asked.d**2 if asked.is_head else 0.0


# --- Eq. 3 ----------------------------------------------------------------------------------------


def graded_rows(asked: Asked) -> float:
    """Rows that a step of the graded sample draws."""
    held = most_held() // int(asked.row_bytes)
    usual = min(GRADED_USUAL_ROWS * asked.d, GRADED_USUAL_BYTES // int(asked.row_bytes))
    least = max(GRADED_FEWEST_ROWS, GRADED_ROWS_PER_PARAMETER * asked.d, usual)
    return float(min(least, held, asked.n))


def relaxation(asked: Asked) -> Step:
    """Relax Eq. 3 by the graded sample: a sum and a product, then steps of three rounds."""
    num_rows = graded_rows(asked)
    step = weighted_sum(asked, 1) + take(asked, num_rows) + dot(asked)
    step += Step(
        "solve",
        "",
        driver_flops=4.0 * GRADED_PASSES * num_rows * asked.d,
        driver_read=2.0 * GRADED_PASSES * num_rows * asked.row_bytes + 8.0 * VECTORS_READ * asked.n,
    )
    # Two more sums, of the examples that are fixed, ask no shard; the last step closes it.
    whole = replace(weighted_sum(asked, 1) * 2 + dot(asked), rounds=5) + step * (
        asked.num_steps + 1
    )
    source = f"{asked.num_steps} steps of 3 rounds, {num_rows:,.0f} rows each, and a last one"
    return _named(whole, "relaxation of Eq. 3", source)


def margin_rows(asked: Asked) -> float:
    """Rows nearest to the margin, which the solver decides."""
    wanted = max(MARGIN_FEWEST_ROWS, MARGIN_ROWS_PER_PARAMETER * asked.d)
    return float(min(wanted, most_held() // int(asked.row_bytes), asked.n))


def margin(asked: Asked) -> Step:
    """Gather and search the rows near the margin; sum the answer again."""
    num_rows = margin_rows(asked)
    found = take(asked, num_rows) + weighted_sum(asked, 1) * 3
    found += Step("search", "", driver_read=CORE_PROPOSALS * num_rows * asked.row_bytes)
    return _named(found, "core of Eq. 3", f"{num_rows:,.0f} rows, three sums")


# --- Eq. 4 ----------------------------------------------------------------------------------------


def core_rows(asked: Asked) -> float:
    """Rows of the core of Eq. 4; all of them where they are few enough to come here."""
    wanted = max(CORE_FEWEST_ROWS, CORE_ROWS_PER_PARAMETER * asked.d)
    if asked.n <= WHOLE * wanted and asked.n * asked.row_bytes <= most_held():
        return float(asked.n)
    return float(min(wanted, most_held() // int(asked.row_bytes), asked.n))


def rows_to_move(asked: Asked) -> float:
    """Rows that must be free to move, for a core to take away the miss of a random start."""
    return sqrt(asked.n * asked.d * asked.share * (1 - asked.share)) / REACH


def movers(asked: Asked) -> float:
    """Rows that a shard reads in a pass."""
    return float(min(MOVERS * asked.d, asked.n / asked.num_shards))


def levels(asked: Asked) -> Step:
    """Minimize the norm at one size: perhaps a pass in which shards swap, and a core."""
    num_rows = core_rows(asked)
    found = take(asked, num_rows) + weighted_sum(asked, 1) * (5 if num_rows < asked.n else 3)
    source = f"a core of {num_rows:,.0f} rows" if num_rows < asked.n else "all rows are gathered"
    if num_rows < asked.n and rows_to_move(asked) > num_rows:
        found += shares(asked)
        source = f"a pass of {movers(asked):,.0f} rows a shard, {source}"
    found += Step("search", "", driver_read=CORE_PROPOSALS * num_rows * asked.row_bytes)
    return _named(found, "Eq. 4", f"{source}, sums")


def levels_of_sizes(asked: Asked) -> Step:
    """Search at several sizes; rows that came for one serve the next where its core is the same."""
    one = levels(asked)
    gathered = take(asked, core_rows(asked))
    known = {name: getattr(one, name) - getattr(gathered, name) for name in COUNTS}
    found = one * NUM_CORES + replace(one, **known) * (NUM_SIZES - NUM_CORES)
    return _named(found, "Eq. 4", f"{NUM_SIZES} sizes, {NUM_CORES} cores: {one.source}")


def least_norm(asked: Asked) -> Step:
    """Bound the norm from below: products and sums with weights between 0 and 1."""
    found = (dot(asked) + weighted_sum(asked)) * BOUND_STEPS
    return _named(found, "bound of Eq. 4", f"{BOUND_STEPS} products and sums")


def shares(asked: Asked) -> Step:
    """One pass in which each shard swaps examples: bits there and back, a change of d numbers."""
    moved = movers(asked) * asked.num_shards
    return Step(
        "pass",
        "",
        rounds=1,
        bytes_sent=16.0 * asked.d * asked.num_shards + 3.0 * asked.n / 8,
        flops=_solves(asked, moved),
        bytes_read=(1 + PROPOSALS) * moved * asked.row_bytes,
    )


# --- the head -------------------------------------------------------------------------------------


def read(asked: Asked) -> Step:
    """Read every file once, in the shards, and look for what is no number."""
    return Step(
        "read and check",
        "every byte of the files, once",
        rounds=1,
        bytes_sent=16.0 * asked.num_shards,
        bytes_read=asked.file_bytes,
        bytes_loaded=asked.file_bytes,
    )


def survey(asked: Asked) -> Step:
    """Bring the classes here, and sum the squares and the Gram matrix of the features."""
    q = (asked.num_features or 0) + 1
    return Step(
        "classes and scale",
        "a byte an example; n q^2 operations, q = features + 1",
        rounds=2,
        bytes_sent=float(asked.n) + 8.0 * q * asked.num_shards + 8.0 * q**2,
        bytes_between=8.0 * q**2 * asked.num_shards,
        flops=float(asked.n) * q**2,
        bytes_read=2.0 * asked.pass_bytes,
    )


def gradient(asked: Asked) -> Step:
    """Find a gradient, or a product with the Hessian: theta there, as many numbers back."""
    return Step(
        "gradient",
        "4 n d operations",
        rounds=1,
        bytes_sent=16.0 * asked.d * asked.num_shards,
        flops=4.0 * asked.n * asked.d,
        bytes_read=2.0 * asked.pass_bytes,
    )


def polish(asked: Asked) -> Step:
    """Bring the head to its minimum: by products with the Hessian where d is large."""
    has_products = asked.d > MOST_FACTORED_POLISH
    found = gradient(asked) * (POLISH_GRADIENTS + POLISH_PRODUCTS * has_products)
    products = f", {POLISH_PRODUCTS} products" if has_products else ""
    source = f"{POLISH_GRADIENTS} gradients{products}: 4 n d operations each"
    if not has_products:
        found += hessian(asked)
        source += "; a Hessian"
    return _named(found, "polish of the head", source)


def hessian(asked: Asked) -> Step:
    """Sum the Hessian over the shards, two and two, and factor it here."""
    square = 8.0 * asked.d**2
    return Step(
        "Hessian",
        "n d^2 operations, d^2 numbers a shard; d^3 / 3 for the factor",
        rounds=1,
        bytes_sent=square,
        bytes_between=square * asked.num_shards,
        flops=float(asked.n) * asked.d**2,
        bytes_read=asked.pass_bytes,
        driver_flops=asked.d**3 / 3.0,
        driver_read=4.0 * square,
    )


def factor(asked: Asked) -> Step:
    """Sum and factor the Hessian, and hand the factor to the workers."""
    sent = Step("factor", "", bytes_sent=8.0 * asked.d**2)
    return _named(hessian(asked) + sent, "Hessian and factor", hessian(asked).source)


def refit(asked: Asked) -> Step:
    """Refit the head on what is kept, from the old one: its bits there, then gradients."""
    has_products = asked.d > MOST_FACTORED_POLISH
    found = gradient(asked) * (REFIT_GRADIENTS + REFIT_PRODUCTS * has_products)
    found += weighted_sum(asked, 1) + Step("bits", "", bytes_sent=asked.n / 8)
    products = f", {REFIT_PRODUCTS} products" if has_products else ""
    source = f"{REFIT_GRADIENTS} gradients{products}, a sum, a Hessian"
    return _named(found + hessian(asked), "refit and error bar", source)


def _named(step: Step, name: str, source: str) -> Step:
    return replace(step, name=name, source=source)
