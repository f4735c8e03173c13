"""One self-contained HTML page about a run: no scripts, no links out, every text escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from subsetsel.report.manifest import Manifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A page that lists a million ids helps nobody; the manifest has them all.
MAX_IDS = 1000

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; border-bottom: 1px solid #8886; padding-bottom: .2rem; }
table { border-collapse: collapse; }
th { text-align: left; font-weight: 500; padding: .15rem 1.5rem .15rem 0; vertical-align: top; }
td { font-variant-numeric: tabular-nums; padding: .15rem 0; overflow-wrap: anywhere; }
.verdict { font-size: 1.1rem; padding: .5rem .8rem; border-left: 4px solid #0b5394; }
.verdict.bad { border-color: #c1440e; }
img { max-width: 100%; background: #fff; border-radius: 4px; }
code { overflow-wrap: anywhere; }
"""


def render_page(manifest: Manifest, *, figures: Sequence[Figure] = ()) -> str:
    """Turn a manifest into a page that can be mailed, archived and printed.

    Parameters
    ----------
    manifest : Manifest
    figures : sequence of matplotlib.figure.Figure
        Shown under the verdict, embedded in the page.

    Returns
    -------
    str
        HTML.
    """
    num_pruned, num_kept = len(manifest.pruned), len(manifest.kept)
    n = num_pruned + num_kept
    share = num_pruned / n if n else 0.0
    title = f"{num_pruned:,} of {n:,} examples pruned ({share:.1%})"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>subsetsel {escape(manifest.command)}, {escape(manifest.created)}</p>",
        _verdict(manifest),
        *(_image(figure) for figure in figures),
        _section("Verification by exact refit", manifest.verification or {}),
        _section("Solution", manifest.solution),
        _section("Settings", manifest.settings),
        *(_section(f"Input: {item.get('name')}", item) for item in manifest.inputs),
        _section("Environment", manifest.environment),
        _ids("Pruned", manifest.pruned),
        _ids("Kept", manifest.kept),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _verdict(manifest: Manifest) -> str:
    # One sentence that says what can be relied on.
    check, epsilon = manifest.verification, manifest.solution.get("epsilon")
    if not check or check.get("change") is None:
        if manifest.solution.get("norm") is None:
            return '<p class="verdict bad">Chosen by a score: nothing is predicted or checked.</p>'
        return '<p class="verdict bad">Not checked by refitting: the norm is a prediction.</p>'
    reach = check["change"] + (check.get("change_error") or 0.0)
    if epsilon is None:
        return f'<p class="verdict">Refitted exactly, the head moves by {check["change"]:.6g}.</p>'
    if reach <= epsilon:
        return (
            '<p class="verdict">Verified: refitted exactly, the head moves by at most '
            f"{reach:.6g}, within epsilon = {epsilon:.6g}.</p>"
        )
    return (
        f'<p class="verdict bad">Not verified: refitted exactly, the head moves by up to '
        f"{reach:.6g}, more than epsilon = {epsilon:.6g}.</p>"
    )


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
    return f"{value:.8g}" if isinstance(value, float) else str(value)


def _ids(title: str, ids: Sequence[Any]) -> str:
    shown = ", ".join(escape(str(name)) for name in ids[:MAX_IDS])
    rest = len(ids) - MAX_IDS
    more = f", and {rest:,} more in the manifest" if rest > 0 else ""
    return (
        f"<h2>{title}</h2>\n<details><summary>{len(ids):,} examples</summary>"
        f"<code>{shown}</code>{more}</details>"
    )


def _image(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=130)
    content = base64.b64encode(stream.getvalue()).decode("ascii")
    return (
        f'<p><img alt="{escape(figure.get_suptitle())}" src="data:image/png;base64,{content}"></p>'
    )
