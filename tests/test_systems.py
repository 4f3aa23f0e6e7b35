"""Nothing that only POSIX has is needed: imports and the main paths run where it is missing."""

import subprocess
import sys

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "syslog", "readline")
NAMES = {
    "os": ("fork", "register_at_fork", "sched_getaffinity", "getuid", "geteuid", "killpg", "nice"),
    "signal": ("pthread_sigmask", "pthread_kill", "alarm", "setitimer", "SIGALRM"),
}
ELSEWHERE = f"""
# what is not ours looks at the system itself, and is loaded whole
import asyncio, concurrent.futures, importlib, multiprocessing.resource_tracker, os, signal
import subprocess, sys
import filelock, matplotlib.pyplot, netCDF4, numba, sklearn.datasets, torch, torch.func, xarray
multiprocessing.resource_tracker._HAVE_SIGMASK = False

for module in {MODULES}:
    sys.modules[module] = None
for module, names in {NAMES}.items():
    for name in names:
        delattr(sys.modules[module], name)
"""
EVERYTHING = """
import pkgutil, lazyrich
for found in pkgutil.walk_packages(lazyrich.__path__, "lazyrich."):
    if not found.name.endswith("__main__") and ".callbacks." not in found.name:  # of frameworks
        importlib.import_module(found.name)
"""
MAIN_PATHS = """
import tempfile, torch
import lazyrich as lr
from lazyrich.theory import two_layer_linear as linear

data = linear.LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
network = linear.LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
start = linear.LineState(uu=1.0, uw=0.1, ww=1.0)
assert linear.flow(start, network, data, 1.0).loss.notnull()

x, model = torch.randn(20, 3), torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
probe = lr.Probe(model, (x, x[:, :1]), loss="mse")
with probe.watch(optimizer, when=lr.every(1)):
    for _ in range(2):
        optimizer.zero_grad()
        (model(x) - x[:, :1]).square().mean().backward()
        optimizer.step()
assert probe.verdict().regime

with tempfile.TemporaryDirectory() as folder:
    probe.save(f"{folder}/history.nc")
    base = {"data": "digits", "samples": 20, "width": 4, "steps": 2}
    study = lr.Study(name="one", base=base, axes={"output_scale": [0.1, 10.0]})
    assert lr.sweep(study, f"{folder}/runs", workers=1, progress=False).statuses == {"finished": 2}
    assert lr.results(f"{folder}/runs").loss.notnull().all()
print("done")
"""


def test_it_all_runs_where_only_posix_is_missing():
    code = ELSEWHERE + EVERYTHING + MAIN_PATHS
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr
