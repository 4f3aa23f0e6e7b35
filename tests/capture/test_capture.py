"""What a capture holds, and what it says about the rest."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import lazyrich
from lazyrich import InputError
from lazyrich.capture.capture import capture
from lazyrich.capture.jacobian import jacobian_factors
from lazyrich.probe.steer.centred import CentredOutput
from tests.models import Named, Residual, brute_kernel, cases, randn

CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_rows_obey_the_layers_equation(name):
    """z = W h + b at every position, for every captured layer, convolutions included."""
    model, x = CASES[name]
    seen = capture(model, x)
    for layer in seen.layers:
        groups, m, d = (w := layer.matrix).shape[0], *w.shape
        h, z = layer.inputs.flatten(2), layer.preactivations.flatten(2)
        expected = h @ layer.matrix.T
        if bias := layer.tensors.get("bias"):
            expected = expected + bias.of(seen.leaves[bias.parameter].detach())
        torch.testing.assert_close(z, expected)
        assert (groups, m, d) == (z.shape[2], z.shape[2], h.shape[2])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even")
@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("mode", ["zeros", "replicate"])
def test_same_padding(size, dilation, mode):
    conv = nn.Conv1d(2, 3, size, padding="same", dilation=dilation, padding_mode=mode).double()
    (layer,) = capture(conv, randn(2, 2, 9)).layers
    z = layer.inputs.flatten(2) @ layer.matrix.T + conv.bias
    torch.testing.assert_close(layer.preactivations.flatten(2), z)


def test_layers_are_named_in_forward_order():
    seen = capture(*CASES["hand-written attention"])
    names = ["attention.qkv", "attention.out", "mlp.1", "mlp.3", "head"]
    assert [layer.name for layer in seen.layers] == names
    assert [layer.name for layer in seen.small] == ["embed", "position", "norm", "mlp.0"]
    assert seen.readout == "head"  # the output is one of a dict's values


class After(nn.Module):
    """A chain of layers, and what a function makes of its output."""

    def __init__(self, after, outputs=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
        self.after = after

    def forward(self, x):
        return self.after(self.body(x))


@pytest.mark.parametrize(
    ("after", "readout"),
    [
        (lambda z: z, "body.2"),
        (lambda z: {"logits": z}, "body.2"),
        (lambda z: 3 * (z - torch.arange(3)) / 7, "body.2"),
        (lambda z: z * torch.tensor([1.0, 1.0, 2.0]), None),
        (lambda z: z - z.mean(1, keepdim=True), None),
        (torch.tanh, None),
        (lambda z: z.flip(1), None),
        (lambda z: z.sum(1), None),
    ],
)
def test_the_readout_is_the_output_up_to_a_factor_and_a_shift(after, readout):
    assert capture(After(after), randn(6, 4)).readout == readout


def test_a_centred_networks_readout_is_the_networks():
    model = CentredOutput(After(lambda z: z), output_scale=0.1)
    assert capture(model, randn(6, 4)).readout == "network.body.2"
    probe = lazyrich.Probe(model, (randn(6, 4), randn(6, 3)), observables=["nfa"])
    probe.measure(0)
    nfa = probe.history.nfa.isel(step=0)
    assert list(nfa.layer.values) == ["network.body.0", "network.body.2"]
    assert nfa.notnull().values.tolist() == [True, False]


def test_every_module_with_parameters_is_captured_or_explained():
    for name, (model, x) in CASES.items():
        seen = capture(model, x)
        captured = {layer.name for layer in seen.layers}
        inside = {piece.parameter for x in seen.layers for piece in x.tensors.values()}
        for parameter, _ in model.named_parameters():
            owner = parameter.rpartition(".")[0]
            explained = {owner, parameter} & set(seen.skipped)
            assert parameter in inside or explained, (name, parameter)
        assert all(seen.skipped.values()), name
        assert not captured & set(seen.skipped), name


@pytest.mark.parametrize(
    ("name", "module", "reason"),
    [
        ("transformer", "position", "entry by entry"),
        ("more keys", "attention.bias_k", "in no product with activations"),
        ("transformer", "norm", "no weight matrix"),
        ("weight norm", "0.parametrizations.weight", "is computed from its parameters"),
    ],
)
def test_reasons(name, module, reason):
    assert reason in capture(*CASES[name]).skipped[module]


def test_rows_of_a_linear_layer_find_their_samples():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(torch.tanh(self.a(x.flatten(0, 1))).view(len(x), -1, 4).mean(1))

    model, x = Flat().double(), randn(4, 5, 3)
    seen = capture(model, x)
    assert [layer.name for layer in seen.layers] == ["a", "b"]
    torch.testing.assert_close(seen.layers[0].inputs, x[:, :, None])
    assert not seen.skipped


def test_convolutions_with_another_layout_are_skipped_with_their_shape():
    class Frames(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv1d(2, 4, 2), nn.Linear(4, 2)

        def forward(self, x):
            return self.b(torch.tanh(self.a(x.flatten(0, 1))).mean(2).view(len(x), -1, 4).mean(1))

    model, x = Frames().double(), randn(4, 5, 2, 3)
    seen = capture(model, x)
    assert [layer.name for layer in seen.layers] == ["b"]
    assert "(20, 2, 3) does not begin with the batch's 4 samples" in seen.skipped["a"]
    torch.testing.assert_close(lazyrich.ntk(model, x), brute_kernel(model, x))


def test_a_subclass_with_its_own_forward_is_the_product_inside():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model, x = nn.Sequential(Scaled(3, 4), nn.Linear(4, 2)).double(), randn(4, 3)
    first, _ = capture(model, x).layers
    assert first.name == "0"
    z = functional.linear(x, model[0].weight, model[0].bias)
    torch.testing.assert_close(first.preactivations.flatten(1), z)


def test_in_place_activations_leave_the_preactivation():
    model = nn.Sequential(nn.Linear(3, 50), nn.ReLU(inplace=True), nn.Linear(50, 1)).double()
    x = randn(4, 3)
    first, second = capture(model, x).layers
    assert (first.preactivations < 0).any()
    assert (second.inputs >= 0).all()


def test_gradients_of_several_directions_share_one_forward_pass():
    model, x = Residual().double(), randn(3, 2, 5, 5)
    runs = []
    model.register_forward_hook(lambda *_: runs.append(1))
    seen = capture(model, x)
    passes = len(runs)  # the user's hooks fire in each
    total = [torch.zeros_like(call.outputs) for layer in seen.layers for call in layer.calls]
    for direction in seen.exact_directions():
        found = seen.gradients(direction)[: len(seen.layers)]
        total = [t + g for t, (g,) in zip(total, found, strict=True)]
    summed = seen.gradients(torch.ones_like(seen.outputs))[: len(seen.layers)]
    for t, (g,) in zip(total, summed, strict=True):
        torch.testing.assert_close(t, g)
    assert len(runs) == passes


BAD = {
    "no parameters": (lambda: nn.ReLU(), lambda: randn(2, 3), "must have parameters, got ReLU"),
    "empty batch": (lambda: nn.Linear(3, 2), lambda: randn(0, 3), "got a batch of size 0"),
    "no tensor": (lambda: nn.Linear(3, 2), lambda: {}, "must hold a tensor whose first"),
    "nan data": (lambda: nn.Linear(3, 2), lambda: randn(2, 3) / 0 * 0, "`x` must be finite"),
    "scalar output": (
        lambda: nn.Sequential(nn.Linear(3, 2), Mean()),
        lambda: randn(4, 3),
        "one row for each of the 4 samples",
    ),
    "detached output": (
        lambda: nn.Sequential(nn.Linear(3, 2), Detach()),
        lambda: randn(4, 3),
        "must have a gradient, got one that is cut off",
    ),
    "infinite output": (
        lambda: nn.Sequential(nn.Linear(3, 2), Overflow()),
        lambda: randn(4, 3),
        "output must be finite",
    ),
    "batch statistics of one": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)),
        lambda: randn(1, 3),
        r"at least 2 values of each channel to normalise by, got inputs of shape \(1, 2\) at",
    ),
}


class Mean(nn.Module):
    def forward(self, x):
        return x.mean()


class Detach(nn.Module):
    def forward(self, x):
        return x.detach()


class Overflow(nn.Module):
    def forward(self, x):
        return (1e3 + x.abs()).exp()


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    model, x, message = BAD[case]
    with pytest.raises(InputError, match=message):
        capture(model().double(), x())


def test_nan_weights_are_named():
    model = Named().double()
    model.frozen.weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"parameter `frozen.weight` must be finite"):
        capture(model, {"values": randn(4, 3), "scale": randn(4, 1)})


class Coupled(nn.Module):
    """Samples see each other: before the layers, or after them."""

    def __init__(self, late):
        super().__init__()
        self.a, self.b, self.late = nn.Linear(3, 4), nn.Linear(4, 2), late

    def forward(self, x):
        h = torch.tanh(self.a(x if self.late else x - x.mean(0)))
        return self.b(h - h.mean(0) if self.late else h)


@pytest.mark.parametrize("late", [False, True])
def test_samples_that_see_each_other_are_measured_as_they_do(late):
    model, x = Coupled(late).double(), randn(4, 3)
    torch.testing.assert_close(lazyrich.ntk(model, x), brute_kernel(model, x))


def test_refusals_of_the_jacobian():
    model, x = nn.Linear(3, 2).double(), randn(4, 3)
    seen = capture(model, x)
    with pytest.raises(
        InputError, match="must cover every trainable parameter, got none for `bias"
    ):
        jacobian_factors(seen, lrs={"weight": 1.0}, memory=2**30)
    with pytest.raises(InputError, match=r"must be ≥ 0 and finite, got -1.0 for `weight`"):
        jacobian_factors(seen, lrs={"weight": -1.0, "": 1.0}, memory=2**30)
    with pytest.raises(InputError, match=r"must name trainable .* got \['head'\]"):
        jacobian_factors(seen, lrs={"head": 1.0, "": 1.0}, memory=2**30)
    with pytest.raises(InputError, match="must have a trainable parameter, got only frozen"):
        jacobian_factors(capture(model.requires_grad_(False), x), memory=2**30)
    seen = capture(*CASES["more keys"])
    with pytest.raises(InputError, match="per-sample gradients of 2 parameters"):
        jacobian_factors(seen, memory=1000)


class Root(nn.Module):
    def forward(self, x):
        return (x - x).sqrt()


def test_infinite_gradients_are_refused():
    seen = capture(nn.Sequential(nn.Linear(3, 2), Root()).double(), randn(4, 3))
    with pytest.raises(InputError, match="gradients must be finite, got NaN or infinity at `0`"):
        seen.gradients(torch.ones_like(seen.outputs))
