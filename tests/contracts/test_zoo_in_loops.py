"""Networks as people have them in the loops that people have: watching moves nothing, ends well.

For each loop some networks that stress it: statistics of batches, noise of their own, weights that
are computed, outputs in a record. Two processes: `tests/probe/test_processes.py`.
"""

import contextlib

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import lazyrich
from lazyrich.capture.isolation import map_tensors, single_output
from lazyrich.probe.schedule import every
from tests.zoo import made

STEPS = 3
QUIET = (
    "ignore::DeprecationWarning",
    "ignore:The '.*dataloader' does not have many workers",
    "ignore:.*isinstance.treespec, LeafSpec.*",
    "ignore:'pin_memory' argument is set as true",
    "ignore:.*mapping_.*",
)


def outputs_of(model, x):
    args = (x,) if isinstance(x, torch.Tensor) else x
    return single_output(model(**x) if isinstance(x, dict) else model(*args))


def loss_of(model, x, y):
    return (outputs_of(model, x) - y).square().mean()


def sgd(model, rate):
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)


def watching(probe, optimizer):
    return probe.watch(optimizer, when=1) if probe else contextlib.nullcontext()


def plainly(model, x, y, rate, probe, _):
    optimizer = sgd(model, rate)
    with watching(probe, optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()


def with_amp(model, x, y, rate, probe, _):
    optimizer, scaler = sgd(model, rate), torch.amp.GradScaler("cpu")
    with watching(probe, optimizer):
        for _ in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(model, x, y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()


def accumulating(model, x, y, rate, probe, _):
    optimizer = sgd(model, rate)
    with watching(probe, optimizer):
        for i in range(2 * STEPS):
            (loss_of(model, x, y) / 2).backward()
            if i % 2:
                optimizer.step()
                optimizer.zero_grad()


def compiled(model, x, y, rate, probe, _):
    plainly(torch.compile(model, backend="aot_eager"), x, y, rate, probe, _)


def accelerated(model, x, y, rate, probe, _, **options):
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2, **options)
    model, optimizer = accelerator.prepare(model, sgd(model, rate))
    with watching(probe, optimizer):
        for _ in range(2 * STEPS):
            with accelerator.accumulate(model):
                accelerator.backward(loss_of(model, x, y))
                optimizer.step()
                optimizer.zero_grad()


def accelerated_in_bf16(*given):
    accelerated(*given, mixed_precision="bf16")


def by_lightning(model, x, y, rate, probe, folder, precision="32-true"):
    lightning = pytest.importorskip("lightning.pytorch", reason="needs lightning")
    from lazyrich.probe.callbacks.lightning import LightningCallback

    class Trained(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, _batch, _index):
            dtype = next(self.model.parameters()).dtype
            return loss_of(self.model, cast(x, dtype), y.to(dtype))

        def configure_optimizers(self):
            return sgd(self.model, rate)

    lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        callbacks=[LightningCallback(probe, when=every(1))] if probe else [], precision=precision,
    ).fit(Trained(), DataLoader(list(range(STEPS))))  # fmt: skip


def by_lightning_in_bf16(*given):
    by_lightning(*given, precision="bf16-true")


class Supervised(nn.Module):
    """As the Trainer wants it."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, labels):
        f = outputs_of(self.model, x)
        return {"loss": (f - labels).square().mean(), "logits": f}


def by_hugging_face(model, x, y, rate, probe, folder, **options):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    from lazyrich.probe.callbacks.huggingface import HuggingFaceCallback

    transformers.Trainer(
        model=Supervised(model),
        args=transformers.TrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=len(y), max_steps=STEPS,
            use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, dataloader_pin_memory=False, **options,
        ),
        train_dataset=[{"x": a, "labels": b} for a, b in zip(x, y, strict=True)],
        optimizers=(sgd(model, rate), None),
        callbacks=[HuggingFaceCallback(probe, when=every(1))] if probe else [],
    ).train()  # fmt: skip


def by_hugging_face_in_bf16(*given):
    by_hugging_face(*given, bf16=True)


def cast(x, dtype):
    return map_tensors(lambda t: t.to(dtype) if t.is_floating_point() else t, x)


CASES = [
    (plainly, "VAE", torch.float32),
    (plainly, "ResNet", torch.bfloat16),
    (plainly, "SimCLR", torch.float32),
    (with_amp, "ResNet", torch.float32),
    (with_amp, "GPT-2", torch.float32),
    (with_amp, "checkpoint with dropout", torch.float32),
    (accumulating, "weight and spectral norm", torch.float32),
    (accumulating, "mixture density", torch.bfloat16),
    (compiled, "neural ODE", torch.float32),
    (compiled, "DeepONet", torch.float32),
    (accelerated, "LSTM", torch.float32),
    (accelerated_in_bf16, "BERT", torch.float32),
    (by_lightning, "PINN", torch.float32),
    (by_lightning_in_bf16, "U-Net", torch.float32),
    (by_hugging_face, "GRU", torch.float32),
    (by_hugging_face_in_bf16, "squeeze and excite", torch.float32),
]


def trained(case, rate, folder, *, watched):
    """Weights, state of the random generator, and what the probe saw."""
    loop, name, dtype = case
    model, x = made(name)
    model, x = model.to(dtype).train(), cast(x, dtype)
    with torch.no_grad():
        shape = outputs_of(model, x).shape
    y = torch.randn(shape, dtype=dtype)
    probe = lazyrich.Probe(model, (x, y), directions=2) if watched else None
    torch.manual_seed(1)
    loop(model, x, y, rate, probe, folder)
    return model.state_dict(), torch.get_rng_state(), probe


@pytest.mark.filterwarnings(*QUIET)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}, {case[0].__name__}")
def test_watching_moves_nothing_and_ends_with_a_verdict(case, tmp_path):
    weights, drawn, _ = trained(case, 0.01, tmp_path, watched=False)
    found, drawn_too, probe = trained(case, 0.01, tmp_path, watched=True)
    assert weights.keys() == found.keys()
    assert all(torch.equal(value, found[name]) for name, value in weights.items())
    assert torch.equal(drawn, drawn_too)
    assert probe.history.step.values.tolist() == list(range(STEPS + 1))
    assert (probe.history.ntk_change[1:] > 0).all()
    assert str(probe.verdict())
    _, _, still = trained(case, 0.0, tmp_path, watched=True)
    assert still.verdict().regime == "frozen"
