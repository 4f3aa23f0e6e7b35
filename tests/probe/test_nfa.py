"""The ansatz of real layers against explicit input Jacobians, and the table that people get."""

import copy

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich import InputError
from lazyrich.capture.capture import capture
from lazyrich.observables import agop, ansatz_correlation, haar_null, predicted_centred, ptk
from tests.models import Attention, Residual, Transformer, randn


def mlp(width=16, outputs=3):
    hidden = nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(width, outputs)).double()


def exact_ptk(seen, layer):
    g = [layer.rows(seen.gradients(v)[seen.layers.index(layer)]) for v in seen.exact_directions()]
    return ptk(torch.stack(g, 1).flatten(-2), len(seen.outputs))


def correlate(a, b, kind="cosine"):
    if kind == "pearson":
        a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_agop_of_an_mlp_is_the_input_jacobians():
    model, x = mlp(), randn(9, 5)
    seen = capture(model, x)
    for layer, start in zip(seen.layers, (0, 2, 4), strict=True):
        h = layer.inputs.flatten(1)
        j = torch.func.vmap(torch.func.jacrev(model[start:]))(h)  # (n, c, d)
        expected = torch.einsum("nci,ncj->ij", j, j) / 9
        found = agop(layer.matrix, exact_ptk(seen, layer))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_agop_of_a_convolution_is_that_of_its_patches(groups):
    conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=groups).double()
    rest = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Linear(36, 2)).double()
    x = randn(3, 2, 5, 5)
    seen = capture(nn.Sequential(conv, rest), x)
    layer = seen.layers[0]
    patches = layer.inputs.flatten(2)  # (n, positions, d)

    def from_patches(p):
        return rest((p @ layer.matrix.T + conv.bias).transpose(0, 1).reshape(1, 4, 3, 3))[0]

    j = torch.func.vmap(torch.func.jacrev(from_patches))(patches)
    expected = torch.einsum("ncti,nctj->ij", j, j) / 3
    found = agop(layer.matrix, exact_ptk(seen, layer))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_agop_of_each_heads_query_key_and_value():
    attention, x = Attention(width=6, heads=2).double(), randn(3, 4, 6)
    model = nn.Sequential(attention, nn.Flatten(), nn.Linear(24, 2)).double()
    seen = capture(model, x)
    layer = seen.layers[0]
    covariance, weight = exact_ptk(seen, layer), layer.matrix

    for part in range(3):
        for head in range(2):
            rows = slice(6 * part + 3 * head, 6 * part + 3 * head + 3)

            def path(own, x, rows=rows):
                """Only this head's path sees `own`, the others see x."""
                z = attention.qkv(x)
                mine = attention.qkv(own)
                mask = torch.zeros(18).double()
                mask[rows] = 1
                return model[2](attention.mix(z * (1 - mask) + mine * mask).flatten(1))

            expected = 0
            for sample in x:
                j = torch.func.jacrev(lambda own, s=sample: path(own[None], s[None])[0])(sample)
                expected = expected + torch.einsum("cti,ctj->ij", j, j) / 3
            found = agop(weight[rows], covariance[rows, rows])
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


class Separate(nn.Module):
    """Attention with queries, keys and values of their own, after a norm."""

    def __init__(self, width=6, heads=2):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(4 * width, 2)

    def forward(self, x):
        h = self.norm(x)
        return self.mix(self.query(h), self.key(h), self.value(h))

    def mix(self, q, k, v):
        n, t, d = q.shape
        q, k, v = (z.view(n, t, self.heads, -1).transpose(1, 2) for z in (q, k, v))
        weights = torch.softmax(q @ k.transpose(-1, -2), -1)
        return self.out((weights @ v).transpose(1, 2).reshape(n, t * d))


@pytest.mark.parametrize("directions", ["all", 2])
def test_table_head_by_head_is_the_input_jacobians_of_each_path(directions):
    """Perturb what one head's query, key or value sees of the norm's output, and nothing else."""
    model, x = Separate().double(), randn(20, 4, 6)
    h = model.norm(x).detach()
    patterns = {"query": 2, "[kv]*e*": 2}
    table = lazyrich.nfa(model, x, heads=patterns, directions=directions)
    names = [f"{name}[{i}]" for name in ("query", "key", "value") for i in range(2)]
    assert list(table.layer.values) == names

    def path(own, sample, name, head):
        z = {n: getattr(model, n)(sample) for n in ("query", "key", "value")}
        mine = torch.zeros(6).double()
        mine[3 * head : 3 * head + 3] = 1
        z[name] = z[name] * (1 - mine) + getattr(model, name)(own) * mine
        return model.mix(*(part[None] for part in z.values()))[0]

    for name in ("query", "key", "value"):
        for head in range(2):
            total = torch.zeros(6, 6).double()
            for sample in h:
                j = torch.func.jacrev(path)(sample, sample, name, head).detach()
                total += torch.einsum("cti,ctj->ij", j, j) / 20
            w = getattr(model, name).weight.detach()[3 * head : 3 * head + 3]
            found = float(table.nfa.sel(layer=f"{name}[{head}]"))
            exactly = correlate(w.T @ w, total)
            error = (
                0
                if directions == "all"
                else 5 * float(table.nfa_stderr.sel(layer=f"{name}[{head}]"))
            )
            assert found == pytest.approx(exactly, abs=1e-12 + error)


def test_heads_are_centred_too():
    model, x = Separate().double(), randn(20, 4, 6)
    start = copy.deepcopy(model)
    with torch.no_grad():
        model.key.weight[:3] += 0.1 * randn(3, 6)
    table = lazyrich.nfa(model, x, start, heads={"key": 2}, directions="all", power=0.5)
    assert list(table.layer.values) == ["query", "key[0]", "key[1]", "value"]
    assert list(table.cnfa.notnull()) == [False, True, False, False]


@pytest.mark.parametrize("correlation", ["cosine", "pearson"])
def test_double_centred_column_has_the_change_of_the_covariance(correlation):
    model, x = mlp(), randn(30, 5)
    start = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    table = lazyrich.nfa(
        model, x, start, directions="all", double_centred=True, correlation=correlation
    )
    now, before = capture(model, x), capture(start, x)
    for layer, first in zip(now.layers[:-1], before.layers[:-1], strict=True):
        change = exact_ptk(now, layer) - exact_ptk(before, first)
        moved = layer.matrix - first.matrix
        expected = correlate(moved.T @ moved, agop(moved, change), correlation)
        found = float(table.double_cnfa.sel(layer=layer.name))
        assert found == pytest.approx(expected, abs=1e-10)
    assert "double_cnfa" not in lazyrich.nfa(model, x, start, directions="all")


@pytest.mark.parametrize("correlation", ["cosine", "pearson"])
def test_table_is_exact_on_request(correlation):
    model = mlp()
    start = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    x = randn(30, 5)
    seen = capture(model, x)
    tables = [
        lazyrich.nfa(model, x, reference, directions="all", correlation=correlation)
        for reference in (start, start.state_dict(), nn.DataParallel(start).state_dict())
    ]
    assert all(table.equals(tables[0]) for table in tables)
    table = tables[0]
    assert list(table.layer.values) == ["0", "2"]
    for layer, first in zip(seen.layers, (start[0], start[2]), strict=False):
        k, w, row = exact_ptk(seen, layer), layer.matrix, table.sel(layer=layer.name)
        moved = w - first.weight.detach()
        assert float(row.nfa) == pytest.approx(correlate(w.T @ w, agop(w, k), correlation))
        centred = correlate(moved.T @ moved, agop(moved, k), correlation)
        assert float(row.cnfa) == pytest.approx(centred)
        assert float(row.nfa_null) == pytest.approx(haar_null(w, k, correlation=correlation))
        assert float(row.cnfa_null) == pytest.approx(haar_null(moved, k, correlation=correlation))
        inner = [float((v.T @ v * agop(v, k)).sum()) for v in (moved, w)]
        assert float(row.centred_share) == pytest.approx(inner[0] / inner[1])
        assert float(row.nfa_stderr) > 0


def test_power_one_half():
    model, x = mlp(), randn(30, 5)
    layer = (seen := capture(model, x)).layers[0]
    row = lazyrich.nfa(model, x, directions="all", power=0.5).sel(layer="0")
    expected = ansatz_correlation(layer.matrix, exact_ptk(seen, layer), power=0.5)
    assert float(row.nfa) == pytest.approx(expected, rel=1e-12)
    assert 0 < float(row.nfa_stderr) < 0.2


def test_power_by_depth_is_one_in_balanced_deep_linear_networks():
    """W_l = U_l S U_{l−1}ᵀ: the AGOP of layer l is its WᵀW to the number of layers from it on."""
    torch.manual_seed(0)
    bases = [torch.linalg.qr(randn(6, 6) + i * torch.eye(6))[0] for i in range(5)]
    sizes = torch.diag(torch.tensor([2.0, 1.5, 1.0, 0.7, 0.4, 0.2], dtype=torch.float64))
    model = nn.Sequential(*(nn.Linear(6, 6, bias=False) for _ in range(4))).double()
    with torch.no_grad():
        for layer, below, above in zip(model, bases[:-1], bases[1:], strict=True):
            layer.weight.copy_(above @ sizes @ below.T)
    table = lazyrich.nfa(model, randn(30, 6), directions="all", power="depth")
    assert (abs(table.nfa - 1) < 1e-12).all()
    assert (lazyrich.nfa(model, randn(30, 6), directions="all").nfa < 0.999).all()
    for layer, power in (("0", 1 / 4), ("1", 1 / 3), ("2", 1 / 2)):
        fixed = lazyrich.nfa(model, randn(30, 6), directions="all", power=power)
        assert float(fixed.nfa.sel(layer=layer)) == pytest.approx(1, abs=1e-12)


def test_centred_gradients_are_those_of_the_jacobian_less_its_mean():
    """AGOP of J − J̄ with explicit input Jacobians, for plain, centred and twice centred columns."""
    torch.manual_seed(0)
    start, model, x = mlp(), mlp(), randn(9, 5)
    table = lazyrich.nfa(
        model, x, start, directions="all", centred_gradients=True, double_centred=True
    )
    plain = lazyrich.nfa(model, x, start, directions="all")
    for i in (0, 2):
        covariances = []
        for network in (model, start):
            j = torch.func.vmap(torch.func.jacrev(network[i + 1 :]))(network[: i + 1](x))
            j = (j - j.mean(0)).detach()
            covariances.append(torch.einsum("nck,ncm->km", j, j) / 9)
        (k, k_0), w = covariances, model[i].weight.detach()
        moved, row = w - start[i].weight.detach(), table.sel(layer=str(i))
        assert float(row.nfa) == pytest.approx(correlate(w.T @ w, agop(w, k)))
        assert float(row.cnfa) == pytest.approx(correlate(moved.T @ moved, agop(moved, k)))
        twice = correlate(moved.T @ moved, agop(moved, k - k_0))
        assert float(row.double_cnfa) == pytest.approx(twice)
        assert float(row.nfa_null) == pytest.approx(haar_null(w, k))
        assert abs(float(row.nfa - plain.nfa.sel(layer=str(i)))) > 1e-3


def test_centred_gradients_of_a_convolution_lose_their_mean_at_every_position():
    torch.manual_seed(0)
    conv, rest = nn.Conv1d(2, 4, 3).double(), nn.Sequential(nn.Tanh(), nn.Flatten()).double()
    model = nn.Sequential(conv, rest, nn.Linear(12, 2).double())
    x = randn(5, 2, 5)
    j = torch.func.vmap(torch.func.jacrev(model[1:]))(conv(x)[:, None])[:, 0, :, 0]  # n, c, k, t
    j = (j - j.mean(0)).detach()
    k, w = torch.einsum("nckt,ncmt->km", j, j), conv.weight.detach().flatten(1)
    found = lazyrich.nfa(model, x, directions="all", centred_gradients=True)
    assert float(found.nfa.sel(layer="0")) == pytest.approx(correlate(w.T @ w, agop(w, k)))


def test_random_directions_agree_with_the_exact_table_within_their_error():
    model, x = mlp(width=20, outputs=30), randn(400, 5)
    start = mlp(width=20, outputs=30)
    exact = lazyrich.nfa(model, x, start, directions="all")
    found = [lazyrich.nfa(model, x, start, seed=seed) for seed in range(20)]
    for name in ("nfa", "cnfa", "nfa_null", "cnfa_null", "centred_share"):
        values = torch.stack([torch.tensor(table[name].values) for table in found])
        mean, error = values.mean(0), values.std(0) / 20**0.5
        assert ((mean - torch.tensor(exact[name].values)).abs() < 3.5 * error + 1e-4).all(), name
    for table in found:  # the stated error covers directions and samples, so it is larger still
        assert (abs(table.nfa - exact.nfa) < 4 * table.nfa_stderr).all()


def test_one_step_from_the_start_shows_the_predicted_alignment():
    """The identity at t = 0: ρ(ẆᵀẆ, ẆᵀKẆ), with K measured again after a tiny step."""
    model, x, y = mlp(), randn(20, 5), randn(20, 3)
    seen = capture(model, x)
    predictions = {}
    for index, layer in enumerate(seen.layers[:-1]):
        g = torch.stack([seen.gradients(v)[index][0] for v in seen.exact_directions()], 1)
        h = layer.inputs.flatten(2)
        predictions[layer.name] = predicted_centred(h, g[:, :, None], y - seen.outputs.detach())
    start = copy.deepcopy(model)
    (model(x) - y).square().mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 1e-5 * parameter.grad
    table = lazyrich.nfa(model, x, start, directions="all")
    for name, prediction in predictions.items():
        assert float(table.cnfa.sel(layer=name)) == pytest.approx(prediction, abs=1e-4)


def test_no_more_outputs_than_directions_are_measured_exactly():
    model, start, x = mlp(outputs=3), mlp(outputs=3), randn(20, 5)
    few, exact = (lazyrich.nfa(model, x, start, directions=v, heads={"0": 2}) for v in (3, "all"))
    for name in ("nfa", "cnfa", "nfa_null", "cnfa_null", "centred_share"):
        assert few[name].values == pytest.approx(exact[name].values, rel=1e-12)
    assert few.nfa_stderr.values == pytest.approx(exact.nfa_stderr.values, rel=0.6)  # of ten groups


def test_more_directions_have_a_smaller_error():
    model, x = mlp(outputs=40), randn(20, 5)
    exact = lazyrich.nfa(model, x, directions="all").nfa

    def error(directions):
        tables = (lazyrich.nfa(model, x, directions=directions, seed=seed) for seed in range(8))
        return sum(float(abs(table.nfa - exact).mean()) for table in tables)

    assert error(32) < 0.5 * error(2)  # a quarter in the mean


def test_random_directions_cost_no_global_randomness_and_are_reproducible():
    model, x = mlp(), randn(30, 5)
    assert lazyrich.nfa(model, x).equals(lazyrich.nfa(model, x))
    assert not lazyrich.nfa(model, x).equals(lazyrich.nfa(model, x, seed=1))


def test_float32_agrees_with_float64():
    model, x = mlp(), randn(60, 5)
    start = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1e-2 * torch.randn_like(parameter)
    double = lazyrich.nfa(model, x, start, directions="all")
    single = lazyrich.nfa(model.float(), x.float(), start.float(), directions="all")
    assert abs(double.nfa - single.nfa).max() < 1e-6
    assert abs(double.cnfa - single.cnfa).max() < 1e-4  # weights themselves are rounded


def test_half_precision():
    model, x = mlp(), randn(60, 5)
    half, x = copy.deepcopy(model).bfloat16(), x.bfloat16()
    wide = copy.deepcopy(half).double()
    batches = (half, x), (wide, x.double())
    found, exact = (lazyrich.nfa(m, b, directions="all").nfa for m, b in batches)
    assert abs(found - exact).max() < 1e-6


def test_layers_used_twice_and_convolutions_have_a_row():
    table = lazyrich.nfa(Residual().double(), randn(6, 2, 5, 5))
    assert list(table.layer.values) == ["stem", "body"]
    assert table.nfa.notnull().all()
    reasons = "\n".join(table.attrs["skipped"])
    assert "head: the readout" in reasons
    assert "bn: a norm" in reasons
    mha = Transformer(nn.MultiheadAttention(6, 2, batch_first=True)).double()
    table = lazyrich.nfa(mha, torch.randint(0, 7, (6, 5)))
    of_attention = [f"attention.{part}" for part in ("q", "k", "v", "out_proj")]
    assert list(table.layer.values) == [*of_attention, "mlp.1", "mlp.3"]
    assert any(r.startswith("position: it acts entry by entry") for r in table.attrs["skipped"])


@pytest.mark.parametrize("directions", ["all", 2])
def test_without_movement_or_reference_the_centred_columns_are_nan(directions):
    model, x = mlp(), randn(30, 5)
    alone, still = (lazyrich.nfa(model, x, start, directions=directions) for start in (None, model))
    for name in ("cnfa", "cnfa_null"):
        assert alone[name].isnull().all()
        assert still[name].isnull().all()
    assert alone.centred_share.isnull().all()
    assert (still.centred_share == 0).all()
    assert lazyrich.nfa(model, x[:1]).nfa_stderr.isnull().all()  # one sample has no spread


def test_attributes_come_from_the_vocabulary():
    table = lazyrich.nfa(mlp(), randn(30, 5))
    for name in ("nfa", "cnfa", "nfa_null", "cnfa_null", "nfa_stderr", "centred_share"):
        assert {"long_name", "units", "references"} <= set(table[name].attrs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"power": 0.5}, "`power` must be 1 with random directions, got 0.5"),
        ({"power": 2.0}, r'`power` must be in \(0, 1\] or "depth", got 2.0'),
        ({"power": "depth"}, "`power` must be 1 with random directions, got depth"),
        ({"centred_gradients": True}, '`centred_gradients` must come with directions="all", got d'),
        ({"reference": {}}, "must hold the initial weight of `0`, got none"),
        (
            {"heads": {"*.query": 2}},
            r"must name hidden layers, got '\*.query'. Layers: \['0', '2'\]",
        ),
        ({"heads": {"4": 3}}, "must name hidden layers, got '4'"),
        ({"heads": {"0": 3}}, "the heads of `0` must divide its 16 outputs, got 3"),
        (
            {"double_centred": True, "directions": "all"},
            'must come with directions="all", power=1 and a module as `reference`, got .* NoneType',
        ),
        ({"double_centred": True, "reference": mlp()}, "got directions=2, power=1.0 and a Seq"),
        ({"reference": mlp(8)}, r"must have the model's shapes, got \(8, 5\) for `0`"),
    ],
)
def test_refusals(kwargs, message):
    with pytest.raises(InputError, match=message):
        lazyrich.nfa(mlp(), randn(30, 5), **kwargs)


def test_a_model_of_one_layer_has_no_ansatz():
    with pytest.raises(InputError, match="must have a linear layer below its readout, got Linear"):
        lazyrich.nfa(nn.Linear(3, 2), torch.randn(4, 3))
