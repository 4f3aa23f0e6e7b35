"""The networks against known counts of parameters, and against plain formulas."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import lazyrich as lr
from lazyrich import InputError
from lazyrich.study import DataSet, Samples, parametrise
from lazyrich.study.networks import catalogue as networks
from lazyrich.study.networks.attention import Place
from lazyrich.study.networks.convolutional import RESNET18

TINY = {
    "fcn": ({"width": 8, "depth": 2, "bias": True}, (1, 8, 8)),
    "cnn": ({"width": 4}, (1, 8, 8)),
    "resnet18": ({"width": 2}, (3, 16, 16)),
    "vgg11": ({"width": 2, "dropout": 0.2}, (3, 16, 16)),
    "transformer": ({"width": 8, "patch": 4}, (3, 16, 16)),
}


def tiny(name, outputs=3):
    options, inputs = TINY[name]
    return networks.NETWORKS[name](inputs, outputs, **options), inputs


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def drawn(*shape, seed=0, dtype=None):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_every_network_has_a_tiny_one():
    assert set(TINY) == set(networks.NETWORKS)


@pytest.mark.parametrize("name", TINY)
def test_a_probe_watches_every_network(name):
    network, inputs = tiny(name)
    x, y = drawn(12, *inputs), torch.arange(12) % 3
    made = parametrise(network, "mup", seed=0)
    optimizer = torch.optim.SGD(made.groups(0.02))
    probe = lr.Probe(made.model, (x, y), "cross_entropy")
    with probe.watch(optimizer, when=lr.every(1)):
        for _ in range(2):
            optimizer.zero_grad()
            functional.cross_entropy(made.model(x), y).backward()
            optimizer.step()
    history = probe.history
    kinds = (nn.Linear, nn.Conv2d)
    weighted = [path for path, m in made.model.named_modules() if isinstance(m, kinds)]
    assert [name for name in history.layer.values if name in weighted] == weighted
    assert (history.ntk_change.values[1:] > 0).all()
    assert history.ntk_change.notnull().all()
    assert history.nfa.isel(step=-1).sel(layer=weighted[:-1]).notnull().all()
    assert [layer.name for layer in probe.verdict().layers] == list(history.layer.values)


def test_resnet18_has_the_parameters_of_the_public_one():
    network = networks.resnet18((3, 32, 32), 10)
    assert count(network) == 11_173_962
    shapes = []
    for stage in range(1, 5):
        network.get_submodule(f"stage{stage}").register_forward_hook(
            lambda _module, _args, output: shapes.append(tuple(output.shape[1:]))
        )
    narrow = networks.resnet18((1, 28, 28), 10, width=4)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 32, 32))
        assert narrow.eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    assert shapes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]


def test_a_block_adds_two_convolutions_to_what_it_is_given():
    network = networks.resnet18((3, 8, 8), 2, width=2).eval()
    same, other = network.stage1[0], network.stage2[0]
    assert len(same.shortcut) == 0
    x = drawn(2, 2, 8, 8)
    with torch.no_grad():
        for block in (same, other):
            block.norm2.weight.zero_()
        assert torch.equal(same(x), x.relu())
        norm, conv = other.shortcut.norm, other.shortcut.conv.weight[:, :, 0, 0]
        expected = torch.einsum("kc,nchw->nkhw", conv, x[:, :, ::2, ::2])
        assert torch.allclose(other(x), (expected / (1 + norm.eps) ** 0.5).relu(), atol=1e-6)
        same.norm2.weight.fill_(1.0)
        z = functional.conv2d(x, same.conv1.weight, padding=1) / (1 + norm.eps) ** 0.5
        z = functional.conv2d(z.relu(), same.conv2.weight, padding=1) / (1 + norm.eps) ** 0.5
        assert torch.allclose(same(x), (x + z).relu(), atol=1e-6)


@pytest.mark.parametrize("width", [1, 3])
def test_resnet18_at_any_width(width):
    channels, expected = width, 9 * 3 * width + 2 * width
    for factor, stride in RESNET18:
        out = factor * width
        expected += 9 * out * (channels + 3 * out) + 8 * out
        if stride != 1 or channels != out:
            expected += channels * out + 2 * out
        channels = out
    assert count(networks.resnet18((3, 32, 32), 10, width=width)) == expected + 10 * (channels + 1)


def test_vgg11_has_the_convolutions_of_configuration_a():
    network = networks.vgg11((3, 32, 32), 10)
    convolutions = sum(count(m) for m in network if isinstance(m, nn.Conv2d))
    # the ImageNet network: 7 × 7 places, 1,000 classes, 132,863,336 parameters in all
    imagenet = (7 * 7 * 512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    assert convolutions + imagenet == 132_863_336
    assert count(network) == convolutions + (512 + 1) * 4096 + (4096 + 1) * 4096 + 4097 * 10
    assert count(network) == 28_144_010


def test_vgg11_begins_as_usual_and_takes_small_images():
    torch.manual_seed(0)
    network = networks.vgg11((3, 8, 8), 10, width=8, dropout=0.5)
    conv, linear = network.layer8, network.layer10
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert all(m.bias.eq(0).all() for m in network if isinstance(m, nn.Conv2d | nn.Linear))
    assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    assert [m.p for m in network if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    plain = networks.vgg11((3, 8, 8), 10, width=1)
    assert not any(isinstance(m, nn.Dropout) for m in plain)


FORMULAS = {
    "linear": lambda z: z,
    "relu": lambda z: z.clamp(min=0),
    "tanh": lambda z: 1 - 2 / (1 + (2 * z).exp()),
    "quadratic": lambda z: z * z,
    "erf": lambda z: 1 - torch.erfc(z),
    "gelu": lambda z: z * (1 + torch.erf(z / math.sqrt(2))) / 2,
}


@pytest.mark.parametrize("activation", networks.ACTIVATIONS)
def test_fully_connected_networks_are_their_formula(activation):
    network = networks.fcn((2, 3), 4, width=5, depth=2, activation=activation, bias=True).double()
    x = drawn(7, 2, 3, dtype=torch.float64)
    phi, h = FORMULAS[activation], x.flatten(1)
    for layer in (network.layer1, network.layer2):
        h = phi(h @ layer.weight.T + layer.bias)
    expected = h @ network.readout.weight.T + network.readout.bias
    assert torch.allclose(network(x), expected, rtol=1e-12)


def test_fully_connected_networks_without_a_bias_count_their_matrices():
    assert count(networks.fcn((1, 28, 28), 10, width=100)) == 784 * 100 + 1000
    assert count(networks.fcn((1, 28, 28), 10, width=100, depth=3)) == 784 * 100 + 20_000 + 1000


def test_attention_is_the_one_of_pytorch():
    network = networks.transformer((5, 6), 3, width=16, head_size=4).double()
    ours = network.block1.attention
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).double()
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        theirs.out_proj.weight.copy_(ours.join.weight)
        theirs.out_proj.bias.copy_(ours.join.bias)
        h = drawn(2, 5, 16, dtype=torch.float64)
        assert torch.allclose(ours(h), theirs(h, h, h)[0], rtol=1e-12)


def test_the_transformer_reads_rows_patches_or_a_sequence():
    x = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6).float()
    rows = networks.transformer((3, 4, 6), 2, width=8).tokens(x)
    assert torch.equal(rows, x.transpose(1, 2).flatten(2))
    patches = networks.transformer((3, 4, 6), 2, width=8, patch=2).tokens(x)
    assert patches.shape == (2, 6, 12)
    assert torch.equal(patches[1, 4], x[1, :, 2:4, 2:4].flatten())  # second row, second column
    sequence = networks.transformer((4, 6), 2, width=8)
    assert torch.equal(sequence.tokens(x[:, 0]), x[:, 0])
    # embed, place, one block (two norms, attention, two layers), norm, readout
    assert count(sequence) == 7 * 8 + 32 + (32 + 4 * 72 + 9 * 16 + 17 * 8) + 16 + (4 * 8 + 1) * 2


def test_the_order_of_tokens_matters_by_their_place_alone():
    network = networks.transformer((4, 6), 2, width=8, depth=2)
    body = network[: list(dict(network.named_children())).index("flatten")]
    x, turned = drawn(1, 4, 6), torch.tensor([2, 0, 3, 1])
    assert not torch.allclose(body(x)[:, turned], body(x[:, turned]), atol=1e-3)
    with torch.no_grad():
        next(m for m in body if isinstance(m, Place)).shift.zero_()
    assert torch.allclose(body(x)[:, turned], body(x[:, turned]), atol=1e-5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: networks.fcn((), 1), "`inputs` must be the shape of one sample"),
        (lambda: networks.fcn((0,), 1), r"`inputs` must be .*, got \(0,\)"),
        (lambda: networks.fcn((2,), 0), "`outputs` must be at least 1, got 0"),
        (lambda: networks.fcn((2,), 1, depth=0), "`depth` must be at least 1, got 0"),
        (
            lambda: networks.fcn((2,), 1, activation="sine"),
            "`activation` must be one of linear, re",
        ),
        (lambda: networks.cnn((64,), 1), r"`inputs` must be \(channels, height, width\).*\(64,\)"),
        (lambda: networks.resnet18((3, 8, 8), 1, width=0), "`width` must be at least 1"),
        (lambda: networks.vgg11((3, 8, 8), 1, dropout=1.0), "`dropout` must lie between 0 and 1"),
        (lambda: networks.transformer((1, 8, 8), 1, width=12), "multiple of 8 .the size of a head"),
        (
            lambda: networks.transformer((1, 8, 8), 1, patch=3),
            "`patch` must divide .* 8 × 8, got 3",
        ),
        (lambda: networks.transformer((8, 8), 1, patch=2), r"`inputs` must be .* got \(8, 8\)"),
        (lambda: networks.transformer((8,), 1), r"`inputs` must be .* got \(8,\)"),
    ],
)
def test_bad_sizes_are_refused(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_data_take_the_form_that_a_network_wants():
    part = Samples(x=drawn(6, 1, 2, 2), y=torch.arange(6) % 3)
    data = DataSet(name="squares", train=part, test=part, classes=3)
    assert networks.as_taken_by(networks.fcn((1, 2, 2), 3), data) is data
    flat = networks.as_taken_by(nn.Linear(4, 3), data)
    assert flat.inputs == (4,)
    assert torch.equal(flat.test.x, part.x.flatten(1))
    with pytest.raises(
        InputError, match=r"to outputs \(2, 3\)\. As they are: RuntimeError.*\(2, 5"
    ):
        networks.as_taken_by(nn.Linear(4, 5), data)
