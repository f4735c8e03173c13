"""Which pictures a page has, and what each says; drawn from what the manifest and a curve know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from subsetsel.problem.tradeoff import Point, points_of_record
from subsetsel.report.manifest import Manifest
from subsetsel.report.plots import draw_classes, draw_prediction, draw_progress, draw_tradeoff
from subsetsel.support.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure and the sentence under it."""

    title: str
    figure: Figure
    caption: str


def pictures_of(manifest: Manifest, points: Sequence[Point] = ()) -> list[Picture]:
    """Draw everything that the record holds.

    Parameters
    ----------
    manifest : Manifest
    points : sequence of Point, optional
        The trade-off, measured for the page; otherwise what a verified search tried.

    Returns
    -------
    list of Picture
    """
    check, stats = manifest.verification, manifest.solution.get("stats") or {}
    n = len(manifest.kept) + len(manifest.pruned)
    known = list(points) or points_of_record(stats.get("curve") or [], n, check)
    pictures = []
    if len(known) > 1:
        pictures += [_tradeoff(known, manifest.solution.get("epsilon")), _prediction(known)]
    if check and check.get("class_sizes"):
        pictures.append(_classes(check["class_sizes"], check["class_pruned"]))
    found = [one for one in manifest.trace if None not in (one.get("size"), one.get("norm"))]
    # A search that found one subset has no course to show.
    if len(found) > 1:
        pictures.append(_progress(found, manifest.solution))
    return pictures


def _tradeoff(points: Sequence[Point], epsilon: float | None) -> Picture:
    figure, (axes,) = new_figure(1, "")
    chosen = next((point for point in points if point.is_chosen), None)
    place = None if chosen is None else (chosen.share, chosen.change)
    draw_tradeoff(axes, points, epsilon=epsilon, chosen=place)
    caption = "Every point was refitted exactly on what is kept."
    if chosen is not None and chosen.random:
        middle = sorted(chosen.random)[len(chosen.random) // 2]
        caption += (
            f" At the size that was chosen, random subsets move the head "
            f"{middle / chosen.change:.1f} times as far (median of {len(chosen.random)}; the band "
            "is their range)."
        )
    return Picture("How far the head moves when more is pruned", figure, caption)


def _prediction(points: Sequence[Point]) -> Picture:
    figure, (axes,) = new_figure(1, "")
    draw_prediction(axes, points)
    ratios = sorted(p.change / p.predicted for p in points if p.predicted > 0)
    caption = (
        f"Measured over predicted: {ratios[0]:.3g} to {ratios[-1]:.3g}. The search goes by the "
        "prediction; what is claimed goes by the refit."
    )
    return Picture("Predicted against actual", figure, caption)


def _classes(sizes: dict[str, int], pruned: dict[str, int]) -> Picture:
    figure, (axes,) = new_figure(1, "")
    draw_classes(axes, pruned, sizes)
    shares = {name: pruned[name] / sizes[name] for name in sizes}
    most, least = (pick(shares, key=lambda name: shares[name]) for pick in (max, min))
    caption = (
        f"Most is pruned of {most} ({shares[most]:.1%}), least of {least} ({shares[least]:.1%})."
    )
    return Picture("Kept and pruned examples of each class", figure, caption)


def _progress(trace: Sequence[dict[str, Any]], solution: dict[str, Any]) -> Picture:
    """Draw the search over time."""
    is_norm = solution.get("epsilon") is None and solution.get("target_size") is not None
    name = "norm" if is_norm else "size"
    # The last subset was found before the search was over.
    ends = max(trace[-1]["time"], solution.get("solve_time") or 0.0)
    times = [*(one["time"] for one in trace), ends]
    values = [*(one[name] for one in trace), solution[name]]
    figure, (axes,) = new_figure(1, "")
    draw_progress(axes, times, values, bound=solution.get("bound"), is_norm=is_norm)
    return Picture("The search, second by second", figure, _what_is_proved(solution))


def _what_is_proved(solution: dict[str, Any]) -> str:
    bound, gap = solution.get("bound"), solution.get("gap")
    if bound is not None and gap is not None:
        proved = "which proves it optimal" if gap == 0 else f"a gap of {gap:.3%}"
        return f"At most {int(bound):,} can be pruned, and this is proved: {proved}."
    if solution.get("normalization") == "kept" and solution.get("epsilon") is not None:
        return (
            "Each step is a subset that an exact refit verified. No bound on the size is known for "
            "this problem; a larger verified subset may exist."
        )
    return "No bound is proved for this problem."
