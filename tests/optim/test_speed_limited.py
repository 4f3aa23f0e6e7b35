"""SpeedLimited against loops written out by hand, and inside everything that takes an optimiser."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau

import lazyrich
from lazyrich import InputError
from lazyrich.optim import SpeedLimited


@pytest.fixture(autouse=True)
def _one_thread_and_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def mlp(bias=False):
    hidden = nn.Linear(4, 8, bias=bias), nn.ReLU(), nn.Linear(8, 8, bias=bias), nn.Tanh()
    return nn.Sequential(*hidden, nn.Linear(8, 2, bias=bias))


def batches(count, n=6):
    generator = torch.Generator().manual_seed(7)
    return [
        (torch.randn(n, 4, generator=generator), torch.randn(n, 2, generator=generator))
        for _ in range(count)
    ]


def loss_of(model, batch):
    return functional.mse_loss(model(batch[0]), batch[1])


def train(model, optimizer, data):
    for batch in data:
        optimizer.zero_grad()
        loss_of(model, batch).backward()
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- the rule -------------------------------------------------------------------------------------


def sgd_by_hand(w, g, memory, t):
    return w - 0.1 * g


def momentum_by_hand(w, g, memory, t):
    g = g + 0.01 * w
    memory["b"] = g if t == 1 else 0.9 * memory["b"] + g
    return w - 0.1 * memory["b"]


def adam_by_hand(w, g, memory, t):
    m = 0.9 * memory.get("m", torch.zeros_like(w)) + 0.1 * g
    v = 0.999 * memory.get("v", torch.zeros_like(w)) + 0.001 * g**2
    memory.update(m=m, v=v)
    return w - 0.01 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


@pytest.mark.parametrize(
    ("build", "by_hand"),
    [
        (lambda p: SGD(p, lr=0.1), sgd_by_hand),
        (lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01), momentum_by_hand),
        (lambda p: Adam(p, lr=0.01), adam_by_hand),
    ],
)
def test_rule_is_the_loop_written_by_hand(build, by_hand):
    model = mlp().double()
    speeds, eps = {"0": 20.0, "2": 0.5, "4": 0.05}, 0.1
    weights = [p.detach().clone() for p in model.parameters()]
    memories = [{} for _ in weights]
    data = [(x.double(), y.double()) for x, y in batches(10)]
    found = train(
        model, SpeedLimited(build(model.parameters()), model=model, speeds=speeds, eps=eps), data
    )
    for t, batch in enumerate(data, start=1):
        leaves = [w.clone().requires_grad_() for w in weights]
        h = torch.relu(batch[0] @ leaves[0].T)
        f = torch.tanh(h @ leaves[1].T) @ leaves[2].T
        gradients = torch.autograd.grad((f - batch[1]).square().mean(), leaves)
        for i, (g, c) in enumerate(zip(gradients, speeds.values(), strict=True)):
            limited = c * g / (eps + g.square().sum().sqrt())
            weights[i] = by_hand(weights[i], limited, memories[i], t)
    for a, b in zip(found, weights, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda p: SGD(p, lr=0.1),
        lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: Adam(p, lr=0.01, amsgrad=True),
    ],
)
def test_bitwise_the_optimiser_on_gradients_scaled_in_place(build):
    model = mlp()
    twin = copy.deepcopy(model)
    data = batches(20)
    limited = SpeedLimited(build(model.parameters()), model=model, target="2", strength=8.0)
    plain = build(twin.parameters())
    for batch in data:
        plain.zero_grad()
        loss_of(twin, batch).backward()
        for i, p in enumerate(twin.parameters()):
            p.grad *= (8.0 if i == 1 else 1 / 8) / (1e-8 + torch.linalg.vector_norm(p.grad))
        plain.step()
    assert same(train(model, limited, data), [p.detach() for p in twin.parameters()])


def test_weight_and_bias_share_one_norm():
    model = mlp(bias=True)
    before = copy.deepcopy(model)
    optimizer = SpeedLimited(SGD(model.parameters(), lr=1.0), model=model, target="2", strength=3.0)
    train(model, optimizer, batches(1))
    for index, distance in ((0, 1 / 3), (2, 3.0), (4, 1 / 3)):
        parts = zip(model[index].parameters(), before[index].parameters(), strict=True)
        square = sum(float((a - b).detach().square().sum()) for a, b in parts)
        assert square**0.5 == pytest.approx(distance, rel=1e-5)


def test_gradients_are_as_backward_left_them():
    model = mlp()
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0")
    loss_of(model, batches(1)[0]).backward()
    kept = [p.grad for p in model.parameters()]
    values = [g.clone() for g in kept]
    optimizer.step()
    assert all(p.grad is g for p, g in zip(model.parameters(), kept, strict=True))
    assert same(kept, values)


def test_gradients_come_back_after_an_error():
    class Broken(SGD):
        def step(self, closure=None):
            raise RuntimeError("no")

    model = mlp()
    optimizer = SpeedLimited(Broken(model.parameters(), lr=0.1), model=model, target="0")
    loss_of(model, batches(1)[0]).backward()
    kept = [p.grad for p in model.parameters()]
    with pytest.raises(RuntimeError, match="no"):
        optimizer.step()
    assert all(p.grad is g for p, g in zip(model.parameters(), kept, strict=True))
    assert optimizer.steps == 0


def test_accumulated_gradients_are_limited_as_one():
    model = mlp()
    twin = copy.deepcopy(model)
    (x, y), (x2, y2) = batches(2)
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0")
    for batch in ((x, y), (x2, y2)):
        (loss_of(model, batch) / 2).backward()
    optimizer.step()
    other = SpeedLimited(SGD(twin.parameters(), lr=0.1), model=twin, target="0")
    loss_of(twin, (torch.cat([x, x2]), torch.cat([y, y2]))).backward()
    other.step()
    for a, b in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_zero_missing_and_frozen_gradients():
    model = mlp()
    model[2].requires_grad_(False)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0", eps=0.0)
    optimizer.step()  # no gradient at all
    model[0].weight.grad = torch.zeros_like(model[0].weight)  # 0/0 of the rule
    optimizer.step()
    assert same([p.detach() for p in model.parameters()], before)


def test_gradients_that_are_not_finite_reach_the_weights():
    model = mlp()
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0")
    model[0].weight.grad = torch.full_like(model[0].weight, torch.nan)
    optimizer.step()
    assert model[0].weight.isnan().all()


def test_sparse_gradients():
    def build(sparse):
        torch.manual_seed(1)
        return nn.Sequential(nn.Embedding(5, 3, sparse=sparse), nn.Flatten(), nn.Linear(6, 1))

    found = []
    for sparse in (True, False):
        model = build(sparse)
        optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0")
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.tensor([[0, 2], [2, 4]])).square().mean().backward()
            optimizer.step()
        found.append([p.detach() for p in model.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_half_precision_norms_do_not_overflow():
    layer = nn.Linear(4, 4, bias=False).to(torch.float16)
    before = layer.weight.detach().clone()
    optimizer = SpeedLimited(SGD(layer.parameters(), lr=1.0), model=layer, speeds={"": 1.0})
    layer.weight.grad = torch.full_like(layer.weight, 3e4)  # its square is no float16
    optimizer.step()
    assert float((layer.weight - before).detach().float().norm()) == pytest.approx(1.0, rel=1e-2)
    assert layer.weight.grad.dtype == torch.float16


def test_complex_gradients_count_by_real_and_imaginary_parts():
    layer = nn.Linear(3, 4, dtype=torch.complex64)
    optimizer = SpeedLimited(SGD(layer.parameters(), lr=1.0), model=layer, speeds={"": 1.0}, eps=0)
    gradients = {p: torch.randn_like(p) for p in layer.parameters()}
    parts = torch.cat([torch.view_as_real(g).flatten() for g in gradients.values()])
    for factor in optimizer.factors(gradients).values():
        assert float(factor) * float(parts.norm()) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e25])
def test_squares_of_gradients_need_not_fit_into_float32(size):
    layer = nn.Linear(3, 4)
    optimizer = SpeedLimited(SGD(layer.parameters(), lr=1.0), model=layer, speeds={"": 1.0}, eps=0)
    gradients = {p: torch.randn_like(p) for p in layer.parameters()}
    factors = optimizer.factors({p: g * size for p, g in gradients.items()})
    exact = torch.cat([g.double().flatten() for g in gradients.values()]).norm()
    for factor in factors.values():
        assert float(factor) * size * float(exact) == pytest.approx(1.0, rel=1e-5)


# --- an ordinary optimiser ------------------------------------------------------------------------


def test_resumes_bitwise_through_a_file():
    data = batches(20)
    model = mlp()
    build = lambda m: SpeedLimited(Adam(m.parameters(), lr=0.01), model=m, target="2")  # noqa: E731
    optimizer = build(model)
    train(model, optimizer, data[:10])
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    whole = train(model, optimizer, data[10:])

    again = mlp()
    resumed = SpeedLimited(Adam(again.parameters(), lr=0.5), model=again, target="0", strength=2)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    assert (resumed.target, resumed.strength, resumed.steps) == ("2", 20.0, 10)
    assert same(train(again, resumed, data[10:]), whole)


def test_a_plain_state_dict_is_taken_and_given():
    model = mlp()
    plain = Adam(model.parameters(), lr=0.01)
    train(model, plain, batches(3))
    optimizer = SpeedLimited(Adam(model.parameters()), model=model, target="0")
    optimizer.load_state_dict(plain.state_dict())
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert optimizer.state[model[0].weight]["step"] == 3
    plain.load_state_dict(optimizer.state_dict())  # the plain one ignores the limits


@pytest.mark.parametrize("way", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_copies_train_on_alike(way):
    model = mlp()
    optimizer = SpeedLimited(SGD(model.parameters(), 0.1, momentum=0.9), model=model, target="0")
    scheduler = LambdaLR(optimizer, lambda step: 1.0)  # patches `step` of this very object
    train(model, optimizer, batches(3))
    scheduler.step()
    twin, other = way((model, optimizer))
    assert other.param_groups[0]["params"][0] is twin[0].weight
    assert same(train(twin, other, batches(5)), train(model, optimizer, batches(5)))


def test_schedulers():
    model = mlp()
    optimizer = SpeedLimited(SGD(model.parameters(), 1.0, momentum=0.9), model=model, target="0")
    halving = LambdaLR(optimizer, lambda step: 0.5**step)
    plateau = ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    rates = []
    for batch in batches(3):
        train(model, optimizer, [batch])
        halving.step()
        rates.append(optimizer.optimizer.param_groups[0]["lr"])
    assert rates == [0.5, 0.25, 0.125]
    for _ in range(3):
        plateau.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.125 * 0.01)
    cycle = OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    train(model, optimizer, batches(1))
    cycle.step()
    assert optimizer.optimizer.param_groups[0]["momentum"] < 0.95  # it moves the momentum, too


def test_gradient_scaler():
    model = mlp()
    twin = copy.deepcopy(model)
    optimizer = SpeedLimited(Adam(model.parameters(), 0.01), model=model, target="0")
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    data = batches(4)
    for batch in data:
        optimizer.zero_grad()
        scaler.scale(loss_of(model, batch)).backward()
        scaler.step(optimizer)
        scaler.update()
    other = SpeedLimited(Adam(twin.parameters(), 0.01), model=twin, target="0")
    assert same(train(twin, other, data), [p.detach() for p in model.parameters()])  # powers of 2
    model[0].weight.grad.fill_(torch.inf)
    before = [p.detach().clone() for p in model.parameters()]
    scaler.scale(torch.ones(()))
    scaler.step(optimizer)
    scaler.update()
    assert same(before, [p.detach() for p in model.parameters()])
    assert scaler.get_scale() == 2.0**9
    assert optimizer.steps == 4


def test_closures_are_limited_at_every_evaluation():
    model = mlp()
    optimizer = SpeedLimited(
        torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4), model=model, target="0"
    )
    batch, norms = batches(1)[0], []
    inner = optimizer.optimizer

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        return loss

    gathered = inner._gather_flat_grad
    inner._gather_flat_grad = lambda: norms.append(gathered().norm()) or gathered()
    first = float(loss_of(model, batch).detach())
    returned = optimizer.step(closure)
    assert float(returned.detach()) == pytest.approx(first)
    expected = (20.0**2 + 2 / 20.0**2) ** 0.5
    assert len(norms) > 2
    assert all(float(size) == pytest.approx(expected, rel=1e-4) for size in norms)
    assert model[0].weight.grad.norm() < 10  # raw again


def test_a_closure_gives_what_no_closure_gives():
    model = mlp()
    twin = copy.deepcopy(model)
    data = batches(3)
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0")
    for batch in data:

        def closure(batch=batch):
            optimizer.zero_grad(set_to_none=False)
            loss = loss_of(model, batch)
            loss.backward()
            return loss

        optimizer.step(closure)
    other = SpeedLimited(SGD(twin.parameters(), lr=0.1), model=twin, target="0")
    assert same(train(twin, other, data), [p.detach() for p in model.parameters()])


def test_a_closure_that_accumulates_adds_raw_gradients():
    class Twice(SGD):
        def step(self, closure=None):
            closure()
            return super().step(closure)

    model = mlp()
    batch = batches(1)[0]
    optimizer = SpeedLimited(Twice(model.parameters(), lr=0.1), model=model, target="0")

    def closure():
        loss = loss_of(model, batch)
        loss.backward()
        return loss

    closure()
    once = [p.grad.clone() for p in model.parameters()]
    optimizer.step(closure)
    for p, g in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 3 * g)


def test_groups_added_later():
    model = mlp()
    optimizer = SpeedLimited(SGD(model[0].parameters(), lr=0.1), model=model, speeds={"": 2.0})
    optimizer.add_param_group({"params": model[4].weight, "lr": 0.5})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5]
    before = model[4].weight.detach().clone()
    train(model, optimizer, batches(1))
    assert float((model[4].weight - before).detach().norm()) == pytest.approx(1.0, rel=1e-5)
    with pytest.raises(InputError, match=r"must be one of the model's, got one of shape \(3, 3\)"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(3, 3))]})
    assert len(optimizer.param_groups) == 2


def test_named_parameters_need_no_model():
    model = mlp()
    twin = copy.deepcopy(model)
    optimizer = SpeedLimited(SGD(model.named_parameters(), lr=0.1), target="2")
    other = SpeedLimited(SGD(twin.parameters(), lr=0.1), model=nn.DataParallel(twin), target="2")
    assert same(train(model, optimizer, batches(3)), train(twin, other, batches(3)))
    first = SGD([("0.weight", model[0].weight)], lr=0.1)
    grown = SpeedLimited(first, speeds={"": 1.0})
    grown.add_param_group({"params": [("2.weight", model[2].weight)]})
    grown.speeds = {"2": 3.0, "0": 1.0}
    assert grown.speed("2") == 3.0


def test_hooks():
    model = mlp()
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0")
    seen = []
    optimizer.register_step_pre_hook(lambda one, args, kwargs: seen.append(("pre", one.steps)))
    optimizer.register_step_post_hook(lambda one, args, kwargs: seen.append(("post", one.steps)))
    optimizer.register_state_dict_pre_hook(lambda one: seen.append("save"))
    optimizer.register_state_dict_post_hook(lambda one, state: {**state, "mine": 1})
    optimizer.register_load_state_dict_pre_hook(lambda one, state: seen.append("load"))
    optimizer.register_load_state_dict_post_hook(lambda one: seen.append("loaded"))
    train(model, optimizer, batches(1))
    state = optimizer.state_dict()
    assert state["mine"] == 1
    optimizer.load_state_dict(state)
    assert seen == [("pre", 0), ("post", 1), "save", "load", "loaded"]


def test_a_probe_watches_it():
    model = mlp()
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.01), model=model, target="0")
    (batch,) = batches(1)
    probe = lazyrich.Probe(model, batch, observables=["nfa"])
    with probe.watch(optimizer, when=lazyrich.every(2)):
        train(model, optimizer, [batch] * 4)
    assert list(probe.history.step.values) == [0, 2, 4]


def test_shows_its_speeds():
    model = mlp()
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0", strength=4)
    assert repr(optimizer).startswith("SpeedLimited(speeds={'0': 4.0, '': 0.25}, eps=1e-08")
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert lazyrich.optim.SpeedLimited is SpeedLimited


# --- adaptive -------------------------------------------------------------------------------------


def lowest(model, x):
    table = lazyrich.nfa(model, x, correlation="pearson")
    return str(table.layer.values[table.nfa.values.argmin()])


def test_target_is_the_hidden_layer_of_the_lowest_ansatz():
    model = mlp()
    x = torch.randn(50, 4)
    with torch.no_grad():  # the readout listens to one neuron, whose input weights are large
        model[2].weight[0] *= 30
        model[4].weight[:, 1:] = 0
    optimizer = SpeedLimited(
        SGD(model.parameters(), lr=0.1), model=model, x=x, refresh=lazyrich.every(3)
    )
    targets = []
    for batch in batches(7):
        expected = lowest(model, x)
        train(model, optimizer, [batch])
        targets.append((optimizer.target, expected))
    for due in (0, 3, 6):
        assert targets[due][0] == targets[due][1]
    assert targets[1][0] == targets[2][0] == targets[0][0]
    assert targets[0][0] == "0"
    with torch.no_grad():  # now only what the second layer has is large where nobody listens
        model[0].weight[:] = 0
        model[0].weight[0] = 100
        model[2].weight[:] = torch.diag(torch.tensor([0.01, 100, 0, 0, 0, 0, 0, 0]))
    train(model, optimizer, batches(2))  # steps 7 and 8
    assert optimizer.target == "0"
    assert lowest(model, x) == "2"
    train(model, optimizer, batches(1))
    assert optimizer.target == "2"
    assert optimizer.speeds == {"2": 20.0, "": 0.05}


def test_adaptive_run_resumes_bitwise():
    data, x = batches(12), torch.randn(20, 4)
    model = mlp()

    def build(model):
        return SpeedLimited(
            SGD(model.parameters(), lr=0.02, momentum=0.9),
            model=model,
            x=x,
            refresh=lazyrich.every(4),
        )

    optimizer = build(model)
    train(model, optimizer, data[:6])
    twin = copy.deepcopy(model)
    state = copy.deepcopy(optimizer.state_dict())
    whole = train(model, optimizer, data[6:])
    resumed = build(twin)
    resumed.load_state_dict(state)
    assert same(train(twin, resumed, data[6:]), whole)


def test_a_diverged_run_keeps_its_target():
    model = mlp()
    optimizer = SpeedLimited(
        SGD(model.parameters(), lr=0.1),
        model=model,
        x=torch.randn(20, 4),
        refresh=lazyrich.every(1),
    )
    target = optimizer.target
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    train(model, optimizer, batches(1))
    assert optimizer.target == target


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "one of `speeds`, `target` and `x` must be given, got none"),
        (
            {"target": "0", "speeds": {"": 1.0}},
            r"one of `speeds`, `target` and `x` must be given, got \['speeds', 'target'\]",
        ),
        ({"target": "9"}, r"must be that of a layer with parameters in the optimiser, got '9'"),
        ({"target": "1"}, r"got '1'. Layers: \['0', '2', '4'\]"),
        ({"speeds": {"0": 1.0}}, r"must name every layer, got none for \['2', '4'\]"),
        ({"speeds": {"0": -1.0, "": 1.0}}, r"`speeds\['0'\]` must be a finite number ≥ 0, got -1"),
        ({"target": "0", "strength": 0.0}, "`strength` must be a finite number > 0, got 0.0"),
        ({"target": "0", "eps": -1.0}, "`eps` must be a finite number ≥ 0, got -1.0"),
        (
            {"target": "0", "refresh": lazyrich.every(2)},
            "`refresh` must come with `x`, got it without",
        ),
    ],
)
def test_refusals(options, message):
    model = mlp()
    with pytest.raises(InputError, match=message):
        SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, **options)


def test_other_refusals():
    model = mlp()
    sgd = SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"must be a torch.optim.Optimizer, got Sequential"):
        SpeedLimited(model, target="0")
    with pytest.raises(InputError, match=r"must be one of the model's, got one of shape \(8, 4\)"):
        SpeedLimited(sgd, target="0")  # no names, no model
    with pytest.raises(InputError, match="`model` must be given with `x`, got none"):
        SpeedLimited(sgd, x=torch.randn(3, 4))
    with pytest.raises(InputError, match=r"must train a hidden layer with an ansatz, got \['4'\]"):
        SpeedLimited(SGD(model[4].parameters(), lr=0.1), model=model, x=torch.randn(9, 4))
    optimizer = SpeedLimited(sgd, model=model, target="0")
    state = optimizer.state_dict()
    state["speed_limits"]["speeds"] = {"other": 1.0, "": 1.0}
    with pytest.raises(InputError, match="a layer with parameters in the optimiser, got 'other'"):
        optimizer.load_state_dict(state)


# --- what forecasts and probes make of it ---------------------------------------------------------


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_the_forecast_knows_the_step_that_it_makes(kind):
    from lazyrich.capture.optimizer_step import next_step

    model, batch = mlp(bias=True).double(), tuple(t.double() for t in batches(1)[0])
    trained = [*model[0].parameters(), *model[4].parameters()]
    names = ["0.weight", "0.bias", "4.weight", "4.bias"]
    inside = kind(zip(names, trained, strict=True), lr=0.01, weight_decay=0.1)
    optimizer = SpeedLimited(inside, speeds={"0": 5.0, "4": 0.3})
    loss_of(model, batch).backward()
    gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step = next_step(optimizer, model, before, gradient)
    optimizer.step()
    for name, p in model.named_parameters():
        assert torch.allclose(step.velocity[name], p.detach() - before[name], rtol=1e-6, atol=1e-12)
        assert step.rates[name].any() == (name in names)


def test_the_forecast_is_that_of_the_rates_which_the_limits_make():
    model, batch = mlp().double(), tuple(t.double() for t in batches(1)[0])
    limited = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="2", eps=0.0)
    loss_of(model, batch).backward()
    sizes = {name: p.grad.norm().item() for name, p in model.named_parameters()}
    groups = [
        {"params": [p], "lr": limited.speed(name.removesuffix(".weight")) / sizes[name]}
        for name, p in model.named_parameters()
    ]
    found, expected = (
        lazyrich.first_step(
            model, batch, functional.mse_loss, optimizer=optimizer, directions="all"
        )
        for optimizer in (limited, SGD(groups))
    )
    assert found.richness == pytest.approx(expected.richness, rel=1e-9)
    assert found.time_to_fit == pytest.approx(10 * expected.time_to_fit, rel=1e-9)
    assert found.layers["2"].motion == pytest.approx(expected.layers["2"].motion, rel=1e-9)


def test_the_dial_wants_the_optimiser_inside():
    model, batch = mlp(), batches(1)[0]
    optimizer = SpeedLimited(SGD(model.parameters(), lr=0.1), model=model, target="0")
    with pytest.raises(InputError, match="Pass its `optimizer`, and wrap that afterwards"):
        lazyrich.dial(model, batch, optimizer=optimizer, richness=0.1)
