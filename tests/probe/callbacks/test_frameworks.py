"""Real runs of both frameworks; the callback must see what a plain loop would."""

import logging
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import every

SAMPLES, BATCH, EPOCHS = 24, 4, 2  # 12 steps
STEPS = [0, 5, 10, 12]


def data():
    x = torch.randn(SAMPLES, 3, generator=torch.Generator().manual_seed(1))
    return x, x[:, :1] ** 2


def network():
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))


def plain_history(model):
    """The same training in a plain loop."""
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = Probe(model, (x, y))
    with probe.watch(optimizer, when=every(5)):
        for _ in range(EPOCHS):
            for rows in torch.arange(SAMPLES).split(BATCH):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x[rows]), y[rows]).backward()
                optimizer.step()
    return probe.history


def agree(history, expected):
    assert history.step.values.tolist() == expected.step.values.tolist() == STEPS
    for name in expected.data_vars:
        assert np.allclose(history[name], expected[name], rtol=1e-4, atol=1e-6, equal_nan=True), (
            name
        )


@pytest.fixture
def lightning(monkeypatch):
    found = pytest.importorskip("lightning.pytorch", reason="needs lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return found


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
def test_lightning_sees_what_a_plain_loop_sees(lightning, tmp_path):
    from lazyrich.probe.callbacks.lightning import LightningCallback

    class Regression(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = network()

        def training_step(self, batch, _):
            return nn.functional.mse_loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    class Memory(lightning.loggers.logger.DummyLogger):
        def __init__(self):
            super().__init__()
            self.rows = {}

        def log_metrics(self, metrics, step=None):
            self.rows.setdefault(step, {}).update(metrics)

    model, logger, (x, y) = Regression(), Memory(), data()
    probe = Probe(model.network, (x, y))
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        callbacks=[LightningCallback(probe, when=every(5))],
        logger=logger,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=BATCH))
    agree(probe.history, plain_history(network()))
    logged = {step for step, row in logger.rows.items() if "lazyrich/ntk_change" in row}
    assert logged == set(STEPS)
    row, last = logger.rows[12], probe.history.isel(step=-1)
    assert row["lazyrich/loss"] == float(last.loss)
    assert row["lazyrich/layer_log_rescaling/0"] == float(last.layer_log_rescaling.sel(layer="0"))
    assert math.isfinite(row["lazyrich/nfa/0"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_hugging_face_sees_what_a_plain_loop_sees(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    from lazyrich.probe.callbacks.huggingface import HuggingFaceCallback

    class Regression(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network()

        def forward(self, x, labels=None):
            logits = self.network(x)
            if labels is None:
                return {"logits": logits}
            return {"loss": nn.functional.mse_loss(logits, labels), "logits": logits}

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    model, (x, y), logged = Regression(), data(), {}
    probe = Probe(model.network, (x, y))
    trainer = InOrder(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            learning_rate=0.1,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=[{"x": a, "labels": b} for a, b in zip(x, y, strict=True)],
        optimizers=(torch.optim.SGD(model.parameters(), lr=0.1), None),
        callbacks=[
            HuggingFaceCallback(
                probe, when=every(5), log=lambda row, step: logged.update({step: row})
            )
        ],
    )
    trainer.train()
    agree(probe.history, plain_history(network()))
    assert set(logged) == set(STEPS)
    assert logged[12]["lazyrich/loss"] == float(probe.history.loss[-1])
