"""One self-contained HTML page about a run: no scripts, no links out, every text escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from subsetsel.problem.selected import Selected
from subsetsel.report.damage import refusing_damage
from subsetsel.report.manifest import Manifest
from subsetsel.report.trials import render_selection, tiles_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from subsetsel.report.figures import Picture

# A page that lists a million ids helps nobody; the manifest has them all.
MAX_IDS = 1000
MAX_STEPS = 40

# Parts of the stats that have a place of their own on the page.
_SHOWN_APART = ("curve", "trials", "confirmation", "remarks")

_STYLE = """
:root { color-scheme: light dark; --ours: #0b5394; --bad: #c1440e; --line: #8886; --soft: #8881; }
@media (prefers-color-scheme: dark) { :root { --ours: #6fa8dc; --bad: #ee8a5f; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
  max-width: 66rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .8rem; border-bottom: 1px solid var(--line);
  padding-bottom: .25rem; }
.made, .caption { opacity: .75; font-size: .9rem; margin: .2rem 0 1rem; }
.verdict { font-size: 1.1rem; padding: .6rem .9rem; border-left: 4px solid var(--ours);
  background: var(--soft); margin: 1rem 0; }
.verdict.bad { border-color: var(--bad); }
.tiles { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1rem 0; }
.tiles div { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem;
  min-width: 8.5rem; }
.tiles b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tiles span { font-size: .85rem; opacity: .75; }
.pictures-of-run { display: grid; gap: 1.4rem;
  grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); }
figure { margin: 0; }
figure.wide { grid-column: 1 / -1; }
figure h3 { font-size: 1rem; margin: 0 0 .4rem; }
figure img { width: 100%; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
figcaption { font-size: .9rem; opacity: .8; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: 500; padding: .2rem 1.5rem .2rem 0; vertical-align: top; }
td { font-variant-numeric: tabular-nums; padding: .2rem 1.5rem .2rem 0; overflow-wrap: anywhere; }
table.steps td, table.steps th { text-align: right; }
.scrolls { overflow-x: auto; }
table.trials th, table.trials td { padding: .2rem .9rem .2rem 0; overflow-wrap: normal; }
table.trials tr { border-top: 1px solid var(--line); }
table.trials tr.back { background: var(--soft); font-weight: 600; }
table.gallery { width: 100%; }
table.gallery tbody tr { border-top: 1px solid var(--line); }
table.gallery th, table.gallery td { padding: .45rem .8rem .45rem 0; vertical-align: top; }
table.gallery.pictures tbody th { vertical-align: middle; }
table.gallery td { width: 46%; }
table.gallery img { width: 2.6rem; height: 2.6rem; object-fit: contain; image-rendering: pixelated;
  margin: 0 .25rem 0 0; background: #000; border-radius: 3px; }
table.gallery td p { margin: 0 0 .5rem; font-size: .9rem; }
details { margin: .6rem 0; }
summary { cursor: pointer; font-weight: 500; }
code { overflow-wrap: anywhere; }
@media print { details { display: none; } }
"""


@refusing_damage()
def render_page(
    manifest: Manifest,
    *,
    pictures: Sequence[Picture] = (),
    gallery: str = "",
    remarks: Sequence[str] = (),
) -> str:
    """Turn a manifest into a page that can be mailed, archived and printed.

    Parameters
    ----------
    manifest : Manifest
    pictures : sequence of Picture
        Shown under the verdict, embedded in the page.
    gallery : str, optional
        What `render_gallery` made: HTML, put in as it is.
    remarks : sequence of str, optional
        What a first look at the data found.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    FileFormatError
        If the manifest holds what no run writes.
    """
    num_pruned, num_kept = len(manifest.pruned), len(manifest.kept)
    n = num_pruned + num_kept
    selected = Selected.of_record(manifest.solution)
    # Who selects thinks of what is kept; who prunes, of what goes.
    num, done = (num_pruned, "pruned") if selected is None else (num_kept, "kept for training")
    title = f"{num:,} of {n:,} examples {done} ({num / n if n else 0.0:.1%})"
    stats = manifest.solution.get("stats") or {}
    solution = {**manifest.solution, "stats": _without(stats, *_SHOWN_APART)}
    check = _without(manifest.verification or {}, "class_sizes", "class_pruned")
    shown = "".join(map(_figure, pictures))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="made">subsetsel {escape(manifest.command)}, {escape(manifest.created)}</p>',
        _verdict(manifest, selected),
        _tiles(manifest, [] if selected is None else tiles_of(selected)),
        f'<h2>Pictures</h2><div class="pictures-of-run">{shown}</div>' if pictures else "",
        f"<h2>Kept and pruned, side by side</h2>{gallery}" if gallery else "",
        "" if selected is None else render_selection(selected),
        _look(remarks),
        _predictions(check),
        _section("Verification by exact refit", check),
        _steps(stats.get("curve") or []),
        _section("Solution", solution),
        _section("Settings", manifest.settings),
        *(_section(f"Input: {item.get('name')}", item) for item in manifest.inputs),
        "<h2>For the record</h2>",
        _folded("Environment", f"<table>{''.join(_rows(manifest.environment))}</table>"),
        _ids("Pruned", manifest.pruned),
        _ids("Kept", manifest.kept),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _look(remarks: Sequence[str]) -> str:
    """List what stands out in the data."""
    lines = "".join(f"<li>{escape(text)}</li>" for text in remarks)
    return f"<h2>A first look at the data</h2><ul>{lines}</ul>" if lines else ""


def _without(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


def _verdict(manifest: Manifest, selected: Selected | None) -> str:
    """Say in one sentence what can be relied on."""
    if selected is None:
        is_good, text = _judge(manifest)
    else:
        is_good, text = selected.is_settled, selected.verdict
    return f'<p class="verdict{"" if is_good else " bad"}">{escape(text)}</p>'


def _judge(manifest: Manifest) -> tuple[bool, str]:
    check, epsilon = manifest.verification, manifest.solution.get("epsilon")
    if not check or check.get("change") is None:
        if manifest.solution.get("norm") is None:
            return False, "Chosen by a score: nothing is predicted or checked."
        return False, "Not checked by refitting: the norm is a prediction."
    change = check["change"]
    reach = change + (check.get("change_error") or 0.0)
    if epsilon is None:
        return True, f"Refitted exactly, the head moves by {change:.6g}."
    moves = "refitted exactly, the head moves by"
    if reach <= epsilon:
        return True, f"Verified: {moves} at most {reach:.6g}, within epsilon = {epsilon:.6g}."
    return False, f"Not verified: {moves} up to {reach:.6g}, more than epsilon = {epsilon:.6g}."


def _tiles(manifest: Manifest, more: Sequence[tuple[str, str]]) -> str:
    """Show the few numbers that people look for first."""
    check, solution = manifest.verification or {}, manifest.solution
    tiles = [(f"{len(manifest.kept):,}", "examples kept"), *more]
    if check.get("change") is not None:
        tiles.append((f"{check['change']:.4g}", "change of the head"))
    if solution.get("epsilon") is not None:
        tiles.append((f"{solution['epsilon']:.4g}", "epsilon, the change allowed"))
    if check.get("accuracy") is not None:
        tiles.append((
            f"{check['accuracy']:.2%}",
            f"test accuracy; {check['full_accuracy']:.2%} on all",
        ))
    if check.get("accuracy_drop_interval") is not None:
        low, high = check["accuracy_drop_interval"]
        words = "change of the accuracy on new data, with 95 % confidence"
        tiles.append((f"{-high:+.2%} to {-low:+.2%}", words))
    if check.get("loss_gap_interval") is not None:
        low, high = check["loss_gap_interval"]
        words = "change of the loss on new data, with 95 % confidence"
        tiles.append((f"{low:+.3g} to {high:+.3g}", words))
    if solution.get("gap") is not None:
        tiles.append((f"{solution['gap']:.3%}", f"gap to the bound {int(solution['bound']):,}"))
    if check.get("curvature") is not None:
        tiles.append((f"{check['curvature']:.1%}", "of the curvature kept at least"))
    if solution.get("solve_time"):
        tiles.append((f"{solution['solve_time']:.1f} s", f"{solution.get('solver')}"))
    cells = "".join(f"<div><b>{escape(a)}</b><span>{escape(b)}</span></div>" for a, b in tiles)
    return f'<div class="tiles">{cells}</div>'


def _predictions(check: Mapping[str, Any]) -> str:
    """Tell what was predicted apart, with what the refit did beside it."""
    if check.get("predicted_newton") is None:
        return ""
    searched, metric = check.get("predicted_searched"), check.get("searched_metric")
    rises = metric == "loss"
    # Change of the head, rise of the training objective; the search predicts one of the two.
    lines = [
        ("First order, around all examples", check.get("predicted_kept"), None),
        ("One Newton step", check["predicted_newton"], None),
        ("Refit", check.get("change"), check.get("objective_gap")),
    ]
    if searched is not None:
        of_search = (None, 0.5 * searched**2) if rises else (searched, None)
        lines.insert(2, ("Rows searched: the search minimized this one", *of_search))
    rows = "".join(
        f"<tr><th>{name}</th>"
        + "".join(f"<td>{'' if value is None else format(value, '.6g')}</td>" for value in values)
        + "</tr>"
        for name, *values in lines
    )
    head = "<tr><th></th><th>change of the head</th><th>rise of the training objective</th></tr>"
    return f"<h2>What was predicted, and what the refit did</h2><table>{head}{rows}</table>"


def _steps(curve: Sequence[Mapping[str, Any]]) -> str:
    """List the sizes that a verified search tried."""
    if not curve:
        return ""
    titles = ("pruned", "predicted", "change", "certain to", "within limits")
    head = "".join(f"<th>{title}</th>" for title in titles)
    rows = "".join(
        f"<tr><td>{one['m']:,}</td><td>{one['predicted_kept']:.5g}</td><td>{one['change']:.5g}</td>"
        f"<td>{one['change_error']:.1g}</td><td>{'yes' if one['is_verified'] else 'no'}</td></tr>"
        for one in curve[:MAX_STEPS]
    )
    table = f'<table class="steps"><tr>{head}</tr>{rows}</table>'
    return _folded(f"The {len(curve)} subsets that the search refitted", table)


def _section(title: str, record: Mapping[str, Any]) -> str:
    rows = "\n".join(_rows(record))
    return f"<h2>{escape(title)}</h2>\n<table>{rows}</table>" if rows else ""


def _rows(record: Mapping[str, Any], prefix: str = "") -> list[str]:
    rows = []
    for name, value in record.items():
        if isinstance(value, Mapping):
            rows += _rows(value, f"{prefix}{name}: ")
        elif value not in (None, "", []):
            rows.append(
                f"<tr><th>{escape(prefix + str(name))}</th><td>{escape(_words(value))}</td></tr>"
            )
    return rows


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return " to ".join(map(_words, value))
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _folded(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _ids(title: str, ids: Sequence[Any]) -> str:
    shown = ", ".join(escape(str(name)) for name in ids[:MAX_IDS])
    rest = len(ids) - MAX_IDS
    more = f", and {rest:,} more in the manifest" if rest > 0 else ""
    return _folded(f"{title}: {len(ids):,} examples", f"<p><code>{shown}</code>{more}</p>")


def _figure(picture: Picture) -> str:
    return (
        f"<figure{' class=wide' if picture.is_wide else ''}><h3>{escape(picture.title)}</h3>"
        f'<img alt="{escape(picture.title)}" src="{_svg_source(picture.figure)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _svg_source(figure: Figure) -> str:
    """Embed a figure as SVG, sharp at any size; the same bytes each time it is drawn."""
    import matplotlib as mpl

    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "subsetsel"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
