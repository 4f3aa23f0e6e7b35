"""One mapping with inputs and labels, as Hugging Face gives it, says what the pair says."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("transformers")

from transformers import BatchEncoding, BertConfig, BertForSequenceClassification
from transformers.modeling_outputs import ModelOutput

import lazyrich
from lazyrich import InputError
from tests.models import brute_kernel

LABELS = torch.tensor([0, 2, 1, 1, 0, 2])


def bert(width=16):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=11, hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=width, max_position_embeddings=8, num_labels=3,
        attn_implementation="eager",
    )  # fmt: skip
    return BertForSequenceClassification(config).double().eval()


def encoded():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 11, (6, 5), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


PAIR = (encoded(), LABELS)
MAPPINGS = {
    "dict": {**encoded(), "labels": LABELS},
    "BatchEncoding": BatchEncoding({**encoded(), "labels": LABELS}),
    "ModelOutput": ModelOutput(**encoded(), labels=LABELS),
}
LOSS = "cross_entropy"


def probed(batch):
    probe = lazyrich.Probe(bert(), batch, LOSS, directions=2)
    probe.measure(0)
    return probe.history


def trained_linear(batch):
    return lazyrich.linearize(bert(), batch, LOSS).predict(steps=2, lr=0.1)


def forecast(batch):
    given = {"to_loss": 1.09, "max_steps": 3, "directions": 2}
    optimizer = torch.optim.SGD((model := bert()).parameters(), lr=0.01)
    return lazyrich.forecast(model, batch, LOSS, optimizer=optimizer, **given).richness


def dialled(batch):
    optimizer = torch.optim.SGD((model := bert()).parameters(), lr=0.01)
    return lazyrich.dial(
        model, batch, LOSS, optimizer=optimizer, richness=0.1, directions=2, max_steps=3
    ).output_scale


def checked(batch):
    return lazyrich.coordinate_check(
        bert, batch, LOSS, widths=(4, 8, 16), optimizer=0.1, steps=1, seeds=1,
        kernel=True, directions=2,
    ).data  # fmt: skip


DOORS = {
    "Probe": probed,
    "forecast": forecast,
    "richness": lambda batch: lazyrich.richness(bert(), batch, LOSS, directions=2),
    "initial_cnfa": lambda batch: lazyrich.initial_cnfa(bert(), batch, LOSS),
    "linearize": trained_linear,
    "dial": dialled,
    "coordinate_check": checked,
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_takes_the_mapping_of_both(door):
    of_pair = DOORS[door](PAIR)
    for kind, batch in MAPPINGS.items() if door == "Probe" else [("", MAPPINGS["BatchEncoding"])]:
        found = DOORS[door](batch)
        if hasattr(of_pair, "equals"):
            assert found.equals(of_pair), kind
        else:
            assert torch.equal(torch.as_tensor(found), torch.as_tensor(of_pair)), kind


@pytest.mark.parametrize("kind", MAPPINGS)
def test_kernels_and_ansatz_of_inputs_with_labels(kind):
    """What takes inputs alone gives them all to the model, which then returns a loss, too."""
    batch = MAPPINGS[kind]
    exact = brute_kernel(bert(), dict(encoded()))
    torch.testing.assert_close(lazyrich.ntk(bert(), batch), exact, rtol=1e-9, atol=1e-9)
    assert lazyrich.nfa(bert(), batch).equals(lazyrich.nfa(bert(), encoded()))
    assert lazyrich.cka(bert(), bert(16), batch).equals(lazyrich.cka(bert(), bert(16), encoded()))


def test_over_a_loader_of_encoded_batches():
    rows = [{name: t[i] for name, t in MAPPINGS["dict"].items()} for i in range(6)]
    loader = torch.utils.data.DataLoader(rows, batch_size=4)
    torch.testing.assert_close(lazyrich.ntk(bert(), loader), lazyrich.ntk(bert(), encoded()))


def test_the_model_and_its_configuration_are_left_alone():
    model = bert()
    before = copy.deepcopy(model.config.to_dict())
    lazyrich.Probe(model, MAPPINGS["dict"], LOSS).measure(0)
    lazyrich.ntk(model, MAPPINGS["dict"])
    assert model.config.to_dict() == before


def test_a_mapping_without_labels_is_no_labelled_batch():
    words = r"must be a pair \(inputs, targets\), or a mapping with `labels`, got a dict"
    for batch in (encoded(), {**encoded(), "labels": None}):
        with pytest.raises(InputError, match=words):
            lazyrich.Probe(nn.Linear(2, 1), batch)
