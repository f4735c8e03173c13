"""The plan of a run over shards: its steps, the memory they take, and the rules they keep to."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from subsetsel.bounds.graded import MOST_PARAMETERS
from subsetsel.engine import plan_steps as steps
from subsetsel.engine.plan import Machines, Rule, ShardPlan, Step
from subsetsel.engine.plan_steps import Asked
from subsetsel.errors import OptionError
from subsetsel.support.memory import VARIABLE, most_held

# Numbers for each example on the driver at the peak: of Eq. 3, of Eq. 4.
VECTORS = 18, 25
# What Python, its libraries and the compiled kernels take before there are any data; with torch.
BASE_BYTES, TORCH_BYTES = 200 * 2**20, 400 * 2**20


def plan_shards(asked: Asked, machines: Machines) -> ShardPlan:
    """Say what a run will take, and whether it would be refused.

    Parameters
    ----------
    asked : Asked
    machines : Machines

    Returns
    -------
    ShardPlan

    Raises
    ------
    OptionError
        If a count is no positive number.
    """
    for name in ("n", "d", "num_shards"):
        if getattr(asked, name) < 1:
            raise OptionError(f"{name} must be at least 1, got {getattr(asked, name)}.")
    found = [steps.read(asked)]
    if asked.is_head:
        found += [steps.survey(asked), steps.polish(asked), steps.factor(asked)]
    found.append(steps.norms(asked))
    if asked.is_eq_3:
        found += [steps.relaxation(asked), steps.margin(asked)]
    else:
        has_sizes = asked.goal == "epsilon"
        found.append(steps.levels_of_sizes(asked) if has_sizes else steps.levels(asked))
        found += [] if has_sizes else [steps.least_norm(asked)]
        found += [steps.refit(asked) * (steps.NUM_SIZES if has_sizes else 1)] * asked.is_head
    return ShardPlan(
        n=asked.n,
        d=asked.d,
        num_shards=asked.num_shards,
        machines=machines,
        steps=tuple(_as_held(asked, step) for step in found),
        rules=rules(asked),
        worker_bytes=worker_bytes(asked, machines),
        driver_bytes=driver_bytes(asked),
    )


def _as_held(asked: Asked, step: Step) -> Step:
    """Load the files again in each round, where the shards are not kept in memory."""
    if asked.is_held:
        return step
    return replace(step, bytes_loaded=step.rounds * asked.file_bytes)


def worker_bytes(asked: Asked, machines: Machines) -> float:
    """Memory of a machine: its part of the shards, and what each core works on."""
    largest = asked.held_bytes / asked.num_shards
    factor = 8.0 * asked.d**2 if asked.is_head else 0.0
    moving = steps.movers(asked) * asked.row_bytes if steps.core_rows(asked) < asked.n else 0.0
    hands = min(machines.cores, asked.num_shards)
    each = base_bytes(asked) + factor + 2.0 * largest + 2.0 * moving
    held = asked.held_bytes / min(machines.machines, asked.num_shards) if asked.is_held else 0.0
    return held + hands * each


def base_bytes(asked: Asked) -> float:
    """Memory of a process before there are any data."""
    return float(BASE_BYTES + (TORCH_BYTES if asked.is_head else 0))


def driver_bytes(asked: Asked) -> float:
    """Memory of the driver: numbers for each example, the rows it gathers, the factor."""
    gathered, vectors = steps.core_rows(asked), VECTORS[1]
    if asked.is_eq_3:
        vectors = VECTORS[0]
        gathered = max(steps.graded_rows(asked), steps.margin_rows(asked))
    factor = 3.0 * 8 * asked.d**2 if asked.is_head else 0.0
    return (
        base_bytes(asked)
        + 8.0 * vectors * asked.n
        + gathered * (asked.row_bytes + 8.0 * asked.d)
        + factor
    )


def rules(asked: Asked) -> tuple[Rule, ...]:
    """Which rules of the algorithms a run keeps to."""
    found = [_most_parameters(asked)]
    if asked.is_eq_3:
        least = min(steps.GRADED_ROWS_PER_PARAMETER * asked.d, asked.n)
        has_room = steps.graded_rows(asked) >= least
        found.append(
            Rule(
                "sample of Eq. 3",
                "holds" if has_room else "falls back",
                f"{steps.graded_rows(asked):,.0f} rows a step; with {least:,} the gap falls to "
                f"1e-6 in about {asked.num_steps}" + ("" if has_room else ", now in more"),
            )
        )
        return tuple(found)
    return (*found, _core(asked))


def _most_parameters(asked: Asked) -> Rule:
    what = f"d = {asked.d:,} of at most {MOST_PARAMETERS:,}"
    if asked.d <= MOST_PARAMETERS:
        return Rule("parameters", "holds", what)
    cure = "fewer features, such as the first 512 principal components, or fewer classes"
    return Rule(
        "parameters", "refused", f"{what}: use {cure if asked.is_head else 'fewer columns'}"
    )


def _core(asked: Asked) -> Rule:
    num_rows, room = steps.core_rows(asked), most_held() // int(asked.row_bytes)
    least = min(steps.CORE_LEAST * asked.d, asked.n)
    if num_rows == asked.n:
        text = f"all {asked.n:,} rows come together: too few for {asked.d:,} parameters in shards"
        return Rule("core of Eq. 4", "falls back", text)
    if room < least:
        needed = ceil(2 * least * asked.row_bytes / 2**30)
        return Rule(
            "core of Eq. 4",
            "refused",
            f"{least:,} rows are needed, {room:,} have room; set {VARIABLE}={needed} or more",
        )
    return Rule(
        "core of Eq. 4",
        "holds",
        f"{num_rows:,.0f} rows; without swaps in the shards {steps.rows_to_move(asked):,.0f}",
    )
