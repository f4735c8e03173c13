"""S for any parameters of a network, against torch.func on the flat parameter vector."""

from __future__ import annotations

import copy
import types
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap
from torch.utils.data import DataLoader, TensorDataset

from subsetsel.engine.solve import solve
from subsetsel.errors import OptionError, ProblemError
from subsetsel.guarantee.verification import verify
from subsetsel.influence import fit_head, influence_rows, parameter_influence
from subsetsel.influence.network import network
from subsetsel.problem.problem import Problem

N, C, L2 = 60, 3, 0.05
ALL = ("0.weight", "0.bias", "3.weight", "3.bias")


class Net(nn.Sequential):
    """Four inputs, five hidden units with batch norm, three classes."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, C))


@pytest.fixture(scope="module")
def model() -> Net:
    """A network in float64, in training mode, with running statistics of its own."""
    torch.manual_seed(0)
    net = Net().double()
    net(torch.randn(50, 4, dtype=torch.float64))
    return net


@pytest.fixture(scope="module")
def data() -> TensorDataset:
    """Random inputs and labels."""
    rng = np.random.default_rng(0)
    return TensorDataset(
        torch.from_numpy(rng.standard_normal((N, 4))), torch.from_numpy(np.arange(N) % C)
    )


class Reference:
    """Flat parameters, gradients and curvature as one would write them down."""

    def __init__(self, model: nn.Module, data: TensorDataset, names: tuple[str, ...]) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.X, self.y = data.tensors
        self.shapes = {name: dict(model.named_parameters())[name].shape for name in names}
        known = dict(self.model.named_parameters())
        self.theta = torch.cat([known[name].detach().reshape(-1) for name in names])

    def logits(self, theta: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Of one example."""
        moved, start = {}, 0
        for name, shape in self.shapes.items():
            moved[name] = theta[start : start + shape.numel()].reshape(shape)
            start += shape.numel()
        out: torch.Tensor = functional_call(self.model, moved, (x[None],))[0]
        return out

    def loss(self, theta: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Of one example."""
        return nn.functional.cross_entropy(self.logits(theta, x), y)

    def gradients(self) -> torch.Tensor:
        """Of each example, shape (n, d)."""
        found: torch.Tensor = vmap(grad(self.loss), (None, 0, 0))(self.theta, self.X, self.y)
        return found

    def gauss_newton(self) -> torch.Tensor:
        """Mean of J^T (diag p - p p^T) J."""
        J = vmap(jacrev(self.logits), (None, 0))(self.theta, self.X)
        p = torch.softmax(vmap(self.logits, (None, 0))(self.theta, self.X), dim=1)
        A = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        return torch.einsum("ncd,nce,nef->df", J, A, J) / len(self.X)

    def hessian(self) -> torch.Tensor:
        """Of the mean loss."""

        def mean(theta: torch.Tensor) -> torch.Tensor:
            losses: torch.Tensor = vmap(self.loss, (None, 0, 0))(theta, self.X, self.y)
            return losses.mean()

        found: torch.Tensor = jacrev(grad(mean))(self.theta)
        return found

    def influence(self, curvature: torch.Tensor, shift: float, *, ridge: bool = True) -> Any:
        """S, shape (n, d)."""
        g = self.gradients() + L2 * self.theta * ridge
        H = curvature + shift * torch.eye(len(self.theta), dtype=torch.float64)
        return torch.linalg.solve(H, g.T).T.numpy() / len(self.X)


def relative(found: Any, expected: Any) -> float:
    """Largest difference of two matrices, relative to the largest entry."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def influence(model: nn.Module, data: Any, parameters: Any = ALL, **options: Any) -> Any:
    """S in float64, without the warning that the network is untrained."""
    options.setdefault("dtype", np.float64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the chosen parameters are not at a minimum")
        return parameter_influence(model, data, l2=L2, parameters=parameters, **options)


@pytest.mark.parametrize("names", [ALL, ("3.weight", "3.bias"), ("0.bias",)])
def test_rows_are_those_of_automatic_derivatives(
    names: tuple[str, ...], model: Net, data: TensorDataset
) -> None:
    """(1/n) (GN + l2)^-1 (g_i + l2 theta) to nine digits, in the model's order of parameters."""
    found = influence(model, data, names, batch_size=16)
    reference = Reference(model, data, names)
    expected = reference.influence(reference.gauss_newton(), L2)
    assert found.names == names
    assert relative(found.rows.take(np.arange(N)), expected) <= 1e-9


def test_float32_rows_are_rounded_once(model: Net, data: TensorDataset) -> None:
    """S in float32 is within 1e-5 of the float64 reference."""
    reference = Reference(model, data, ALL)
    expected = reference.influence(reference.gauss_newton(), L2)
    found = influence(model, data, dtype=np.float32).rows.dense()
    assert found.dtype == np.float32
    assert relative(found, expected) <= 1e-5


def test_the_ridge_can_be_left_out(model: Net, data: TensorDataset) -> None:
    """The letter of the paper: rows from the loss alone."""
    reference = Reference(model, data, ALL)
    expected = reference.influence(reference.gauss_newton(), L2, ridge=False)
    found = influence(model, data, ridge="excluded").rows.take(np.arange(N))
    assert relative(found, expected) <= 1e-9


def test_the_hessian_needs_damping_away_from_a_minimum(model: Net, data: TensorDataset) -> None:
    """Indefinite it is refused with the cure; damped it is that of automatic derivatives."""
    with pytest.raises(ProblemError, match=r"not positive definite.*gauss-newton.*damping"):
        parameter_influence(model, data, l2=1e-6, parameters=ALL, curvature="hessian")
    found = influence(model, data, curvature="hessian", damping=1.0).rows.take(np.arange(N))
    reference = Reference(model, data, ALL)
    assert relative(found, reference.influence(reference.hessian(), L2 + 1.0)) <= 1e-9


def test_the_loss_metric_has_the_norm_of_the_curvature(model: Net, data: TensorDataset) -> None:
    """Rows L^-1 g: their inner products are those of H^-1/2 g."""
    rows = influence(model, data, metric="loss").rows.take(np.arange(N))
    reference = Reference(model, data, ALL)
    S = reference.influence(reference.gauss_newton(), L2)
    H = reference.gauss_newton().numpy() + L2 * np.eye(S.shape[1])
    assert relative(rows @ rows.T, S @ H @ S.T) <= 1e-9


@pytest.mark.parametrize("inverse", ["cholesky", "cg"])
def test_sums_and_products_are_those_of_the_rows(
    inverse: Any, model: Net, data: TensorDataset
) -> None:
    """S^T w, S u and single rows without S, by a factor and by conjugate gradients."""
    reference = Reference(model, data, ALL)
    S = reference.influence(reference.gauss_newton(), L2)
    rows = influence(model, data, inverse=inverse, storage="factored", batch_size=40).rows
    rng = np.random.default_rng(1)
    w, u = rng.standard_normal(N), rng.standard_normal(S.shape[1])
    np.testing.assert_allclose(rows.sum(w), S.T @ w, rtol=0, atol=1e-9 * np.abs(S.T @ w).max())
    np.testing.assert_allclose(rows.dot(u), S @ u, rtol=0, atol=1e-9 * np.abs(S @ u).max())
    assert relative(rows.take(np.array([40, 3, 3])), S[[40, 3, 3]]) <= 1e-9


def test_chunks_do_not_show(
    model: Net, data: TensorDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One example at a time gives what all at once give."""
    usual = influence(model, data).rows.take(np.arange(N))
    monkeypatch.setattr(network, "CHUNK_BYTES", 1)
    monkeypatch.setattr("subsetsel.influence.network.curvature.CHUNK_BYTES", 1)
    assert relative(influence(model, data, batch_size=9).rows.take(np.arange(N)), usual) <= 1e-12


def test_the_search_runs_where_nothing_is_written_out(model: Net, data: TensorDataset) -> None:
    """Beyond any factor the search works on random directions, and the norm is the true one."""
    rows = influence(model, data, inverse="cg", storage="factored").rows
    solution = solve(Problem(rows, size=24), max_iterations=5_000, bound=False)
    reference = Reference(model, data, ALL)
    S = reference.influence(reference.gauss_newton(), L2)
    assert solution.norm == pytest.approx(np.linalg.norm(S[solution.pruned].sum(axis=0)), rel=1e-6)
    rng = np.random.default_rng(0)
    random = np.linalg.norm([S[rng.permutation(N)[:24]].sum(axis=0) for _ in range(20)], axis=1)
    assert solution.norm < 0.7 * random.mean()


def test_a_linear_model_at_its_minimum_is_a_head(data: TensorDataset) -> None:
    """For the last layer alone nothing is approximate: S has the inner products of the head's."""
    X, y = (tensor.numpy() for tensor in data.tensors)
    head = fit_head(X, y, l2=L2)
    model = nn.Linear(4, C).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor(head.theta[:, :-1]))
        model.bias.copy_(torch.tensor(head.theta[:, -1]))
    found = parameter_influence(model, data, l2=L2, parameters="", dtype=np.float64)
    S, expected = (rows.take(np.arange(N)) for rows in (found.rows, influence_rows(head)))
    assert relative(S @ S.T, expected @ expected.T) <= 1e-5
    assert found.step <= 1e-9 * found.theta_norm


def test_from_model_marks_what_is_approximate(model: Net, data: TensorDataset) -> None:
    """The problem says so, has no head to refit, and keeps one example per class."""
    with pytest.warns(RuntimeWarning, match="not at a minimum"):
        problem = Problem.from_model(
            model, DataLoader(data, 16), l2=L2, parameters=["3"], rel_epsilon=0.5
        )
    assert problem.d == 18
    assert problem.approximation is not None
    assert "Gauss-Newton" in problem.approximation
    assert "approximate" in repr(problem)
    assert len(problem.constraints) == C
    with pytest.raises(ProblemError, match="approximate"):
        verify(problem, np.arange(N) < 3)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"rel_epsilon": -0.5}, "rel_epsilon must be a finite number >= 0, got -0.5"),
        ({"rel_epsilon": "much"}, "rel_epsilon must be a number, got 'much'"),
        ({"rel_epsilon": 0.5, "epsilon": 1.0}, "got epsilon and rel_epsilon"),
    ],
)
def test_a_wrong_rel_epsilon_is_refused_before_the_network_runs(
    data: TensorDataset, question: dict[str, Any], words: str
) -> None:
    """The model is not even looked at. Mutation: it is checked after the pass."""
    with pytest.raises(ProblemError, match=words):
        Problem.from_model(None, data, l2=L2, parameters=["3"], **question)


def test_the_model_is_given_back_as_it_was(data: TensorDataset) -> None:
    """Training mode, gradients and statistics stay, and later training does not move S."""
    net = Net().double()
    before = copy.deepcopy(net.state_dict())
    rows = influence(net, data, storage="factored").rows
    first = rows.take(np.arange(3))
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        net.get_parameter("0.weight").add_(1.0)
    np.testing.assert_array_equal(rows.take(np.arange(3)), first)


class NamesItsOutputs(nn.Module):
    """Takes keywords and returns an object with logits, as language models do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> Any:
        """Run the inner model."""
        return types.SimpleNamespace(logits=self.inner(inputs))


def test_mappings_and_named_logits(model: Net, data: TensorDataset) -> None:
    """Batches as dicts, outputs as objects."""
    items = [{"inputs": x, "labels": y} for x, y in zip(*data.tensors, strict=True)]
    wrapped = NamesItsOutputs(model)
    found = influence(wrapped, items, "inner.3").rows.take(np.arange(N))
    expected = influence(model, data, "3").rows.take(np.arange(N))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_unknown_parameters_are_named_with_the_nearest(model: Net, data: TensorDataset) -> None:
    """A name that is neither a parameter nor a module with one."""
    with pytest.raises(ProblemError, match=r"'3\.weigth'.*3\.weight"):
        parameter_influence(model, data, l2=L2, parameters="3.weigth")
    with pytest.raises(ProblemError, match="'2'"):
        parameter_influence(model, data, l2=L2, parameters=["2"])
    with pytest.raises(ProblemError, match="at least one"):
        parameter_influence(model, data, l2=L2, parameters=[])


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "curvature": ({"curvature": "fisher"}, OptionError, "curvature.*fisher"),
    "damping": ({"damping": -1.0}, ProblemError, "damping.*-1"),
    "loss metric without a factor": ({"metric": "loss", "inverse": "cg"}, ProblemError, "factor"),
    "hessian without a factor": ({"curvature": "hessian", "inverse": "cg"}, ProblemError, "factor"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings(case: str, model: Net, data: TensorDataset) -> None:
    """Each is named."""
    options, error, message = BAD[case]
    with pytest.raises(error, match=message):
        parameter_influence(model, data, l2=L2, parameters=ALL, **options)


def test_bad_data(model: Net) -> None:
    """Labels outside the width, inputs that are no numbers, and a model without logits."""
    X = torch.zeros((4, 4), dtype=torch.float64)
    labels = torch.tensor([0, 1, 7, 2])
    with pytest.raises(ProblemError, match="example 2 has the label 7"):
        parameter_influence(model, TensorDataset(X, labels), l2=L2, parameters=ALL)
    X[1] = float("nan")
    with pytest.raises(ProblemError, match="NaN"):
        parameter_influence(model, TensorDataset(X, labels % 3), l2=L2, parameters=ALL)
    with pytest.raises(ProblemError, match="logits of shape"):
        parameter_influence(
            nn.Sequential(model, nn.Unflatten(1, (3, 1))),
            TensorDataset(torch.ones_like(X), labels % 3),
            l2=L2,
            parameters="0.3",
        )
    with pytest.raises(ProblemError, match=r"pooling.*parameters="):
        Problem.from_model(
            model,
            TensorDataset(X, labels),
            l2=L2,
            parameters=ALL,
            size=1,
            features={"pooling": "mean"},
        )
