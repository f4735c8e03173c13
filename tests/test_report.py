"""The page about a run, and the pictures."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subsetsel import Solution
from subsetsel.report.manifest import Manifest
from subsetsel.report.page import MAX_IDS, render_page
from subsetsel.report.plots import draw_classes, draw_tradeoff, new_figure, save_figure


class Outline(HTMLParser):
    """Collects tags, attributes and text; void tags are not expected to close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and what it loads."""
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Tags close in the order they were opened."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def make(n: int = 6, **more: Any) -> Manifest:
    """A manifest of n examples, every second one pruned."""
    mask = np.arange(n) % 2 == 0
    solution = Solution(mask=mask, norm=0.5, status="feasible", epsilon=more.pop("epsilon", 1.0))
    return Manifest.of(
        solution, command="prune", settings={"l2": 1e-3}, inputs={"X": np.eye(n)}, **more
    )


def test_a_page_is_well_formed_and_self_contained() -> None:
    """Nothing is loaded from anywhere, and no script runs."""
    figure, _ = new_figure(1, "A picture")
    outline = Outline(render_page(make(), figures=[figure]))
    assert outline.open == []
    assert "script" not in outline.tags
    assert all(source.startswith("data:image/png;base64,") for source in outline.sources)
    assert len(outline.sources) == 1


def test_ids_and_settings_are_escaped() -> None:
    """An id is text, whatever it looks like."""
    page = render_page(make(2, ids=np.array(["<script>alert(1)</script>", "b & c"])))
    outline = Outline(page)
    assert "script" not in outline.tags
    assert "<script>alert(1)</script>" in outline.text
    assert "b & c" in outline.text


@pytest.mark.parametrize(
    ("epsilon", "verification", "words"),
    [
        (1.0, None, "Not checked"),
        (1.0, {"change": 0.8, "change_error": 0.1}, "Verified"),
        (1.0, {"change": 0.8, "change_error": 0.3}, "Not verified"),
        (None, {"change": 0.8, "change_error": 0.3}, "the head moves by 0.8"),
    ],
)
def test_the_verdict_says_what_can_be_relied_on(
    epsilon: float | None, verification: Any, words: str
) -> None:
    """The error bar counts against the promise."""
    page = render_page(make(epsilon=epsilon, verification=verification))
    assert words in Outline(page).text


def test_a_page_lists_no_more_ids_than_can_be_read() -> None:
    """The rest is in the manifest."""
    text = Outline(render_page(make(2 * MAX_IDS + 6))).text
    assert "and 3 more in the manifest" in text


def test_class_bars_add_up_to_the_classes() -> None:
    """Kept and pruned bars hold every example once."""
    _, (axes,) = new_figure(1, "classes")
    draw_classes(axes, np.array(["a", "b", "b", "b"]), np.array([True, False, True, False]))
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[0, 2], [1, 1]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_the_tradeoff_shows_both_curves_and_epsilon() -> None:
    """Ours, the rival, the line that is allowed."""
    _, (axes,) = new_figure(1, "curve")
    draw_tradeoff(axes, [0.1, 0.2], [1.0, 2.0], {"random": [[3, 4], [5, 6]]}, epsilon=1.5)
    ours = next(line for line in axes.lines if "subsetsel" in str(line.get_label()))
    assert np.array_equal(np.asarray(ours.get_ydata()), [1.0, 2.0])
    assert any("epsilon = 1.5" in text.get_text() for text in axes.texts)


def test_a_picture_is_written_in_the_format_of_its_name(tmp_path: Path) -> None:
    """PNG and SVG."""
    figure, _ = new_figure(1, "empty")
    save_figure(figure, tmp_path / "a.png")
    save_figure(figure, tmp_path / "a.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
