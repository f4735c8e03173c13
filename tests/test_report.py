"""The page about a run, and the pictures."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subsetsel import FileFormatError, ProblemError, Progress, Solution
from subsetsel.problem.tradeoff import Point
from subsetsel.report.figures import Picture, pictures_of
from subsetsel.report.gallery import Looks, picture_source, render_gallery
from subsetsel.report.manifest import Manifest
from subsetsel.report.page import MAX_IDS, render_page
from subsetsel.report.plots import draw_classes, draw_tradeoff
from subsetsel.support.figures import new_figure, save_figure


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
    about = {"epsilon": more.pop("epsilon", 1.0), "trace": tuple(more.pop("trace", ()))}
    solution = Solution(mask=mask, norm=0.5, status="feasible", **about)
    return Manifest.of(
        solution, command="prune", settings={"l2": 1e-3}, inputs={"X": np.eye(n)}, **more
    )


def test_a_page_is_well_formed_and_self_contained() -> None:
    """Nothing is loaded from anywhere, and no script runs."""
    figure, _ = new_figure(1, "")
    picture = Picture("<i>A picture</i>", figure, "What it <b>says</b>.")
    outline = Outline(render_page(make(), pictures=[picture]))
    assert outline.open == []
    assert "script" not in outline.tags
    assert "i" not in outline.tags
    assert all(source.startswith("data:image/svg+xml;base64,") for source in outline.sources)
    assert len(outline.sources) == 1
    assert "What it <b>says</b>." in outline.text


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verification": {"change": "far"}}, "TypeError"),
        ({"verification": [1]}, "AttributeError"),
        ({"solution": {"stats": {"curve": [{"m": 1}]}}}, "KeyError"),
        ({"solution": {"gap": "1", "bound": 2}}, "ValueError"),
    ],
)
def test_a_manifest_with_what_no_run_writes_is_refused(change: dict[str, Any], words: str) -> None:
    """In a sentence, and the manifest that the run wrote is shown.

    Mutation: the page without its guard: fails.
    """
    good = make(verification={"change": 0.8, "change_error": 0.1})
    bad = replace(good, **change)
    with pytest.raises(FileFormatError, match=f"what no run writes .{words}.*that the run wrote"):
        render_page(bad)
    assert "Verified" in render_page(good, pictures=pictures_of(good))


def test_no_picture_is_drawn_of_what_no_run_writes() -> None:
    """The pictures come before the page."""
    bad = replace(make(), trace=[{"time": "late", "size": 1, "norm": 1.0}] * 2)
    with pytest.raises(FileFormatError, match="what no run writes"):
        pictures_of(bad)


def test_class_bars_add_up_to_the_classes() -> None:
    """Kept and pruned bars hold every example once."""
    _, (axes,) = new_figure(1, "classes")
    draw_classes(axes, {"a": 1, "b": 1}, {"a": 1, "b": 3})
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    assert heights == [[0, 2], [1, 1]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]


def test_the_tradeoff_shows_both_curves_and_epsilon() -> None:
    """Ours, the rival, the line that is allowed."""
    _, (axes,) = new_figure(1, "curve")
    points = [Point(0.1, 1.0, 1.0, (3.0, 4.0)), Point(0.2, 2.0, 2.0, (5.0, 6.0))]
    draw_tradeoff(axes, points, epsilon=1.5, chosen=(0.2, 2.0))
    ours = next(line for line in axes.lines if "subsetsel" in str(line.get_label()))
    assert np.array_equal(np.asarray(ours.get_ydata()), [1.0, 2.0])
    words = [text.get_text() for text in axes.texts]
    assert words == ["epsilon = 1.5", "chosen: 20.0%"]


def test_a_picture_is_written_in_the_format_of_its_name(tmp_path: Path) -> None:
    """PNG and SVG."""
    figure, _ = new_figure(1, "empty")
    save_figure(figure, tmp_path / "a.png")
    save_figure(figure, tmp_path / "a.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()


# --- which pictures a page has ------------------------------------------------------------------


def step(m: int, change: float, **more: Any) -> dict[str, Any]:
    """A point of the curve as a verified search records it."""
    return {"m": m, "predicted_kept": 0.5, "change": change, "change_error": 0.1, **more}


def test_a_page_shows_what_the_record_holds() -> None:
    """Curve, prediction, classes and search; nothing of what is not there."""
    check = {
        **step(3, 0.8, num_pruned=3, accuracy=0.9, full_accuracy=0.95),
        "class_sizes": {"a": 3, "b": 3},
        "class_pruned": {"a": 1, "b": 2},
    }
    full = make(verification=check, trace=[Progress(0.1, 5, 1, 0.2, None)] * 2)
    full.solution["stats"] = {"curve": [step(1, 0.3, is_verified=True)]}
    titles = [picture.title for picture in pictures_of(full)]
    assert len(titles) == 4
    text = Outline(render_page(full, pictures=pictures_of(full))).text
    assert all(title in text for title in titles)
    assert "Measured over predicted: 0.6 to 1.6" in text
    assert "Most is pruned of b (66.7%), least of a (33.3%)" in text
    assert "90.00%" in text
    assert "The 1 subsets that the search refitted" in text
    assert pictures_of(make()) == []


@pytest.mark.parametrize(
    ("metric", "shown"),
    [
        ("parameter", "Rows searched: the search minimized this one0.6"),
        ("loss", "Rows searched: the search minimized this one0.18"),
    ],
)
def test_a_page_tells_the_predictions_apart(metric: str, shown: str) -> None:
    """Each in its own line, and in the unit of what it predicts; the refit last."""
    check = {
        **step(3, 0.8, predicted_newton=0.7, objective_gap=0.2),
        "predicted_searched": 0.6,
        "searched_metric": metric,
    }
    text = Outline(render_page(make(verification=check))).text
    assert "First order, around all examples0.5" in text
    assert "One Newton step0.7" in text
    assert shown in text
    assert "Refit0.80.2" in text


def test_a_page_says_what_the_test_is_worth_on_new_data() -> None:
    """As changes with their sign; and in the table of the check."""
    check = {
        **step(3, 0.8, accuracy=0.9, full_accuracy=0.95),
        "accuracy_drop_interval": [0.01, 0.09],
        "loss_gap_interval": [-0.002, 0.125],
    }
    text = Outline(render_page(make(verification=check))).text
    assert "-9.00% to -1.00%change of the accuracy on new data" in text
    assert "-0.002 to +0.125change of the loss on new data" in text
    assert "0.01 to 0.09" in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"bound": 3.2, "gap": 0.0}, "At most 3 can be pruned, and this is proved: which proves"),
        ({"bound": 4.9, "gap": 0.25}, "a gap of 25.000%"),
        ({"normalization": "kept"}, "a larger verified subset may exist"),
        ({"epsilon": None, "target_size": 3}, "No bound is proved"),
    ],
)
def test_the_search_is_shown_with_what_is_proved(more: dict[str, Any], words: str) -> None:
    """And no gap where there is none."""
    manifest = make(trace=[Progress(0.1, 5, 1, 0.2, None), Progress(0.2, 9, 3, 0.1, None)])
    manifest.solution.update(more)
    (picture,) = pictures_of(manifest)
    assert words in picture.caption


# --- examples to look at ------------------------------------------------------------------------


MASK = np.array([True, False, False, True])
LABELS = np.array(["<i>", "<i>", "b", "b"])


def test_a_gallery_shows_kept_beside_pruned_of_each_class() -> None:
    """One picture each, as PNG; names are text."""
    pictures = np.arange(4 * 6, dtype=np.uint8).reshape(4, 2, 3)
    page = render_gallery(Looks(pictures=pictures), LABELS, MASK, ["w", "x", "y", "z"])
    outline = Outline(page)
    assert outline.open == []
    assert "i" not in outline.tags
    assert len(outline.sources) == 4
    assert all(source.startswith("data:image/png;base64,") for source in outline.sources)
    kept, pruned = page.index('title="x"'), page.index('title="w"')
    assert kept < pruned < page.index('title="y"')


def test_a_gallery_of_texts_is_escaped_and_short() -> None:
    """Whatever the examples say."""
    texts = ["<script>", "x" * 1000, "fine", "good"]
    outline = Outline(render_gallery(Looks(texts=texts), LABELS, MASK, range(4)))
    assert "script" not in outline.tags
    assert "<script>" in outline.text
    assert "x" * 300 not in outline.text


def test_bytes_are_shown_as_they_are_and_numbers_stretched() -> None:
    """Read back from the PNG."""
    import base64
    import io

    from PIL import Image

    def shown(picture: Any) -> Any:
        content = picture_source(picture).partition(",")[2]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))

    grey = np.array([[7, 250]], dtype=np.uint8)
    assert np.array_equal(shown(grey), grey)
    assert np.array_equal(shown(np.array([[-1.0, 1.0]])), [[0, 255]])
    assert shown(np.zeros((2, 3, 3), dtype=np.uint8)).shape == (2, 3, 3)
    large = shown(np.repeat(np.array([[0, 255]], dtype=np.uint8), [400, 200], axis=1).repeat(99, 0))
    assert max(large.shape) <= 96
    assert (large[0, 0], large[0, -1]) == (0, 255)


def test_pictures_must_be_pictures() -> None:
    """Two channels are no colour."""
    with pytest.raises(ProblemError, match=r"must have the shape \(n, height, width\)"):
        Looks(pictures=np.zeros((3, 2, 2, 2)))
