"""The recorder: counts by example id, whatever the loader's order; saved, loaded, resumed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from subsetsel import FileFormatError, ProblemError, scores
from subsetsel.scores import TrainingRecorder


def recorded(logits: Any, y: Any, seed: int = 0, batch_size: int = 3) -> TrainingRecorder:
    """A loop over logits of shape (epochs, n, C), shuffled anew in each epoch."""
    rng = np.random.default_rng(seed)
    recorder = TrainingRecorder(logits.shape[1], logits.shape[2])
    for epoch in logits:
        order = rng.permutation(len(epoch))
        for start in range(0, len(order), batch_size):
            ids = order[start : start + batch_size]
            recorder.update(ids, epoch[ids], y[ids])
        recorder.end_epoch()
    return recorder


@settings(deadline=None)
@given(st.data())
def test_a_shuffled_loop_counts_as_the_definition_does(data: st.DataObject) -> None:
    """Forgetting, EL2N and the margin of the recorder are those of the whole history."""
    draw = data.draw
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 9)), draw(st.integers(2, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    logits, y = rng.normal(size=shape), rng.integers(0, shape[2], shape[1])
    seed, batch_size = draw(st.integers(0, 99)), draw(st.integers(1, 9))
    recorder = recorded(logits, y, seed, batch_size)
    right = logits.argmax(axis=2) == y
    np.testing.assert_array_equal(recorder.forgetting().values, scores.forgetting(right).values)
    counted = [
        sum(a and not b for a, b in pairwise(one)) if one.any() else shape[0] for one in right.T
    ]
    np.testing.assert_array_equal(recorder.forgetting().values, counted)
    np.testing.assert_allclose(
        recorder.el2n().values, scores.el2n(softmax(logits, axis=2), y).values, rtol=1e-5
    )
    np.testing.assert_allclose(recorder.aum().values, scores.aum(logits, y).values, atol=1e-12)


def test_an_example_shown_twice_in_a_batch_was_shown_twice() -> None:
    """In the order of the batch; writing all rows at once would lose one of them."""
    right, wrong = [1.0, 0.0], [0.0, 1.0]
    recorder = TrainingRecorder(2, 2)
    recorder.update([0, 1, 0, 0, 1], [right, right, wrong, right, right], [0] * 5)
    recorder.update([0], [wrong], [0])
    recorder.end_epoch()
    np.testing.assert_array_equal(recorder.forgetting().values, [2, 0])
    np.testing.assert_allclose(recorder.aum().values, [0, 1])
    error = np.linalg.norm(softmax(right) - [1, 0]), np.linalg.norm(softmax(wrong) - [1, 0])
    np.testing.assert_allclose(recorder.el2n().values, [np.mean(error), error[0]], rtol=1e-6)


def test_never_learned_ties_at_the_top_also_where_presentations_differ() -> None:
    """An epoch that is not over has shown some examples once more."""
    recorder = TrainingRecorder(3, 2)
    for ids in ([0, 1, 2], [0, 1, 2], [0]):
        recorder.update(ids, np.array([[1.0, 0.0]] * 3)[ids], np.array([1, 1, 0])[ids])
    np.testing.assert_array_equal(recorder.forgetting().values, [3, 3, 0])


def test_a_tie_is_no_right_answer() -> None:
    """Arg-max would find the first class right, whichever way it went."""
    recorder = TrainingRecorder(2, 2)
    recorder.update([0, 1], np.zeros((2, 2)), [0, 1])
    np.testing.assert_array_equal(recorder.forgetting().values, [1, 1])


def test_el2n_prefers_evaluation_passes() -> None:
    """Logits of training are augmented and in train mode: by definition they do not count."""
    recorder = TrainingRecorder(1, 2)
    recorder.update([0], [[5.0, 0.0]], [0])
    recorder.update([0], [[0.0, 0.0]], [0], is_training=False)
    recorder.end_epoch()
    recorder.update([0], [[5.0, 0.0]], [0])
    recorder.end_epoch()
    assert recorder.el2n(1).values[0] == pytest.approx(np.sqrt(0.5))
    assert recorder.el2n(1).about == {"epochs": [1], "logits": "evaluation"}
    assert recorder.el2n(2).about["logits"] == "training"
    assert recorder.el2n(2).values[0] < 0.1


def test_an_evaluation_pass_is_no_presentation() -> None:
    """Forgetting and the margin are of the training loop alone."""
    recorder = TrainingRecorder(1, 2)
    for logits, is_training in (([1.0, 0.0], True), ([0.0, 9.0], False), ([1.0, 0.0], True)):
        recorder.update([0], [logits], [0], is_training=is_training)
    assert recorder.forgetting().values[0] == 0
    assert recorder.aum().values[0] == 1


def test_epochs_are_chosen_and_counted_from_one() -> None:
    """Epoch 2 is what was logged between the first and the second end."""
    y = np.zeros(2, dtype=int)
    logits = np.array([[[0.0, 0.0]] * 2, [[9.0, 0.0]] * 2, [[0.0, 9.0]] * 2])
    recorder = recorded(logits, y)
    lengths = [scores.el2n(softmax(one, axis=1), y).values for one in logits]
    np.testing.assert_allclose(recorder.el2n(2).values, lengths[1], rtol=1e-5)
    np.testing.assert_allclose(
        recorder.el2n([1, 3]).values, np.mean([lengths[0], lengths[2]], axis=0), rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_are_taken_as_they_come_from_a_loop(dtype: torch.dtype) -> None:
    """With gradients, and of any floating type."""
    recorder = TrainingRecorder(3, 2)
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]], dtype=dtype, requires_grad=True)
    recorder.update(torch.tensor([2, 0, 1]), logits, torch.tensor([0, 1, 1]))
    np.testing.assert_allclose(recorder.aum().values, [2, -1, 1])


def test_large_logits_do_not_overflow() -> None:
    """Their softmax is taken from differences."""
    recorder = TrainingRecorder(1, 2)
    recorder.update([0], [[1e4, -1e4]], [1])
    recorder.end_epoch()
    assert recorder.el2n().values[0] == pytest.approx(np.sqrt(2))


# --- files --------------------------------------------------------------------------------------


def test_a_run_that_is_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    """Saved in the middle of an epoch, loaded, continued: as if it had never stopped."""
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(4, 10, 3)), rng.integers(0, 3, 10)
    whole, part = TrainingRecorder(10, 3), TrainingRecorder(10, 3)
    for epoch, one in enumerate(logits):
        for ids in np.split(rng.permutation(10), 2):
            for recorder in (whole, part):
                recorder.update(ids, one[ids], y[ids], is_training=epoch != 1)
            part.save(tmp_path / "log.npz")
            part = TrainingRecorder.load(tmp_path / "log.npz")
        whole.end_epoch()
        part.end_epoch()
    assert (part.n, part.num_classes, part.num_epochs) == (10, 3, 4)
    for name in ("forgetting", "el2n", "aum"):
        np.testing.assert_array_equal(getattr(part, name)().values, getattr(whole, name)().values)
    with pytest.raises(ProblemError, match="do not belong together"):
        part.update([0], [[0.0] * 3], [(y[0] + 1) % 3])


def test_an_empty_recorder_is_saved_and_loaded(tmp_path: Path) -> None:
    """Before the first batch there is nothing to lose, and nothing breaks."""
    TrainingRecorder(4, 2).save(tmp_path / "log.npz")
    assert TrainingRecorder.load(tmp_path / "log.npz").num_epochs == 0


def test_a_damaged_file_is_no_recorder(tmp_path: Path) -> None:
    """Truncated, of another format, or contradicting itself."""
    path = tmp_path / "log.npz"
    recorder = recorded(np.zeros((2, 3, 2)), np.array([0, 1, 0]))
    recorder.save(path)
    content = path.read_bytes()
    with np.load(path) as data:
        arrays = dict(data)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match=r"TrainingRecorder\.save"):
        TrainingRecorder.load(path)
    for name, value in (
        ("format", np.array("something else")),
        ("margin_sum", np.zeros(2)),
        ("training_sums", np.zeros((2, 2), dtype=np.float32)),
        ("training_epochs", np.array([1, 9])),
    ):
        np.savez(path, **{**arrays, name: value})
        with pytest.raises(FileFormatError):
            TrainingRecorder.load(path)
    with pytest.raises(FileNotFoundError):
        TrainingRecorder.load(tmp_path / "nothing.npz")


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0], [[1.0, 2.0, 3.0]], [0]), "logits have 3 columns, but num_classes is 2"),
        (([3], [[1.0, 2.0]], [0]), "ids must lie in 0 to 2"),
        (([-1], [[1.0, 2.0]], [0]), "ids must lie in 0 to 2"),
        (([0, 1], [[1.0, 2.0]], [0]), "one integer per row of logits"),
        (([0.0], [[1.0, 2.0]], [0]), "one integer per row of logits"),
        (([0], [[1.0, 2.0]], [2]), "labels from 0 to 1"),
        (([0], [[1.0, np.nan]], [0]), "logits must be finite"),
        (([0], [[1.0, 2.0]], [1]), "example 0 has the label 1 now and had 0 before"),
    ],
)
def test_a_bad_batch_is_refused_and_leaves_no_trace(arguments: Any, words: str) -> None:
    """What was logged before is as it was."""
    recorder = TrainingRecorder(3, 2)
    recorder.update([0, 1, 2], [[1.0, 0.0]] * 3, [0, 1, 0])
    before = recorder.aum().values
    with pytest.raises(ProblemError, match=words):
        recorder.update(*arguments)
    np.testing.assert_array_equal(recorder.aum().values, before)


def test_every_example_must_have_been_shown() -> None:
    """A zero for the others would be a score of nothing."""
    recorder = TrainingRecorder(3, 2)
    recorder.update([0, 2], [[1.0, 0.0]] * 2, [0, 0])
    recorder.end_epoch()
    for ask in (recorder.forgetting, recorder.aum, recorder.el2n):
        with pytest.raises(ProblemError, match="example 1 "):
            ask()


@pytest.mark.parametrize("epochs", [0, 2, [1, 2], []])
def test_only_epochs_that_have_ended_can_be_asked_for(epochs: Any) -> None:
    """They are counted from 1."""
    recorder = recorded(np.zeros((1, 2, 2)), np.array([0, 1]))
    with pytest.raises(ProblemError, match="epoch"):
        recorder.el2n(epochs)


def test_an_epoch_without_a_batch_does_not_end() -> None:
    """Most often the call stands in the wrong loop."""
    recorder = TrainingRecorder(2, 2)
    with pytest.raises(ProblemError, match="call update first"):
        recorder.end_epoch()


@pytest.mark.parametrize(("n", "num_classes"), [(0, 2), (3, 1), (2.5, 2), (True, 2)])
def test_a_recorder_needs_examples_and_classes(n: Any, num_classes: Any) -> None:
    """At least one and two."""
    with pytest.raises(ProblemError, match="must be an integer of at least"):
        TrainingRecorder(n, num_classes)
