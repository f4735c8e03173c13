"""Other libraries' data to problems, and subsets back to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import subsetsel
from subsetsel import ProblemError, Solution
from subsetsel.errors import MissingExtraError
from subsetsel.integrations import take_kept, take_pruned

N = 6
SOLUTION = Solution(mask=np.isin(np.arange(N), [1, 4]), norm=0.5, status="feasible")
KEPT, PRUNED = [0, 2, 3, 5], [1, 4]
X = np.arange(2.0 * N).reshape(N, 2)


# --- taking -------------------------------------------------------------------------------------


class Frame:
    """What taking asks of a frame of polars, and no more: an index of row numbers."""

    __module__ = "polars.dataframe.frame"

    def __init__(self, rows: list[str]) -> None:
        self.rows, self.shape = rows, (len(rows), 1)

    def __getitem__(self, indices: Any) -> Frame:
        return Frame([self.rows[i] for i in indices])


def test_rows_of_a_frame_without_iloc_are_taken_by_number() -> None:
    """A frame of polars is no sequence of rows and has no iloc."""
    frame = Frame(list("abcdef"))
    assert take_kept(frame, SOLUTION).rows == list("acdf")
    assert take_pruned(frame, SOLUTION).rows == list("be")


def test_rows_of_a_polars_frame_are_taken() -> None:
    """The real thing, where it is installed."""
    polars = pytest.importorskip("polars", reason="needs polars")
    frame = polars.DataFrame({"text": list("abcdef")})
    assert take_kept(frame, SOLUTION)["text"].to_list() == list("acdf")
    assert take_pruned(frame["text"], SOLUTION).to_list() == list("be")


@pytest.mark.parametrize("kind", ["array", "list", "tuple", "sparse", "frame", "tensor", "arrow"])
def test_what_is_kept_is_of_the_same_kind(kind: str) -> None:
    """Kept and pruned together are everything, in order."""
    data: Any = list(range(N))
    if kind == "array":
        data = np.arange(N)
    elif kind == "tuple":
        data = tuple(data)
    elif kind == "sparse":
        import scipy.sparse

        data = scipy.sparse.csr_array(np.arange(N)[:, None])
    elif kind == "frame":
        data = pytest.importorskip("pandas", reason="needs pandas").DataFrame({"i": data})
    elif kind == "tensor":
        import torch

        data = torch.arange(N)
    elif kind == "arrow":
        data = pytest.importorskip("pyarrow", reason="needs pyarrow").table({"i": data})
    for part, want in ((take_kept(data, SOLUTION), KEPT), (take_pruned(data, SOLUTION), PRUNED)):
        assert type(part) is type(data)
        numbers = part.toarray() if kind == "sparse" else part
        numbers = part.column("i") if kind == "arrow" else numbers
        assert np.asarray(numbers).ravel().tolist() == want


def test_a_torch_data_set_becomes_a_subset() -> None:
    """With plain integers, which every data set understands."""
    import torch

    data = torch.utils.data.TensorDataset(torch.arange(N))
    part = take_kept(data, SOLUTION)
    assert isinstance(part, torch.utils.data.Subset)
    assert [int(part[i][0]) for i in range(len(part))] == KEPT
    assert all(type(i) is int for i in part.indices)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, 2], "speaks of 6 examples, and this list holds 2"),
        (iter(range(N)), "has no length"),
        ({i: i for i in range(N)}, "a dict holds 6 parts"),
    ],
)
def test_what_was_not_pruned_is_refused(data: Any, message: str) -> None:
    """Other data, or none that can be numbered."""
    with pytest.raises(ProblemError, match=message):
        take_kept(data, SOLUTION)


def test_taking_loads_nothing(tmp_path: Path) -> None:
    """No torch, pandas or datasets for an array."""
    code = (
        "import numpy as np, subsetsel, sys\n"
        "from subsetsel.integrations import take_kept\n"
        "s = subsetsel.Solution(np.array([True, False]), norm=0.1, status='feasible')\n"
        "assert take_kept(['a', 'b'], s) == ['b']\n"
        "print(sorted({'torch', 'pandas', 'datasets', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# --- pandas -------------------------------------------------------------------------------------


def test_a_frame_gives_features_labels_and_its_index() -> None:
    """Columns of arrays count as many features; the subset comes back on the same index."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    from subsetsel.integrations.pandas import data_from_frame, subset_frame

    frame = pd.DataFrame(
        {"e": list(X), "kind": list("ababab"), "w": np.arange(N)}, index=list("uvwxyz")
    )
    data = data_from_frame(frame, label="kind")
    assert np.array_equal(data.X, np.column_stack([X, np.arange(N)]))
    assert data.y.tolist() == list("ababab")
    assert data.ids is not None
    marked = subset_frame(SOLUTION, data.ids)
    assert marked.index[marked["pruned"]].tolist() == ["v", "y"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"kind": ["a", "b"]}, "no column of features"),
        ({"w": [1, 2]}, "no column 'kind'; its columns are w"),
        ({"w": ["red", "blue"], "kind": ["a", "b"]}, "column 'w' cannot be a feature"),
        ({"w": [1, 2], "kind": ["a", None]}, "no value in row 1"),
    ],
)
def test_bad_frames_are_refused(columns: dict[str, Any], message: str) -> None:
    """The column is named."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    from subsetsel.integrations.pandas import data_from_frame

    with pytest.raises(ProblemError, match=message):
        data_from_frame(pd.DataFrame(columns), label="kind")


def test_frames_go_through_parquet(tmp_path: Path) -> None:
    """Written by pandas, read by subsetsel, the subset read by pandas."""
    pd = pytest.importorskip("pandas", reason="needs pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    from subsetsel.formats import read_data, write_solution

    frame = pd.DataFrame(X, columns=["p", "q"]).assign(y=list("ababab"), id=list("uvwxyz"))
    frame.to_parquet(tmp_path / "d.parquet", index=False)
    data = read_data(tmp_path / "d.parquet")
    write_solution(SOLUTION, tmp_path / "s.parquet", data.ids)
    back = pd.read_parquet(tmp_path / "s.parquet")
    assert back.loc[back["pruned"], "id"].tolist() == ["v", "y"]


# --- Hugging Face datasets ----------------------------------------------------------------------


def test_a_hugging_face_data_set_there_and_back() -> None:
    """Embeddings and class labels in; `select` and a column out."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    from subsetsel.integrations.datasets import data_from_dataset, mark_pruned

    features = datasets.Features({
        "embedding": datasets.Sequence(datasets.Value("float32")),
        "label": datasets.ClassLabel(names=["cat", "dog"]),
        "name": datasets.Value("string"),
    })
    columns = {"embedding": X.tolist(), "label": [0, 1] * 3, "name": list("uvwxyz")}
    dataset = datasets.Dataset.from_dict(columns, features=features)
    data = data_from_dataset(dataset, features="embedding", identity="name")
    assert data.X.dtype == np.float32
    assert np.array_equal(data.X, X)
    assert data.y.tolist() == ["cat", "dog"] * 3
    assert data.ids is not None
    assert data.ids.tolist() == list("uvwxyz")
    assert take_kept(dataset, SOLUTION)["name"] == ["u", "w", "x", "z"]
    assert mark_pruned(dataset, SOLUTION)["pruned"] == SOLUTION.mask.tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a", "b"], "label": [0, 1]}, "holds .*, not numbers"),
        ({"text": [[1.0], [1.0, 2.0]], "label": [0, 1]}, "differ in length"),
        ({"text": [1.0, 2.0]}, "no column 'label'"),
        ({"text": [1.0, 2.0], "label": [0, None]}, "no value in row 1"),
    ],
)
def test_bad_hugging_face_data_sets_are_refused(columns: dict[str, Any], message: str) -> None:
    """The column is named."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    from subsetsel.integrations.datasets import data_from_dataset

    with pytest.raises(ProblemError, match=message):
        data_from_dataset(datasets.Dataset.from_dict(columns), features="text")


# --- Lightning ----------------------------------------------------------------------------------


def trainer_and_model(**how: Any) -> tuple[Any, Any, Any]:
    """A small network, a callback, and a trainer that says nothing."""
    pl = pytest.importorskip("lightning.pytorch", reason="needs lightning")
    from torch import nn

    from subsetsel.integrations.lightning import FeatureCapture

    class Net(pl.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.body(x).relu())

        def validation_step(self, batch: Any, index: int) -> None:
            self.forward(batch[0])

        test_step = validation_step

    capture = FeatureCapture(**how)
    trainer = pl.Trainer(
        callbacks=[capture],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    return trainer, Net(), capture


def loader(**more: Any) -> Any:
    """Fifty examples in batches of 16."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, torch.arange(50) % 3), batch_size=16, **more)


@pytest.mark.filterwarnings("ignore")
def test_the_callback_is_told_which_item_holds_the_labels() -> None:
    """An item between inputs and labels is not taken for labels."""
    trainer, model, capture = trainer_and_model(labels=2, inputs=0)
    from torch.utils.data import DataLoader, TensorDataset

    x, y = loader().dataset.tensors
    trainer.validate(model, DataLoader(TensorDataset(x, y * 0, y), batch_size=16), verbose=False)
    assert capture.found.y.tolist() == y.tolist()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("run", ["validate", "test"])
def test_the_callback_keeps_what_the_classifier_was_given(run: str) -> None:
    """The same features as a pass of one's own, and a problem of them."""
    trainer, model, capture = trainer_and_model()
    getattr(trainer, run)(model, loader())
    x, y = loader().dataset.tensors
    assert np.allclose(capture.found.X, model.body(x).relu().detach().numpy(), atol=1e-6)
    assert np.array_equal(capture.found.y, y.numpy())
    assert capture.found.classifier == "head"
    assert not model.head._forward_pre_hooks
    problem = capture.problem(l2=0.1, fraction=0.4)
    assert (problem.n, problem.size) == (50, 20)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("options", "message"), [({"shuffle": True}, "in order"), ({"drop_last": True}, "drop")]
)
def test_the_callback_refuses_a_pass_that_loses_the_order(
    options: dict[str, Any], message: str
) -> None:
    """Row i must be example i."""
    trainer, model, capture = trainer_and_model()
    with pytest.raises(ProblemError, match=message):
        trainer.validate(model, loader(**options), verbose=False)
    with pytest.raises(ProblemError, match="nothing was captured"):
        capture.problem(l2=0.1, size=3)


@pytest.mark.filterwarnings("ignore")
def test_the_callback_refuses_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would see a share of the examples, in an order of its own."""
    trainer, model, _ = trainer_and_model()
    monkeypatch.setattr(type(trainer), "world_size", property(lambda _: 2))
    with pytest.raises(ProblemError, match=r"2 processes.*devices=1"):
        trainer.validate(model, loader(), verbose=False)
    assert not model.head._forward_pre_hooks


@pytest.mark.filterwarnings("ignore")
def test_the_callback_refuses_half_a_pass() -> None:
    """`limit_val_batches` hides examples."""
    trainer, model, _ = trainer_and_model()
    trainer.limit_val_batches = 2
    with pytest.raises(ProblemError, match="saw 32 of 50"):
        trainer.validate(model, loader(), verbose=False)


def test_a_missing_lightning_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that mends it."""

    def refuse(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'lightning'", name="lightning")

    monkeypatch.setattr("subsetsel.support.optional.import_module", refuse)
    monkeypatch.delitem(sys.modules, "subsetsel.integrations.lightning", raising=False)
    with pytest.raises(MissingExtraError, match=r'pip install "subsetsel\[lightning\]"'):
        __import__("subsetsel.integrations.lightning")


def test_read_only_features_raise_no_warning() -> None:
    """A memory map, or what a data set of another library lends."""
    features = np.random.default_rng(0).normal(size=(30, 2))
    features.flags.writeable = False
    problem = subsetsel.Problem.from_features(features, features[:, 0] > 0, l2=0.1, size=3)
    assert problem.size == 3
