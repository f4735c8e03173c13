"""The plan of a run over shards: its formulas, its table, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subsetsel.bounds import sample
from subsetsel.engine import core, levels, plan_steps
from subsetsel.engine import sharded as sharded_engine
from subsetsel.engine.plan import Machines, Step, span
from subsetsel.engine.plan_shards import plan_shards
from subsetsel.engine.plan_steps import Asked
from subsetsel.errors import OptionError
from subsetsel.rows.dense import DenseRows
from subsetsel.rows.sharded import ShardedRows
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial
from subsetsel.support.memory import VARIABLE
from subsetsel.support.text import decimal_bytes

HEAD = Asked(100_000_000, 4_617, 256, num_features=512, num_classes=10)


def sharded(n: int, d: int, cuts: list[int]) -> ShardedRows:
    """Made rows in shards that end at the cuts."""
    rows = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    parts = np.split(rows, sorted(cuts))
    workers = Serial()
    held = workers.hold(_rows, [(part,) for part in parts])
    return ShardedRows(Shards(workers, held, [len(part) for part in parts]), d, np.float32)


def _rows(part: Any) -> Any:
    return DenseRows(part) if len(part) else None


@given(st.integers(5, 60), st.integers(1, 5), st.data())
def test_products_sums_and_chosen_rows_send_what_the_formulas_say(
    n: int, d: int, data: st.DataObject
) -> None:
    """Rounds and bytes as counted, however the rows are cut; a sum asks shards with weights."""
    cuts = data.draw(st.lists(st.integers(1, n - 1), max_size=3, unique=True))
    rows = sharded(n, d, cuts)
    asked = Asked(n, d, len(cuts) + 1)
    weights = np.linspace(0.5, 1.0, n)
    for expected, call in (
        (plan_steps.dot(asked), lambda: rows.dot(np.ones(d))),
        (plan_steps.weighted_sum(asked), lambda: rows.sum(weights)),
        (plan_steps.weighted_sum(asked, 1), lambda: rows.sum(weights > 0)),
        (plan_steps.take(asked, 4), lambda: rows.take(np.arange(4))),
        (plan_steps.norms(asked), lambda: rows.squared_norms),
    ):
        before = rows.shards.num_rounds, rows.shards.bytes_sent
        call()
        assert rows.shards.num_rounds - before[0] == expected.rounds
        assert rows.shards.bytes_sent - before[1] == expected.bytes_sent


def test_rounds_do_not_grow_with_the_shards() -> None:
    """4 shards or 256: as many rounds, and bytes that grow by what is sent to each."""
    few, many = (
        plan_shards(replace(HEAD, num_shards=count, goal=goal), Machines())
        for goal in ("epsilon",)
        for count in (4, 256)
    )
    assert few.num_rounds == many.num_rounds
    assert few.bytes_sent < many.bytes_sent


@pytest.mark.parametrize("goal", ["epsilon", "size"])
def test_the_sums_of_a_table_are_those_of_its_steps(goal: str) -> None:
    """Rounds, bytes and both ends of the time."""
    plan = plan_shards(replace(HEAD, goal=goal), Machines(machines=32))
    record = plan.record()
    assert record["num_rounds"] == sum(step["rounds"] for step in record["steps"])
    times = [step.seconds(plan.machines, plan.num_shards) for step in plan.steps]
    assert np.isclose(record["shortest_time"], sum(low for low, _ in times))
    assert record["shortest_time"] <= record["longest_time"]
    json.dumps(record)
    assert str(plan).count(" rounds ") == len(plan.steps) + 1
    assert plan.markdown().count("\n") == len(plan.steps) + 2


def test_ten_times_the_machines_take_a_tenth_of_the_work_but_not_of_the_network() -> None:
    """The driver's own link is the same one, whatever the number of workers."""
    work, sent = Step("w", "", flops=1e15), Step("s", "", bytes_sent=1e12)
    one, ten = Machines(machines=1), Machines(machines=10)
    assert np.isclose(work.seconds(one, 1000)[0], 10 * work.seconds(ten, 1000)[0])
    assert sent.seconds(one, 1000) == sent.seconds(ten, 1000)


def test_cores_without_a_shard_do_nothing() -> None:
    """Four shards on a hundred cores take as long as on four."""
    work = Step("w", "", flops=1e12)
    assert work.seconds(Machines(cores=100), 4) == work.seconds(Machines(cores=4), 4)


def test_shards_that_are_not_kept_are_loaded_in_every_round() -> None:
    """One process out of core reads the files as often as there are rounds."""
    asked = Asked(1_280_000, 256, 20, goal="epsilon", is_held=False)
    plan = plan_shards(asked, Machines())
    assert sum(step.bytes_loaded for step in plan.steps) == plan.num_rounds * asked.file_bytes
    held = plan_shards(replace(asked, is_held=True), Machines())
    assert plan.worker_bytes == held.worker_bytes - asked.held_bytes


def test_too_many_parameters_are_refused_and_fewer_features_are_not() -> None:
    """512 features and 1,000 classes have a d that no factor holds."""
    plan = plan_shards(replace(HEAD, d=999 * 513, num_classes=1000), Machines())
    assert plan.refusals[0].name == "parameters"
    assert "fewer features" in str(plan)
    assert not plan_shards(HEAD, Machines()).refusals


def test_a_core_that_does_not_fit_is_refused_until_there_is_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The refusal names the variable and a value that cures it."""
    monkeypatch.setenv(VARIABLE, "2")
    refused = plan_shards(HEAD, Machines()).refusals
    assert VARIABLE in refused[0].text
    monkeypatch.setenv(VARIABLE, "4")
    assert not plan_shards(HEAD, Machines()).refusals


def test_few_rows_are_gathered_whole() -> None:
    """Where the core would hold a quarter of the rows, all come together, and the plan says so."""
    plan = plan_shards(Asked(20_000, 256, 4), Machines())
    assert {rule.name: rule.verdict for rule in plan.rules}["core of Eq. 4"] == "falls back"
    assert "come together" in str(plan)


def test_rates_are_read_from_texts() -> None:
    """Those that are not named keep what was known."""
    rates = Machines.of_texts(["network=1e9", "machines=32"], cores=2)
    assert (rates.network, rates.machines, rates.cores) == (1e9, 32, 2)


@pytest.mark.parametrize("text", ["nework=1e9", "network", "network=fast", "cores=0", "slack=.5"])
def test_a_rate_that_is_none_is_refused_and_its_cure_works(text: str) -> None:
    """The message names what there is; one of those is taken."""
    with pytest.raises(OptionError) as error:
        Machines.of_texts([text])
    assert any(word in str(error.value) for word in ("network=1.25e9", "must be finite"))
    assert Machines.of_texts(["network=1.25e9"]) == Machines()


@pytest.mark.parametrize("name", ["n", "d", "num_shards"])
def test_counts_are_positive(name: str) -> None:
    """A plan for nothing is refused."""
    nothing: dict[str, Any] = {name: 0}
    with pytest.raises(OptionError, match=f"{name} must be at least 1"):
        plan_shards(replace(HEAD, **nothing), Machines())


def test_numbers_are_written_in_their_units() -> None:
    """Three digits of bytes, two of seconds."""
    assert [decimal_bytes(count) for count in (5, 37e3, 1.85e12)] == ["5 B", "37 KB", "1.85 TB"]
    assert [span(*pair) for pair in ((0.01, 0.02), (5, 40), (120, 600), (7200, 9e3))] == [
        *("10-20 ms", "5-40 s", "2-10 min", "2-2.5 h"),
    ]


def test_the_plan_counts_with_the_constants_of_the_algorithms() -> None:
    """What a module changes for itself has to be changed in the plan too."""
    fit = import_module("subsetsel.influence.head.fit")
    assert fit._MAX_FACTORED_POLISH == plan_steps.MOST_FACTORED_POLISH
    assert (sample.LEAST_PER_PARAMETER, sample._MOST_PER_PARAMETER, sample._USUAL_BYTES) == (
        plan_steps.GRADED_ROWS_PER_PARAMETER,
        plan_steps.GRADED_USUAL_ROWS,
        plan_steps.GRADED_USUAL_BYTES,
    )
    assert sample._FEWEST_ROWS == plan_steps.GRADED_FEWEST_ROWS
    assert (core._CORE_ROWS, core._FEWEST_ROWS, core._LEAST_ROWS, core._WHOLE) == (
        plan_steps.CORE_ROWS_PER_PARAMETER,
        plan_steps.CORE_FEWEST_ROWS,
        plan_steps.CORE_LEAST,
        plan_steps.WHOLE,
    )
    assert (sharded_engine._PER_PARAMETER, sharded_engine._FEWEST_ROWS) == (
        plan_steps.MARGIN_ROWS_PER_PARAMETER,
        plan_steps.MARGIN_FEWEST_ROWS,
    )
    assert (levels._MOVERS, levels._PROPOSALS, levels._REACH) == (
        plan_steps.MOVERS,
        plan_steps.PROPOSALS,
        plan_steps.REACH,
    )
