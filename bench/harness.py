"""One run of one entrant: budget, clock, independent check, and the record that is kept."""

from __future__ import annotations

import gc
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from check import check, norm_of
from entrant import Budget, Claim, Entrant
from instances import Instance
from metrics import gap_to_bound, overshoot

from subsetsel import OptionError

_MAX_TRACE = 300
Key = tuple[str, str, int, float]


@dataclass
class Record:
    """One line of results.csv, and its trace.

    Attributes
    ----------
    instance, solver, seed, time_limit
        The key of a run. A comparison that goes on skips the keys that it has.
    outcome : {"ok", "failed", "skipped", "refused", "error"}
        "failed": the checker contradicts the claim. "skipped": the entrant is not installed or
        cannot hold the instance. "refused": the solver said by itself that it does not do this.
    reason : str
        Why, where the outcome is not "ok"; otherwise the entrant's own remark.
    size, norm
        As recomputed by the checker.
    bound, gap
        Proven bound and relative gap.
    random_norm, norm_over_random
        Mean norm of random subsets of the required size, and the answer's as a share of it (Eq. 4).
    known_value
        Objective of a subset known by construction or enumeration.
    wall_time
        Seconds of the whole call without `setup_time`; `overshoot` is its excess over the limit.
    cpu_time
        Seconds of processor of the whole call, set-up included. Less than the wall time where other
        programs had the processor.
    setup_time
        Seconds for loading, compiling and taking S in, as far as they fell into the call.
    """

    instance: str
    solver: str
    seed: int
    time_limit: float
    form: str
    n: int
    d: int
    outcome: str
    reason: str = ""
    status: str = ""
    size: int | None = None
    norm: float | None = None
    bound: float | None = None
    gap: float | None = None
    norm_over_random: float | None = None
    random_norm: float | None = None
    known_value: float | None = None
    wall_time: float | None = None
    overshoot: float | None = None
    cpu_time: float | None = None
    setup_time: float | None = None
    num_iterations: int | None = None
    digest: str = ""
    threads: int = 1
    trace: list[tuple[float, float]] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """What identifies the run."""
        return self.instance, self.solver, self.seed, self.time_limit

    @property
    def value(self) -> float | None:
        """Objective: the size (Eq. 3) or the norm (Eq. 4)."""
        return self.size if self.form == "max_size" else self.norm


COLUMNS = [item.name for item in fields(Record) if item.name != "trace"]


def run_once(
    entrant: Entrant, instance: Instance, budget: Budget, best_value: float | None = None
) -> Record:
    """Run an entrant and check what it claims.

    ``best_value`` is the objective of any feasible subset known so far: no bound may exclude it.
    KeyboardInterrupt is raised too where a solver has caught Ctrl-C to return what it had.
    """
    question = instance.question
    record = Record(
        instance.name,
        entrant.name,
        budget.seed,
        budget.time_limit,
        form=question.form,
        n=question.S.shape[0],
        d=question.S.shape[1],
        outcome="skipped",
        digest=instance.digest,
        threads=budget.num_workers,
        random_norm=instance.random_norm,
        known_value=None if instance.known is None else instance.known[0],
    )
    record.reason = entrant.missing or entrant.refuses(instance)
    if record.reason:
        return record
    gc.collect()
    started, cpu_started = time.perf_counter(), time.process_time()
    try:
        claim = entrant.run(instance, budget)
    except Exception as error:
        return _failed(record, error)
    record.wall_time = time.perf_counter() - started - claim.setup_time
    record.cpu_time = time.process_time() - cpu_started
    if claim.is_interrupted:
        raise KeyboardInterrupt
    _judge(record, instance, claim, best_value)
    return record


def _failed(record: Record, error: Exception) -> Record:
    """Tell a refusal by name, which is honest, from a crash, which is not."""
    record.outcome = "refused" if isinstance(error, OptionError) else "error"
    record.reason = " ".join(f"{type(error).__name__}: {error}".split())
    if record.outcome == "error":
        traceback.print_exception(error, file=sys.stderr)
    return record


def _judge(record: Record, instance: Instance, claim: Claim, best_value: float | None) -> None:
    question = instance.question
    known = [value for value in (best_value, record.known_value) if value is not None]
    best = (max if question.form == "max_size" else min)(known) if known else None
    problems = check(
        question,
        claim.mask,
        norm=claim.norm,
        bound=claim.bound,
        status=claim.status,
        best_value=best,
        optimum=instance.optimum,
    )
    record.outcome = "failed" if problems else "ok"
    record.reason = "; ".join(problems) or claim.note
    record.status, record.setup_time = claim.status, claim.setup_time
    record.num_iterations, record.trace = claim.num_iterations, _thinned(claim.trace)
    assert record.wall_time is not None
    record.overshoot = overshoot(record.wall_time, record.time_limit)
    if claim.mask is None:
        return
    record.size, record.norm = int(claim.mask.sum()), norm_of(question.S, claim.mask)
    record.bound = claim.bound
    record.gap = gap_to_bound(question.form, record.value or 0.0, claim.bound)
    if question.form == "min_norm":
        record.norm_over_random = record.norm / instance.random_norm


def _thinned(trace: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most a few hundred points of a trace, the last among them."""
    step = -(-len(trace) // _MAX_TRACE) if trace else 1
    return [*trace[:-1:step], *trace[-1:]]


def cross_check(records: Iterable[Record]) -> list[str]:
    """Hold every bound against every subset found on the same instance, whoever found it.

    The answer has one line for each bound that a feasible subset exceeds.
    """
    best: dict[str, Record] = {}
    answered = [record for record in records if record.outcome == "ok" and record.size is not None]
    for record in answered:
        other = best.get(record.instance)
        if other is None or _is_beyond(record.form, record.value or 0.0, other.value or 0.0):
            best[record.instance] = record
    return [
        f"{record.instance}: {record.solver} claims the bound {record.bound:.6f}, "
        f"{best[record.instance].solver} found {best[record.instance].value}"
        for record in answered
        if record.bound is not None
        and _is_beyond(record.form, best[record.instance].value or 0.0, record.bound)
    ]


def _is_beyond(form: str, value: float, other: float) -> bool:
    """Whether a size is larger than another, or a norm smaller by more than its rounding."""
    return value > other if form == "max_size" else value < other * (1.0 - 1e-12)


def complaints(records: Iterable[Record]) -> list[str]:
    """List everything that must not be: false claims, crashes, solvers that only ever refused."""
    found = list(records)
    lines = [
        f"{record.outcome}: {record.instance} {record.solver} {record.reason}"
        for record in found
        if record.outcome in {"failed", "error"}
    ]
    for solver in dict.fromkeys(record.solver for record in found):
        outcomes = [record.outcome for record in found if record.solver == solver]
        if "refused" in outcomes and "ok" not in outcomes:
            lines.append(f"{solver} refused everything it was asked")
    return lines + cross_check(found)
