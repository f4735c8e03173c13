"""What a run over shards will take, said before anything runs: formulas, and the plan they make.

Every count is a formula of n, d, the number of shards and the rates of `Machines`. The steps are in
`subsetsel.engine.plan_steps`; ``bench/plan_check.py`` compares them with what is counted.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from subsetsel.errors import OptionError
from subsetsel.support.memory import most_held
from subsetsel.support.text import decimal_bytes


@dataclass(frozen=True)
class Machines:
    """What computes, and how fast: each number is one that the user may set.

    The defaults are round numbers of common machines; none was measured.

    Attributes
    ----------
    machines, cores : int
        How many machines hold shards, and the cores of each. The driver comes on top.
    flops : float
        Operations a second of one core, in products of matrices in float64.
    memory : float
        Bytes a second that one core reads from memory.
    network : float
        Bytes a second between a machine and the others; 1.25e9 is 10 Gbit/s.
    disk : float
        Bytes a second that one machine reads from its files.
    task : float
        Seconds that the engine takes for one task, besides what it computes.
    slack : float
        How much slower than these rates the longest time of a range counts with.
    """

    machines: int = 1
    cores: int = 8
    flops: float = 20e9
    memory: float = 5e9
    network: float = 1.25e9
    disk: float = 0.5e9
    task: float = 2.5e-3
    slack: float = 3.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value, is_count = getattr(self, one.name), one.name in {"machines", "cores", "slack"}
            if not (value > 0 and int(is_count) <= value < math.inf):
                rule = "finite and at least 1" if is_count else "finite and above 0"
                raise OptionError(
                    f"{one.name} must be {rule}, got {value}; the plan counts with it."
                )

    @classmethod
    def of_texts(cls, texts: list[str], **known: Any) -> Self:
        """Read ``name=value`` texts, such as ``network=1e9``; ``known`` holds where none is given.

        Raises
        ------
        OptionError
            For a text of another shape, a name that is none of the attributes, a bad value.
        """
        names = [one.name for one in fields(cls)]
        found: dict[str, Any] = dict(known)
        for text in texts:
            name, _, value = text.partition("=")
            if name not in names:
                raise OptionError(
                    f"{text!r} sets no rate: write NAME=VALUE, such as network=1.25e9, with one of "
                    f"{', '.join(names)}."
                )
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            found[name] = int(number) if name in {"machines", "cores"} and number > 0 else number
        return cls(**found)


@dataclass(frozen=True)
class Step:
    """What one part of a run takes, on all workers together and on the driver.

    Attributes
    ----------
    name, source : str
        What is done, and where its formula comes from.
    rounds : int
        Calls of `Shards.map`.
    bytes_sent : float
        Of arrays, to and from the driver, as `Shards.bytes_sent` counts them.
    bytes_between : float
        What else `Shards.bytes_sent` counts: arrays that go from worker to worker, all at once.
    flops, bytes_read, bytes_loaded : float
        Of all workers: operations in products, bytes read from memory, bytes read from files.
    driver_flops, driver_read : float
        Of the driver, with one core.
    """

    name: str
    source: str
    rounds: int = 0
    bytes_sent: float = 0.0
    bytes_between: float = 0.0
    flops: float = 0.0
    bytes_read: float = 0.0
    bytes_loaded: float = 0.0
    driver_flops: float = 0.0
    driver_read: float = 0.0

    def __add__(self, other: Step) -> Step:
        """Do one after the other, under the name of the first."""
        both = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return replace(self, **both)

    def __mul__(self, times: int) -> Step:
        """Do it several times."""
        return replace(self, **{name: times * getattr(self, name) for name in COUNTS})

    def seconds(self, rates: Machines, num_shards: int) -> tuple[float, float]:
        """Give the shortest time, all parts at once, and the longest, one after the other.

        The longest counts with rates that are lower by ``rates.slack``. Where there are fewer
        shards than cores, some cores have nothing to do.
        """
        cores = min(rates.machines * rates.cores, num_shards)
        hands = min(rates.machines, num_shards)
        parts = (
            self.rounds * num_shards * rates.task,
            self.bytes_sent / rates.network,
            self.bytes_between / (hands * rates.network),
            self.bytes_loaded / (hands * rates.disk),
            max(self.flops / rates.flops, self.bytes_read / rates.memory) / cores,
            max(self.driver_flops / rates.flops, self.driver_read / rates.memory),
        )
        return max(parts), rates.slack * sum(parts)


COUNTS = tuple(one.name for one in fields(Step) if one.name not in {"name", "source"})


@dataclass(frozen=True)
class Rule:
    """A rule of the algorithms, and whether a run keeps to it.

    Attributes
    ----------
    name, text : str
        What it is about; the numbers, and what is done where it does not hold.
    verdict : {"holds", "falls back", "refused"}
    """

    name: str
    verdict: Literal["holds", "falls back", "refused"]
    text: str


@dataclass(frozen=True)
class ShardPlan:
    """What a run over shards will take.

    Attributes
    ----------
    n, d, num_shards : int
        Shape of S, and in how many shards it lies.
    machines : Machines
    steps : tuple of Step
    rules : tuple of Rule
    worker_bytes, driver_bytes : float
        Memory of one machine with its share of the shards, and of the driver.
    """

    n: int
    d: int
    num_shards: int
    machines: Machines
    steps: tuple[Step, ...]
    rules: tuple[Rule, ...]
    worker_bytes: float
    driver_bytes: float

    @property
    def num_rounds(self) -> int:
        """Rounds of all steps."""
        return sum(step.rounds for step in self.steps)

    @property
    def bytes_sent(self) -> float:
        """Bytes over the network in all steps, as `Shards.bytes_sent` counts them."""
        return sum(step.bytes_sent + step.bytes_between for step in self.steps)

    @property
    def seconds(self) -> tuple[float, float]:
        """Shortest and longest time of all steps together."""
        times = [step.seconds(self.machines, self.num_shards) for step in self.steps]
        return sum(low for low, _ in times), sum(high for _, high in times)

    @property
    def refusals(self) -> list[Rule]:
        """The rules for which the run would stop before it starts."""
        return [rule for rule in self.rules if rule.verdict == "refused"]

    def record(self) -> dict[str, Any]:
        """Give everything as JSON types, the sums included."""
        low, high = self.seconds
        return {
            **asdict(self),
            "num_rounds": self.num_rounds,
            "bytes_sent": self.bytes_sent,
            "shortest_time": low,
            "longest_time": high,
            "planned_bytes": 2 * most_held(),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Give the table of the steps: name, rounds, bytes, time, source."""
        found: list[tuple[str, ...]] = [
            (
                step.name,
                f"{step.rounds:,}",
                decimal_bytes(step.bytes_sent + step.bytes_between),
                span(*step.seconds(self.machines, self.num_shards)),
                step.source,
            )
            for step in self.steps
        ]
        sent, time = decimal_bytes(self.bytes_sent), span(*self.seconds)
        return [*found, ("all", f"{self.num_rounds:,}", sent, time, "the sum")]

    def markdown(self) -> str:
        """Write the table of the steps for a page."""
        lines = [("step", "rounds", "bytes", "time", "formula"), ("---",) * 5, *self.rows()]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def __str__(self) -> str:
        rates, rows = self.machines, [row[:-1] for row in self.rows()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            f"S is {self.n:,} x {self.d:,} in {self.num_shards:,} shards, on {rates.machines:,} "
            f"machines of {rates.cores:,} cores",
            *(
                f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}} rounds  {row[2]:>{widths[2]}}  "
                f"{row[3]:>{widths[3]}}"
                for row in rows
            ),
            f"  memory of a machine {decimal_bytes(self.worker_bytes)}, of the driver "
            f"{decimal_bytes(self.driver_bytes)}",
            *(f"  {rule.verdict}: {rule.name}: {rule.text}" for rule in self.rules),
            f"  counted with {rates.flops:.3g} operations and {decimal_bytes(rates.memory)} of "
            f"memory a second and core,",
            f"  {decimal_bytes(rates.network)} of network and {decimal_bytes(rates.disk)} of disk "
            f"a second and machine, {rates.task:.3g} s a task; the longest time {rates.slack:g} "
            "times slower",
        ]
        return "\n".join(lines)


def span(low: float, high: float) -> str:
    """Write a range of seconds in the unit that suits its end."""
    for unit, size in (("ms", 1e-3), ("s", 1.0), ("min", 60.0)):
        if high < 100 * size:
            return f"{low / size:.2g}-{high / size:.2g} {unit}"
    return f"{low / 3600:.2g}-{high / 3600:.2g} h"
