"""A verdict and a list of facts, as lines of text and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Facts = Sequence[tuple[str, str]]


def as_lines(verdict: str, facts: Facts, width: int) -> str:
    """Write a verdict and, under it, one line per fact; names take ``width`` characters."""
    return "\n".join([verdict, *(f"  {name:<{width}}{text}" for name, text in facts)])


def as_html(title: str, verdict: str, facts: Facts, *, is_good: bool | None = None) -> str:
    """Write a verdict and facts as a small HTML table, without a style sheet or a script.

    Every text is escaped. ``is_good`` gives the edge its colour: grey where nothing is judged.
    """
    colour = {True: "#0b5394", False: "#c1440e", None: "#8a8f98"}[is_good]
    cell = "text-align:left;padding:.1em 1em .1em 0;vertical-align:top"
    rows = "".join(
        f'<tr><th style="{cell};font-weight:500">{escape(name)}</th>'
        f'<td style="{cell}">{escape(text)}</td></tr>'
        for name, text in facts
    )
    return (
        f'<div style="border-left:4px solid {colour};padding:.2em 0 .2em .8em;margin:.4em 0">'
        f"<div><strong>{escape(title)}</strong> {escape(verdict)}</div>"
        f'<table style="border-collapse:collapse;margin:.3em 0 0">{rows}</table></div>'
    )


def spoken_time(seconds: float) -> str:
    """Say a time as people do: in seconds up to two minutes, in minutes up to two hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def decimal_bytes(count: float) -> str:
    """Write a number of bytes with two digits or three: ``37 KB``, ``1.85 TB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
