"""The page about a selection: what was tried, and what was confirmed beside random."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from statistics import fmean

from subsetsel.problem.selected import Selected, Tried
from subsetsel.support.text import spoken_time

# The fixed rules and the best; the manifest has all.
MAX_TRIALS = 40
MAX_REASONS, MAX_LETTERS = 5, 200


def tiles_of(selected: Selected) -> list[tuple[str, str]]:
    """Give the few numbers that people look for first, each with what it is."""
    tiles = []
    if selected.is_confirmed:
        one = selected.winner
        gain, _, interval = selected.gain(one, sign="+").partition(" (")
        tiles += [
            (gain, f"ahead of random ({interval.rstrip(')')} with 95 % confidence)"),
            (_score(fmean(one.values)), f"mean score; {_score(fmean(one.random))} of random"),
        ]
    each = f"{spoken_time(selected.training_time)} in them"
    return [*tiles, (f"{selected.num_trainings:,}", f"trainings; {each}")]


def render_selection(selected: Selected) -> str:
    """Show what was compared on fresh seeds, what was tried, and what stands out.

    Parameters
    ----------
    selected : Selected

    Returns
    -------
    str
        HTML; every text is escaped.
    """
    parts = [
        f'<p class="caption">{escape(f"What came back ({selected.rule}): {selected.recipe}.")}</p>'
    ]
    if not selected.trials:
        parts = []
    remarks = "".join(f"<li>{escape(_short(text))}</li>" for text in selected.remarks)
    if remarks:
        parts.append(f"<h2>What stands out in the trainings</h2><ul>{remarks}</ul>")
    if selected.confirmations:
        parts.append(f"<h2>Beside random, on fresh seeds</h2>{_beside(selected)}")
    if selected.trials:
        parts.append(f"<h2>Trials</h2>{_trials(selected)}")
    return "".join(parts)


def _beside(selected: Selected) -> str:
    titles = ("rule", "composition", "score", "random", "ahead of random", "pairs")
    rows = [
        (
            one.rule + selected.trial_of(one, ", "),
            str(one.recipe),
            _score(fmean(one.values)),
            _score(fmean(one.random)),
            selected.gain(one, sign="+"),
            str(len(one.values)),
        )
        for one in selected.confirmations
    ]
    chosen = [selected.came_back(one) for one in selected.confirmations]
    note = (
        "A pair is one training of the rule and one of random with the same seed, judged on the "
        "same examples, which were set aside anew for each pair. In brackets: the 95 % interval of "
        "the mean difference."
    )
    return f'{_table(titles, rows, chosen)}<p class="caption">{note}</p>'


def _trials(selected: Selected) -> str:
    """List the best trials and the fixed rules, best first, and why others failed."""
    ranked = selected.ranked
    shown = _shown(ranked)
    has_scores = len({one.recipe.score for one in ranked}) > 1
    titles = ["trial", "rule", "score", *(["difficulty"] if has_scores else [])]
    titles += ["hard end left out", "easy end left out", "evenness", "class balance"]
    rows = [
        [
            str(one.number),
            one.rule + ("" if one.state == "finished" else f" ({one.state})"),
            _score(one.value),
            *([one.recipe.score if one.recipe.is_by_difficulty else ""] if has_scores else []),
            *(_percent(share) for share in (one.recipe.hard_cut, one.recipe.easy_cut)),
            *(f"{share:.2f}" for share in (one.recipe.evenness, one.recipe.class_balance)),
            one.recipe.chosen,
            f"{one.seconds:.1f}",
        ]
        for one in shown
    ]
    chosen = [selected.came_back(one) for one in shown]
    table = _table([*titles, "choice", "seconds"], rows, chosen)
    lines = [f'<p class="caption">{escape(_what_a_trial_is(selected, len(shown)))}</p>', table]
    if len(ranked) < len(selected.trials):
        lines.append(f"<ul>{_failures(selected.trials)}</ul>")
    return "".join(lines)


def _what_a_trial_is(selected: Selected, num_shown: int) -> str:
    share = selected.search_budget
    length = "One training each" if share == 1 else f"One training each, {share:.0%} of a whole one"
    text = (
        f"{length}, judged on the same {selected.num_held_out:,} examples that were set aside "
        "before anything was chosen; higher is better. The best of many owes a part of its lead to "
        "luck, so that what is claimed goes by the trainings on fresh seeds."
    )
    if num_shown < len(selected.ranked):
        text += (
            f" Shown are {num_shown} of {len(selected.trials):,}: the fixed rules and the best; "
            "the manifest has them all."
        )
    return text


def _failures(trials: Iterable[Tried]) -> str:
    """Count why trials gave no score."""
    reasons = Counter(one.reason or "no reason given" for one in trials if one.value is None)
    lines = [
        f"<li>{count:,} without a score: {escape(_short(reason))}</li>"
        for reason, count in reasons.most_common(MAX_REASONS)
    ]
    rest = len(reasons) - MAX_REASONS
    return "".join(lines) + (f"<li>and {rest:,} other reasons</li>" if rest > 0 else "")


def _shown(ranked: Sequence[Tried]) -> list[Tried]:
    """Take the fixed rules and the best others, in their order."""
    places = range(len(ranked))
    fixed = [i for i in places if ranked[i].rule not in {"searched", "earlier"}][:MAX_TRIALS]
    others = [i for i in places if i not in set(fixed)][: MAX_TRIALS - len(fixed)]
    return [ranked[i] for i in sorted([*fixed, *others])]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], chosen: Sequence[bool]) -> str:
    """Write a table; the rows that came back stand out."""
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    lines = [
        f"<tr{' class=back' if is_chosen else ''}>"
        + "".join(f"<td>{escape(_short(cell))}</td>" for cell in row)
        + "</tr>"
        for row, is_chosen in zip(rows, chosen, strict=True)
    ]
    return (
        f'<div class="scrolls"><table class="trials"><tr>{head}</tr>{"".join(lines)}</table></div>'
    )


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_LETTERS else text[: MAX_LETTERS - 1].rstrip() + "…"
