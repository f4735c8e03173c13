"""What people read: text for terminals and HTML for notebooks, from the same facts."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from subsetsel import Problem, Solution, Verification


class Tags(HTMLParser):
    """Collects tags and text, and sees that tags close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note a tag."""
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Collect text."""
        self.text += data


def shown(thing: Any) -> Tags:
    """What a notebook is given."""
    return Tags(thing._repr_html_())


def check(**more: Any) -> Verification:
    """A check of two pruned of six."""
    numbers: dict[str, Any] = dict.fromkeys(
        ("change_error", "predicted_full", "predicted_kept", "predicted_newton", "objective_gap"),
        0.1,
    )
    return Verification(n=6, num_pruned=2, change=0.5, curvature=0.9, **numbers, **more)


def test_a_notebook_shows_what_the_text_says() -> None:
    """Every fact of `print(solution)` is in the table, and no script."""
    mask = np.isin(np.arange(6), [1, 4])
    solution = Solution(mask=mask, norm=0.5, status="feasible", epsilon=1.0, bound=3.2)
    page = shown(solution)
    for words in ("feasible", "2 of 6 (33.3%), kept 4", "<= epsilon = 1", "at most 3 can be"):
        assert words in page.text
        assert words in str(solution)
    assert page.tags <= {"div", "strong", "table", "tr", "th", "td"}


def test_a_notebook_shows_the_question() -> None:
    """Of a bare S, and of one with a head behind it."""
    text = shown(Problem(np.eye(4), size=2, must_keep=[0])).text
    assert "prune 2, with the smallest" in text
    assert "must_keep1 examples" in text
    X = np.random.default_rng(0).normal(size=(30, 2))
    text = shown(Problem.from_features(X, X[:, 0] > 0, l2=0.1, epsilon=0.5)).text
    assert "n / (n - m) <= 0.5 allows" in text
    assert "2 classes, l2 = 0.1" in text


@pytest.mark.parametrize(
    ("is_verified", "words", "colour"),
    [
        (True, "verified", "#0b5394"),
        (False, "NOT verified", "#c1440e"),
        (None, "refitted", "#8a8f98"),
    ],
)
def test_a_notebook_shows_the_verdict(is_verified: bool | None, words: str, colour: str) -> None:
    """In words and in a colour; the scope is never left out."""
    one = check(epsilon=0.55, is_verified=is_verified)
    page = shown(one)
    assert page.text.startswith(f"Verification {words}")
    assert colour in one._repr_html_()
    assert "not the retrained network" in page.text


def test_names_that_look_like_html_are_text() -> None:
    """A class may be called anything."""
    page = shown(check(class_sizes={"<b>": 3}, class_pruned={"<b>": 2}))
    assert "most pruned: <b>, 2 of 3" in page.text
    assert "b" not in page.tags


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("parameter", "0.3 by the rows searched, which the search minimized"),
        (
            "loss",
            "training objective +0.045 by the rows searched, which the search minimized; +0.1",
        ),
    ],
)
def test_the_predictions_are_told_apart(metric: Any, words: str) -> None:
    """First order, one Newton step, what was searched; from `verify` alone nothing was."""
    one = check(predicted_searched=0.3, searched_metric=metric)
    for page in (str(one), shown(one).text):
        assert words in page
        assert "0.1 to first order" in page
        assert "0.1 by one Newton step" in page
    assert "minimized" not in str(check())


def test_the_text_says_what_the_test_is_worth_on_new_data() -> None:
    """As changes with their sign; of too few examples it says that."""
    seen = {"accuracy": 0.9, "full_accuracy": 0.95, "loss_gap": 0.1}
    one = check(**seen, accuracy_drop_interval=(0.01, 0.09), loss_gap_interval=(-0.05, 0.25))
    few = check(**seen, accuracy_drop_interval=(0.01, 0.09))
    assert "95 % confidence accuracy -9.00% to -1.00%, loss -0.05 to +0.25" in str(one)
    assert "of the loss the test examples are too few to say" in str(few)
