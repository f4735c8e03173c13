"""What a training loop tells about its examples, in three lines of the loop."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any, Self

import numpy as np
from scipy.special import softmax

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.scores.checks import check_count, check_labels, check_numbers, check_table
from subsetsel.scores.outputs import error_lengths, forgetting_counts, margins_of
from subsetsel.scores.score import Score
from subsetsel.support.files import written_whole
from subsetsel.support.npz import DAMAGE, read_npz

_FORMAT = "subsetsel-recorder-1"
# By example: what is counted over all presentations in training.
_COUNTS = ("num_shown", "num_forgotten", "is_learned", "was_correct", "margin_sum", "labels")
# By epoch and example: the length of the error vector, and how often it was measured.
_LOGS = ("training", "evaluation")


class TrainingRecorder:
    """Logs by example id, so that the order in which a loader gives them does not matter.

    Parameters
    ----------
    n : int
        Number of examples; ids are 0 to n - 1.
    num_classes : int

    Raises
    ------
    ProblemError
        If n is below 1 or num_classes below 2.

    Notes
    -----
    Takes 8 n bytes per epoch, twice that where evaluation passes are logged too, and 34 n bytes
    besides. Logits on a GPU are copied to the host at each call.

    Examples
    --------
    >>> import numpy as np
    >>> from subsetsel import scores
    >>> rec = scores.TrainingRecorder(2, num_classes=2)
    >>> for logits in ([[2, 0], [0, 1]], [[0, 1], [0, 1]]):  # the first is learned, then forgotten
    ...     rec.update(np.array([0, 1]), np.array(logits), np.array([0, 1]))
    ...     rec.end_epoch()
    >>> rec.forgetting().values
    array([1., 0.])
    """

    def __init__(self, n: int, num_classes: int) -> None:
        self.n = check_count(n, "n")
        self.num_classes = check_count(num_classes, "num_classes", 2)
        self.num_epochs = 0
        self._num_shown: IndexArray = np.zeros(n, dtype=np.int64)
        self._num_forgotten: IndexArray = np.zeros(n, dtype=np.int64)
        self._is_learned: BoolArray = np.zeros(n, dtype=np.bool_)
        self._was_correct: BoolArray = np.zeros(n, dtype=np.bool_)
        self._margin_sum: FloatArray = np.zeros(n)
        self._labels: IndexArray = np.full(n, -1, dtype=np.int64)
        self._logs: dict[str, dict[int, tuple[Any, Any]]] = {name: {} for name in _LOGS}

    def update(self, ids: Any, logits: Any, labels: Any, *, is_training: bool = True) -> None:
        """Log one batch.

        Parameters
        ----------
        ids : array_like or tensor of shape (b,), int
            Which examples these are. One that occurs twice was shown twice.
        logits : array_like or tensor of shape (b, C)
            Before the softmax.
        labels : array_like or tensor of shape (b,), int
        is_training : bool
            True for the presentations of the training loop: forgetting and the margin are of
            these. False for a pass in eval mode without augmentation: EL2N is defined on these, and
            is taken from them where there are any.

        Raises
        ------
        ProblemError
            If lengths differ, an id or label is out of range, logits are not finite, or an id comes
            with another label than before. Nothing of the batch is logged then.
        """
        table = check_table(logits, "logits")
        if table.shape[1] != self.num_classes:
            raise ProblemError(
                f"logits have {table.shape[1]} columns, but num_classes is {self.num_classes}."
            )
        classes = check_labels(labels, len(table), self.num_classes)
        places = self._check_ids(ids, classes)
        margins = margins_of(table, classes)
        errors = error_lengths(softmax(table, axis=1), classes)
        self._labels[places] = classes
        self._log("training" if is_training else "evaluation", places, errors)
        if is_training:
            np.add.at(self._margin_sum, places, margins)
            # By the margin, not by arg-max: a tie is no right answer, whichever column comes first.
            is_correct = margins > 0
            if len(np.unique(places)) == len(places):
                self._present(places, is_correct)
            else:
                for row in range(len(places)):
                    self._present(places[[row]], is_correct[[row]])

    def end_epoch(self) -> None:
        """Say that an epoch is over; the first one that ends is epoch 1.

        Raises
        ------
        ProblemError
            If nothing was logged since the last one.
        """
        if not any(self.num_epochs + 1 in log for log in self._logs.values()):
            raise ProblemError("no batch was logged since the last epoch ended; call update first.")
        self.num_epochs += 1

    def forgetting(self) -> Score:
        """Forgetting counts of all presentations so far; see `subsetsel.scores.forgetting`."""
        self._demand_all(self._num_shown, "was never shown in training")
        values = forgetting_counts(
            self._num_forgotten, self._is_learned, int(self._num_shown.max())
        )
        return Score("forgetting", values, "highest", {"num_presentations": self._presentations()})

    def aum(self) -> Score:
        """Mean margin over all presentations so far; see `subsetsel.scores.aum`."""
        self._demand_all(self._num_shown, "was never shown in training")
        values = self._margin_sum / self._num_shown
        return Score("aum", values, "lowest", {"num_presentations": self._presentations()})

    def el2n(self, epochs: int | Iterable[int] | None = None) -> Score:
        """Length of the error vector, averaged over epochs; see `subsetsel.scores.el2n`.

        Parameters
        ----------
        epochs : int or iterable of int, optional
            Epochs that have ended, counted from 1; all of them by default. The paper reads one
            epoch, 20 of 200, and averages over runs: see `subsetsel.scores.average`.

        Returns
        -------
        Score
            ``about["logits"]`` says what it was read from: "evaluation" passes if any were logged
            in these epochs, else the "training" presentations, which are augmented and made while
            the network changes: an approximation of the definition.

        Raises
        ------
        ProblemError
            If an epoch has not ended, or an example was not logged in any of them.
        """
        wanted = self._epochs(epochs)
        source = "evaluation" if any(t in self._logs["evaluation"] for t in wanted) else "training"
        total, num_logged = np.zeros(self.n), np.zeros(self.n, dtype=np.int64)
        for epoch in wanted:
            if epoch in self._logs[source]:
                sums, counts = self._logs[source][epoch]
                is_logged = counts > 0
                total[is_logged] += sums[is_logged] / counts[is_logged]
                num_logged += is_logged
        self._demand_all(num_logged, f"has no {source} logits in the epochs asked for")
        return Score("el2n", total / num_logged, "highest", {"epochs": wanted, "logits": source})

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything logged so far, also within an epoch; `load` goes on from there.

        Parameters
        ----------
        path : str or path-like
            An ``.npz`` file, written whole or not at all, read without pickle.
        """
        arrays = {name: getattr(self, f"_{name}") for name in _COUNTS}
        for source, log in self._logs.items():
            epochs = sorted(log)
            arrays[f"{source}_epochs"] = np.array(epochs, dtype=np.int64)
            for column, name in enumerate(("sums", "counts")):
                table = [log[epoch][column] for epoch in epochs]
                arrays[f"{source}_{name}"] = np.array(table).reshape(len(epochs), self.n)
        with written_whole(path) as part, part.open("wb") as stream:
            np.savez_compressed(
                stream,
                format=np.array(_FORMAT),
                num_classes=np.array(self.num_classes),
                num_epochs=np.array(self.num_epochs),
                **arrays,
            )

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read what `save` wrote.

        Returns
        -------
        TrainingRecorder
            Goes on where the other one was.

        Raises
        ------
        FileFormatError
            If the file is something else, is truncated, or contradicts itself.
        FileNotFoundError
            If there is no such file.
        """
        names = ["format", "num_classes", "num_epochs", *_COUNTS]
        names += [f"{source}_{name}" for source in _LOGS for name in ("epochs", "sums", "counts")]
        try:
            return cls._from_arrays(read_npz(path, names))
        except FileNotFoundError:
            raise
        except DAMAGE as error:
            raise FileFormatError(
                f"{path} was not written by TrainingRecorder.save, or is damaged: "
                f"{str(error).removeprefix(f'{path}: ').rstrip('.')}."
            ) from error

    @classmethod
    def _from_arrays(cls, data: dict[str, Any]) -> Self:
        if str(data["format"]) != _FORMAT:
            raise ValueError(f"its format is not {_FORMAT!r}")
        recorder = cls(len(data["labels"]), int(data["num_classes"]))
        recorder.num_epochs = int(data["num_epochs"])
        for name in _COUNTS:
            own = getattr(recorder, f"_{name}")
            if data[name].shape != own.shape or data[name].dtype != own.dtype:
                raise ValueError(f"{name} is {data[name].dtype} of shape {data[name].shape}")
            setattr(recorder, f"_{name}", data[name])
        labels = recorder._labels
        if ((labels < -1) | (labels >= recorder.num_classes)).any():
            raise ValueError(f"a label lies outside 0 to {recorder.num_classes - 1}")
        for source in _LOGS:
            sums, counts = data[f"{source}_sums"], data[f"{source}_counts"]
            epochs = data[f"{source}_epochs"].tolist()
            if not sums.shape == counts.shape == (len(epochs), recorder.n):
                raise ValueError(f"the log of {source} has the shape {sums.shape}")
            # An empty log has no type of its own.
            if epochs and (sums.dtype, counts.dtype) != (np.float32, np.int32):
                raise ValueError(f"the log of {source} is {sums.dtype} and {counts.dtype}")
            # Bounds, not a range: the number of epochs is whatever the file claims.
            if not all(type(t) is int and 1 <= t <= recorder.num_epochs + 1 for t in epochs):
                raise ValueError(f"the log of {source} speaks of other epochs")
            if len(set(epochs)) < len(epochs):
                raise ValueError(f"the log of {source} has an epoch twice")
            recorder._logs[source] = {
                epoch: (sums[row].copy(), counts[row].copy()) for row, epoch in enumerate(epochs)
            }
        return recorder

    def _check_ids(self, ids: Any, classes: IndexArray) -> IndexArray:
        places = check_numbers(ids, "ids")
        if places.dtype.kind not in "iu" or places.shape != classes.shape:
            raise ProblemError(
                f"ids must be one integer per row of logits, shape ({len(classes)},); got "
                f"{places.dtype} of shape {places.shape}."
            )
        bad = np.flatnonzero((places < 0) | (places >= self.n))
        if bad.size:
            raise ProblemError(f"ids must lie in 0 to {self.n - 1}, but one is {places[bad[0]]}.")
        places = places.astype(np.int64)
        known = self._labels[places]
        other = np.flatnonzero((known >= 0) & (known != classes))
        if other.size:
            one = other[0]
            raise ProblemError(
                f"example {places[one]} has the label {classes[one]} now and had {known[one]} "
                "before: ids and labels do not belong together; let the data set give the id."
            )
        return places

    def _log(self, source: str, places: IndexArray, errors: FloatArray) -> None:
        blank = np.zeros(self.n, dtype=np.float32), np.zeros(self.n, dtype=np.int32)
        sums, counts = self._logs[source].setdefault(self.num_epochs + 1, blank)
        np.add.at(sums, places, errors.astype(np.float32))
        np.add.at(counts, places, 1)

    def _present(self, places: IndexArray, is_correct: BoolArray) -> None:
        """Count one presentation each of examples that are all different."""
        self._num_forgotten[places] += self._was_correct[places] & ~is_correct
        self._was_correct[places] = is_correct
        self._is_learned[places] |= is_correct
        self._num_shown[places] += 1

    def _epochs(self, epochs: int | Iterable[int] | None) -> list[int]:
        if epochs is None:
            wanted = list(range(1, self.num_epochs + 1))
        else:
            wanted = [epochs] if isinstance(epochs, (int, np.integer)) else list(epochs)
        if not wanted:
            raise ProblemError("no epoch has ended yet, or none was asked for.")
        for epoch in wanted:
            if not 1 <= epoch <= self.num_epochs:
                raise ProblemError(
                    f"epochs are counted from 1, and {self.num_epochs} have ended; got {epoch!r}."
                )
        return [int(epoch) for epoch in wanted]

    def _demand_all(self, counts: IndexArray, what: str) -> None:
        missing = np.flatnonzero(counts == 0)
        if missing.size:
            raise ProblemError(
                f"example {missing[0]} {what} ({missing.size} of {self.n} such examples); a score "
                "needs all of them."
            )

    def _presentations(self) -> list[int]:
        return [int(self._num_shown.min()), int(self._num_shown.max())]
