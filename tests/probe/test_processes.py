"""Two processes that train together: the first one measures, and the other never waits for it."""

import contextlib
import os
import socket

import numpy as np
import pytest
import torch
from torch import distributed, nn

import lazyrich
from lazyrich._errors import InputError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))


def batch():
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
    return x, x[:, :1] ** 2


def forecast(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    return lazyrich.forecast(model, batch(), optimizer=optimizer, steps=3)


def of_synchronised_norms():
    """Measured by one process alone, a norm must not wait for the others."""
    model = nn.SyncBatchNorm.convert_sync_batchnorm(network())
    return [forecast(net).richness for net in (model, network())]


def refusal_of_a_spread_model():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = network()
    probe = lazyrich.Probe(model, batch())
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    with pytest.raises(InputError, match="must be whole on each process") as caught:
        probe.measure(0)
    return str(caught.value)


def train_together(rank, *, watched, lr=0.1):
    model, (x, y) = network(), batch()
    together = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.SGD(together.parameters(), lr=lr)
    probe = lazyrich.Probe(together, (x, y)) if watched else None
    own = slice(rank, None, 2)
    with probe.watch(optimizer, when=2) if probe else contextlib.nullcontext():
        for _ in range(4):
            optimizer.zero_grad()
            (together(x[own]) - y[own]).square().mean().backward()
            optimizer.step()
    return model, probe


def work(rank, port, file):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    model, probe = train_together(rank, watched=rank == 0)
    unwatched, _ = train_together(rank, watched=False)
    _, still = train_together(rank, watched=rank == 0, lr=0.0)
    found = {"weights": [p.detach().clone() for p in model.parameters()]}
    found["unwatched"] = [p.detach().clone() for p in unwatched.parameters()]
    if probe:
        found["still"] = str(still.verdict().regime)
        found["loss"] = probe.history.loss.values.tolist()
        found["change"] = probe.history.ntk_change.values.tolist()
        found["synchronised"] = of_synchronised_norms()
    found["refused"] = refusal_of_a_spread_model()
    torch.save(found, f"{file}-{rank}")
    distributed.destroy_process_group()


def test_the_first_of_two_processes_measures(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, str(tmp_path / "found")), nprocs=2)
    first, second = (torch.load(tmp_path / f"found-{rank}") for rank in range(2))
    assert all(map(torch.equal, first["weights"], second["weights"]))  # still in step
    assert all(map(torch.equal, first["weights"], first["unwatched"]))
    assert first["still"] == "frozen"
    assert len(first["loss"]) == 3
    assert first["change"][0] == 0 < first["change"][-1]
    np.testing.assert_allclose(*first["synchronised"], rtol=1e-6)
    assert "got `0.weight`, which is spread over processes" in first["refused"]
