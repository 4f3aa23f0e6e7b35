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


def regression(lightning):
    class Regression(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = network()

        def training_step(self, batch, _):
            return nn.functional.mse_loss(self.network(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    return Regression()


def lightning_trainer(lightning, folder, callbacks, epochs=EPOCHS, **options):
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=callbacks, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, **options,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
@pytest.mark.filterwarnings("ignore:.*mapping_.*")
def test_lightning_goes_on_from_a_checkpoint(lightning, tmp_path):
    """Two probes at once; a test of an earlier checkpoint does not turn them back."""
    from lazyrich.probe.callbacks.lightning import LightningCallback

    x, y = data()

    def run(epochs, checkpoint=None):
        model = regression(lightning)
        probes = [Probe(model.network, (x, y), directions="all") for _ in range(2)]
        callbacks = [LightningCallback(probe, when=every(4)) for probe in probes]
        trainer = lightning_trainer(lightning, tmp_path, callbacks, epochs)
        loader = DataLoader(TensorDataset(x, y), batch_size=BATCH)
        trainer.fit(model, loader, ckpt_path=checkpoint)
        return model, trainer, probes, loader

    _, _, whole, _ = run(EPOCHS)
    model, trainer, _, _ = run(1)
    file = tmp_path / "half.ckpt"
    trainer.save_checkpoint(file)
    _, trainer, resumed, loader = run(EPOCHS, file)
    for probe in resumed:
        # 6, where the first training ended, was measured besides
        assert probe.history.step.values.tolist() == [0, 4, 6, 8, 12]
        assert probe.history.drop_sel(step=6).equals(whole[0].history)
        assert probe.verdict().regime == whole[0].verdict().regime
        assert probe.verdict().evidence == whole[0].verdict().evidence
        assert "not the initial network" not in probe.history.notes
    model.test_step = lambda *_: None
    trainer.test(model, loader, ckpt_path=file, verbose=False)
    assert resumed[0].step == 12


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
def test_lightning_says_when_a_checkpoint_had_no_probe(lightning, tmp_path):
    from lazyrich.probe.callbacks.lightning import LightningCallback

    loader, model = DataLoader(TensorDataset(*data()), batch_size=BATCH), regression(lightning)
    trainer = lightning_trainer(lightning, tmp_path, [], 1)
    trainer.fit(model, loader)
    trainer.save_checkpoint(file := tmp_path / "bare.ckpt")
    model = regression(lightning)
    probe = Probe(model.network, data())
    trainer = lightning_trainer(lightning, tmp_path, [LightningCallback(probe)])
    trainer.fit(model, loader, ckpt_path=file)
    assert probe.history.step.values.tolist() == [6, 12]
    assert "not the initial network: the first look came at step 6" in probe.history.notes


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
def test_a_second_fit_goes_on_counting(lightning, tmp_path):
    from lazyrich.probe.callbacks.lightning import LightningCallback

    loader, model = DataLoader(TensorDataset(*data()), batch_size=BATCH), regression(lightning)
    probe = Probe(model.network, data())
    callback = LightningCallback(probe, when=every(4))
    for _ in range(2):
        lightning_trainer(lightning, tmp_path, [callback], 1).fit(model, loader)
    assert probe.history.step.values.tolist() == [0, 4, 6, 8, 12]


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
def test_of_lightnings_optimisers_the_one_that_trains_the_network_counts(lightning, tmp_path):
    """As of a generator and a critic; both count as steps, as Lightning counts."""
    from lazyrich.probe.callbacks.lightning import LightningCallback

    class Pair(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.first, self.second = network(), network()
            self.automatic_optimization = False

        def configure_optimizers(self):
            parts = [(self.first[0], 0.1), (self.second, 0.3)]
            first, second = (torch.optim.SGD(net.parameters(), lr=rate) for net, rate in parts)
            return [first, second]

        def training_step(self, batch, _):
            for net, optimizer in zip((self.first, self.second), self.optimizers(), strict=True):
                optimizer.zero_grad()
                self.manual_backward(nn.functional.mse_loss(net(batch[0]), batch[1]))
                optimizer.step()

    model, x_y = Pair(), data()
    probes = [Probe(net, x_y) for net in (model.first, model.second)]
    trainer = lightning_trainer(
        lightning, tmp_path, [LightningCallback(probe, when=every(1)) for probe in probes], epochs=1
    )
    trainer.fit(model, DataLoader(TensorDataset(*x_y), batch_size=BATCH))
    first, second = (probe.history for probe in probes)
    assert first.step.values.tolist() == second.step.values.tolist() == list(range(0, 13, 2))
    assert first.layer_lr[-1].values.tolist() == [0.1, 0]
    assert second.layer_lr[-1].values.tolist() == [0.3, 0.3]


class Regression(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, x, labels=None):
        logits = self.network(x)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.mse_loss(logits, labels), "logits": logits}


def hugging_face_trainer(transformers, model, optimizer, callback, folder, **options):
    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

    settings = {"num_train_epochs": EPOCHS, "save_strategy": "no", **options}
    return InOrder(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=BATCH,
            learning_rate=0.1,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            use_cpu=True,
            report_to=[],
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **settings,
        ),
        train_dataset=[{"x": a, "labels": b} for a, b in zip(*data(), strict=True)],
        optimizers=(optimizer, None),
        callbacks=[callback],
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_hugging_face_goes_on_from_a_checkpoint(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    from lazyrich.probe.callbacks.huggingface import HuggingFaceCallback

    def run(checkpoint=None, **options):
        model = Regression()
        probe = Probe(model.network, data(), directions="all")
        callback = HuggingFaceCallback(probe, when=every(4))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        trainer = hugging_face_trainer(
            transformers, model, optimizer, callback, tmp_path, **options
        )
        trainer.train(resume_from_checkpoint=checkpoint)
        return probe, trainer

    whole, _ = run(save_strategy="steps", save_steps=6)
    resumed, trainer = run(str(tmp_path / "checkpoint-6"))
    assert resumed.history.step.values.tolist() == [0, 4, 8, 12]
    assert resumed.history.equals(whole.history)
    assert resumed.verdict() == whole.verdict()
    for file in (tmp_path / "checkpoint-6").glob("lazyrich-*"):
        file.unlink()
    late, _ = run(str(tmp_path / "checkpoint-6"))
    assert "not the initial network: the first look came at step 6" in late.history.notes
    trainer.train()  # once more, from where it ended
    assert resumed.history.step.values.tolist() == [0, 4, 8, 12, 16, 20, 24]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_hugging_face_sees_what_a_plain_loop_sees(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    from lazyrich.probe.callbacks.huggingface import HuggingFaceCallback

    model, (x, y), logged = Regression(), data(), {}
    probe = Probe(model.network, (x, y))
    callback = HuggingFaceCallback(
        probe, when=every(5), log=lambda row, step: logged.update({step: row})
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hugging_face_trainer(transformers, model, optimizer, callback, tmp_path).train()
    agree(probe.history, plain_history(network()))
    assert set(logged) == set(STEPS)
    assert logged[12]["lazyrich/loss"] == float(probe.history.loss[-1])


@pytest.mark.filterwarnings("ignore:The '.*dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*")
@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed"])
def test_lightning_in_other_precisions(lightning, precision, tmp_path):
    """The batch follows the model; what is measured is the network in full precision."""
    from lazyrich.probe.callbacks.lightning import LightningCallback

    loader, histories = DataLoader(TensorDataset(*data()), batch_size=BATCH), []
    for one in ("32-true", precision):
        model = regression(lightning)
        probe = Probe(model.network, data())
        callback = LightningCallback(probe, when=every(6))
        trainer = lightning_trainer(lightning, tmp_path, [callback], precision=one)
        trainer.fit(model, loader)
        histories.append(probe.history)
    for name in ("loss", "ntk_change", "weight_movement"):
        right, found = (history[name].values for history in histories)
        np.testing.assert_allclose(found, right, rtol=0.05)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_hugging_face_in_bf16(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    pytest.importorskip("accelerate", reason="needs accelerate")
    from lazyrich.probe.callbacks.huggingface import HuggingFaceCallback

    histories = []
    for options in ({}, {"bf16": True}):
        model = Regression()
        probe = Probe(model.network, data())
        callback = HuggingFaceCallback(probe, when=every(6))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        hugging_face_trainer(transformers, model, optimizer, callback, tmp_path, **options).train()
        histories.append(probe.history)
    for name in ("loss", "ntk_change", "weight_movement"):
        right, found = (history[name].values for history in histories)
        assert found[0].tolist() == right[0].tolist()
        np.testing.assert_allclose(found, right, rtol=0.05)
