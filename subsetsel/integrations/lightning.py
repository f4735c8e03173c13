"""PyTorch Lightning: a callback that keeps what the classifier is given."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

import torch

from subsetsel.errors import ProblemError
from subsetsel.influence.features.batches import OrderedData, split_batch
from subsetsel.influence.features.capture import Capture, ModelFeatures, Pooling, find_classifier
from subsetsel.influence.features.items import Names
from subsetsel.influence.head.fit import fit_head
from subsetsel.problem.problem import Problem
from subsetsel.support.labels import to_labels
from subsetsel.support.optional import import_extra


def _callback() -> Any:
    """Find the base class; Lightning is installed and imported under either of two names."""
    module = "lightning.pytorch"
    if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
        module = "pytorch_lightning"
    return import_extra(module, "lightning", "Lightning callbacks").Callback


class FeatureCapture(_callback()):  # type: ignore[misc]
    """Store what the classifier is given while a `Trainer` validates or tests.

    The trainer's own pass is used, on its device and in its precision. It must be a whole pass over
    one loader in one process, and the loader must not shuffle, so that row i is example i. A
    prediction is not captured: Lightning then wraps the sampler, and hides whether it shuffles.
    `Problem.from_model` does the same without a trainer.

    Parameters
    ----------
    classifier : str, optional
        Name of the layer that gives the logits; by default it is found by its output.
    pooling : {"first", "last", "mean"}, optional
        Which position speaks for a sequence, where the classifier works on all of them.
    labels, inputs : optional
        Which items or keys of a batch they are, as in `Problem.from_model`.

    Attributes
    ----------
    found : ModelFeatures or None
        ``X``, ``y``, ``num_classes``, ``theta``, ``classifier`` of the last pass.

    Examples
    --------
    ::

        capture = FeatureCapture()
        trainer = Trainer(callbacks=[capture], logger=False)
        trainer.validate(model, DataLoader(train_set, batch_size=256))
        problem = capture.problem(l2=5e-4, fraction=0.4)
    """

    def __init__(
        self,
        classifier: str | None = None,
        pooling: Pooling | None = None,
        *,
        labels: Names = None,
        inputs: Names = None,
    ) -> None:
        super().__init__()
        self.labels = labels
        self.inputs = inputs
        self.classifier = classifier
        self.pooling = pooling
        self.found: ModelFeatures | None = None
        self._capture: Capture | None = None
        self._hook = ExitStack()
        self._rows: list[tuple[torch.Tensor, torch.Tensor]] = []

    def problem(self, *, l2: float, device: str = "auto", **question: Any) -> Problem:
        """Train the classifier to its minimum on what was captured, and ask.

        Parameters
        ----------
        l2 : float
            Weight decay the model was trained with.
        device : str
            Of the algebra.
        **question
            As in `Problem.from_head`: a goal, formulation, limits.

        Returns
        -------
        Problem
            With S of the refitted classifier.

        Raises
        ------
        ProblemError
            If nothing was captured yet.
        """
        if self.found is None:
            raise ProblemError(
                "nothing was captured: run trainer.validate(model, loader) with this callback, "
                "over the training examples in their own order."
            )
        found = self.found
        known: dict[str, Any] = {"num_classes": found.num_classes, "theta": found.theta}
        head = fit_head(found.X, found.y, l2=l2, device=device, **known)
        return Problem.from_head(head, **question)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a pass."""
        self._begin(trainer, trainer.val_dataloaders)

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a pass."""
        self._begin(trainer, trainer.test_dataloaders)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, *numbers: int
    ) -> None:
        """Find the classifier with the first batch, and hook into it."""
        if self._is_skipped or self._capture is not None:
            return
        parts = split_batch(batch, pl_module.device, self.labels, self.inputs)
        name = find_classifier(pl_module, parts, self.classifier, self.pooling)
        self._capture = Capture(pl_module, name, self.pooling)
        self._hook.enter_context(self._capture.attached())

    on_test_batch_start = on_validation_batch_start

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, *numbers: int
    ) -> None:
        """Store what the classifier was given for one batch."""
        if self._capture is not None:
            parts = split_batch(batch, pl_module.device, self.labels, self.inputs)
            self._rows.append((self._capture.take(parts), parts.labels))

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Join the batches of the pass."""
        capture = self._capture
        if capture is None:
            return
        rows, given = (torch.cat(parts) for parts in zip(*self._rows, strict=True))
        self._forget()
        if len(rows) != self._n:
            raise ProblemError(
                f"the pass saw {len(rows)} of {self._n} examples; lift limit_val_batches and its "
                "like."
            )
        labels = to_labels(given, "labels")
        self.found = capture.model_features(rows.numpy(), labels)

    on_test_end = on_validation_end

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Take the hook off whatever happens."""
        self._forget()

    def _begin(self, trainer: Any, loaders: Any) -> None:
        self._forget()
        self._is_skipped = trainer.sanity_checking
        if self._is_skipped:
            return
        if trainer.world_size > 1:
            raise ProblemError(
                f"{trainer.world_size} processes share the examples, so which is which would be "
                "lost; capture with Trainer(devices=1)."
            )
        if isinstance(loaders, (list, tuple)):
            if len(loaders) != 1:
                raise ProblemError(f"FeatureCapture reads one loader, got {len(loaders)}.")
            (loaders,) = loaders
        # Refuses a loader that shuffles, drops or samples.
        self._n = OrderedData(loaders).n

    def _forget(self) -> None:
        self._hook.close()
        self._rows.clear()
        self._capture = None
