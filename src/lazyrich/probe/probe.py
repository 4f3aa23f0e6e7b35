"""The probe: watches somebody's network while it trains, and says what training did to it."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from math import inf, nan
from pathlib import Path
from typing import Any, Literal

import torch
import xarray as xr
from torch import nn
from torch.optim import Optimizer

from lazyrich._errors import InputError, NoDerivativeError, NotFiniteError
from lazyrich._files import write_arrays
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.capture import capture
from lazyrich.capture.conditions import MODE
from lazyrich.capture.directions import Directions, checked_directions, random_count
from lazyrich.capture.isolation import batch_size, brought_to, shapes, take, unwrap, wait_for
from lazyrich.capture.look import Look, Plan, PreviousKernel, Reference, reference_of
from lazyrich.capture.losses import Loss, OutputLoss, loss_name, output_loss
from lazyrich.capture.optimizer_step import relative_rates
from lazyrich.capture.samples import Shared, default_count, some_samples
from lazyrich.capture.weights import fingerprint
from lazyrich.observables.catalogue import chosen
from lazyrich.observables.observable import Observable, Row
from lazyrich.probe import arguments
from lazyrich.probe.forecast.forecast import forecast
from lazyrich.probe.forecast.rehearsal import Progress
from lazyrich.probe.forecast.result import Forecast
from lazyrich.probe.forecast.training import Rates
from lazyrich.probe.history import as_dataset, as_sink, scalars
from lazyrich.probe.schedule import Schedule, checked_schedule
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.probe.thresholds import Thresholds
from lazyrich.probe.verdict import Verdict, judge
from lazyrich.probe.versions import versions
from lazyrich.probe.wording import no_step

_DEFAULT_INTERVAL = 50


class Probe:
    """Three lines around a training loop: forecast, watch, verdict.

    Nothing of the model is changed: measuring works on copies, and hooks live only inside `watch`.
    Dropout is off, batch norms use the statistics of the probe samples, noise is the same at every
    look. The first measurement is the reference of all later ones.

    Args:
        model: any `torch.nn.Module`, also wrapped by `torch.compile` or data parallelism.
        batch: `(x, y)`: inputs as the model takes them, and the loss's targets.
        loss: `"mse"` (as `torch.nn.MSELoss`), `"squared_error"` (E‖f − y‖², summed over outputs),
            `"cross_entropy"`, or `(outputs, targets) -> scalar`.
        observables: names of quantities (see `history`) to be measured; None for the default ones,
            which leave out `feature_speed`, `backward_feature_cosine`, `ntk_velocity`,
            `alignment`, `imbalance`, `stable_rank` and `condensation`.
        thresholds: of the verdict.
        samples: at most so many of the batch, evenly spread, are measured, but all if they depend
            on each other; None for all; "auto" for 32, or ≥ 8 sequences of 1,024 tokens in all.
        shared: names or positions of inputs that all samples share, such as `("mask",)` or `(1,)`;
            the others carry samples. None to find out, by leaving some samples out.
        directions: random output directions of every sample, ≥ 2; each costs one backward pass a
            measurement. Models with no more outputs than that, or with `"all"`, are measured
            exactly, and only they have an `effective_rank`. Of the others, what is estimated has
            its standard error beside it, `…_stderr`.
        lrs: learning rates η inside the kernel, by parameter or module name, "" for all others.
            None takes the relative rates of the optimiser's groups at the first measurement, those
            of parameters that it does not own being 0; without an optimiser all are equal.
        memory: bytes that a layer's kernel, and temporary arrays, may each take.
        seed: of the directions; no global random state is used.

    Raises:
        InputError: a batch, loss or model that do not fit together, or an argument out of range.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(32, 3)
        >>> model = nn.Sequential(nn.Linear(3, 256), nn.Tanh(), nn.Linear(256, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.003)
        >>> probe = Probe(model, (x, x[:, :1]))
        >>> with probe.watch(optimizer, when=20):
        ...     for _ in range(40):
        ...         optimizer.zero_grad()
        ...         (model(x) - x[:, :1]).square().mean().backward()
        ...         optimizer.step()
        >>> probe.history.step.values
        array([ 0, 20, 40])
        >>> probe.verdict().regime
        'lazy'
    """

    def __init__(
        self,
        model: nn.Module,
        batch: tuple[Any, Any] | list[Any],
        loss: Loss = "mse",
        *,
        observables: Collection[str] | None = None,
        thresholds: Thresholds | None = None,
        samples: int | Literal["auto"] | None = "auto",
        shared: Shared | None = None,
        directions: Directions = 4,
        lrs: Mapping[str, float] | None = None,
        memory: int = 2**30,
        seed: int = 0,
    ) -> None:
        arguments.refuse_batch(batch)
        unwrap(model)  # refuses what is no network
        checked_directions(directions)
        arguments.refuse_settings(samples, memory, seed, thresholds)
        self.model = model
        self.batch = brought_to(model, (batch[0], batch[1]))
        self.loss = loss
        self.thresholds = thresholds or Thresholds()
        self.forecasted: Forecast | None = None
        self._observables = chosen(observables)
        given = batch_size(self.batch[0])
        count = default_count(self.batch[0]) if samples == "auto" else samples or given
        x, index = some_samples(model, self.batch[0], count, shared=shared)
        self._targets = take(self.batch[1], given, index)
        self._samples = len(index)
        self._plan = Plan(
            model=model, inputs=x, directions=directions, seed=seed, lrs=lrs, memory=memory
        )
        self._fixed_loss: OutputLoss | None = None
        self._reference: Reference | None = None
        self._kernels: list[PreviousKernel] = []  # the last two
        self._steps: list[int] = []
        self._watching = False
        self._made = 0  # steps, also those after the last measurement
        self._notes: list[str] = []
        self._rows: list[Row] = []
        self._measuring = self._elapsed = self._cost = 0.0
        self._since: float | None = None

    def forecast(
        self,
        *,
        optimizer: Optimizer | None = None,
        to_loss: float | None = None,
        steps: int | None = None,
        schedule: Rates | None = None,
        max_steps: int = 5000,
        max_seconds: float = inf,
        progress: Progress | None = None,
    ) -> Forecast:
        """Forecast what training will do, on the whole batch, as `lazyrich.forecast` does.

        Args:
            optimizer: see there, as for the others.
            to_loss: at which training will stop.
            steps: that training will make.
            schedule: of the learning rates.
            max_steps: budget of each rehearsal.
            max_seconds: budget of both.
            progress: called at every step.

        Returns:
            The forecast, also kept as `forecasted`.
        """
        self.forecasted = forecast(
            self.model, brought_to(self.model, self.batch), self.loss,
            seed=self._plan.seed, optimizer=optimizer,
            to_loss=to_loss, steps=steps, schedule=schedule,
            max_steps=max_steps, max_seconds=max_seconds, progress=progress,
        )  # fmt: skip
        return self.forecasted

    def measure(self, step: int, *, optimizer: Optimizer | None = None) -> None:
        """Measure once; the first time takes the reference.

        A network that has become NaN is recorded as such: its loss is NaN, nothing is raised.

        Args:
            step: optimiser steps made so far; that of the last measurement replaces it.
            optimizer: whose rates go into the kernel, and whose next step into `feature_speed`;
                None for gradient descent with equal rates.

        Raises:
            InputError: a step before the last one, or see `capture`.
        """
        arguments.refuse_measurement(step, optimizer)
        if self._steps and step < self._steps[-1]:
            raise InputError(f"`step` must not be before {self._steps[-1]}, got {step}.")
        wait_for(self.model)
        start = time.perf_counter()
        if self._reference is None:  # a trainer may have moved the model since
            self._plan = replace(self._plan, inputs=brought_to(self.model, self._plan.inputs))
            self._targets = brought_to(self.model, self._targets)
        if self._reference is None and self._plan.lrs is None and optimizer is not None:
            self._plan = replace(self._plan, lrs=relative_rates(optimizer, unwrap(self.model)))
        with torch.no_grad(), exact_arithmetic():
            row = self._row(step, optimizer)
        if self._steps and step == self._steps[-1]:
            self._steps.pop(), self._rows.pop()
        self._steps.append(step)
        self._rows.append(row)
        self._made = step
        now = time.perf_counter()
        self._cost = now - start
        self._measuring += self._cost
        self._elapsed += now - (start if self._since is None else self._since)
        self._since = now

    def _row(self, step: int, optimizer: Optimizer | None) -> Row:
        kernel = any(observable.kernel for observable in self._observables)
        centred = any(observable.centred for observable in self._observables)
        before = [one for one in self._kernels if one.step < step]
        try:
            known = self._reference
            conditions = known.network.conditions if known else None
            seen = capture(self._plan.model, self._plan.inputs, conditions)
            if self._fixed_loss is None:
                outputs = seen.outputs.detach().view(seen.shape)
                self._fixed_loss = output_loss(self.loss, outputs, self._targets)
            look = Look(
                plan=self._plan,
                capture=seen,
                fixed_loss=self._fixed_loss,
                trusted=known.trusted if known else None,
                optimizer=optimizer,
                step=step,
                previous=before[-1] if before else None,
            )
            if known is None:
                self._reference = known = reference_of(look, kernel=kernel, centred=centred)
            row: Row = {}
            for observable in self._observables:
                row |= self._measured(observable, look, known)
            if kernel:
                self._kernels = [*before[-1:], PreviousKernel(step=step, kernel=look.kernel)]
        except NotFiniteError:
            if self._reference is None:
                raise
            return {"loss": nan}
        return row

    def _measured(self, observable: Observable, look: Look, known: Reference) -> Row:
        """One observable; NaN with a note where PyTorch lacks the derivatives for it."""
        try:
            return observable.measure(look, known)
        except NoDerivativeError as error:
            self._notes.append(f"Not measured: {', '.join(observable.names)}, since {error}")
            return {q.name: {} if "layer" in q.dims else nan for q in observable.quantities}

    @contextmanager
    def watch(
        self,
        optimizer: Optimizer,
        when: Schedule | int | None = None,
        budget: float | None = None,
        log: Any = None,  # noqa: ANN401 - a callable or a writer
    ) -> Iterator[Probe]:
        """Measure at entry, while the optimiser steps, and at exit.

        After an exception inside, all but an interrupt, nothing is measured at exit; the steps that
        were made count nevertheless. If weights changed although no step was seen, the exit counts
        as one step, and a note says so.

        Args:
            optimizer: whose steps are counted, across several `watch` too.
            when: a schedule such as `every(50)` (the default; 50 for short), `at(7)`,
                `log_spaced(1, 1000, 20)`, or any function of the step.
            budget: share of wall time that measuring may take; steps that are due are then
                measured only when it allows. Without `when` every step is due.
            log: a callable `(dict, step)` or a TensorBoard writer that gets all scalars, named
                `lazyrich/<quantity>` and `lazyrich/<quantity>/<layer>`.

        Yields:
            The probe.

        Raises:
            InputError: the optimiser does not own a parameter of the model; a budget that is no
                share; a log that is neither of both; a watch inside another one.
        """
        arguments.refuse_watch(self.model, optimizer, budget, inside=self._watching)
        default = 1 if budget is not None else _DEFAULT_INTERVAL
        due = checked_schedule(default if when is None else when)
        sink = as_sink(log) if log is not None else None
        self._since = time.perf_counter()

        def measure() -> None:
            self.measure(self._made, optimizer=optimizer)
            if sink:
                sink(scalars(self._rows[-1]), self._made)

        def hook(*_: Any) -> None:  # noqa: ANN401 - torch's hook type
            self._made += 1
            if due(self._made) and self._affordable(budget):
                measure()

        measure()
        entered, weights = self._made, fingerprint(self.model)
        handle = optimizer.register_step_post_hook(hook)
        self._watching, usable = True, False
        try:
            yield self
            usable = True
        except KeyboardInterrupt:
            usable = True
            raise
        finally:
            handle.remove()
            self._watching = False
            if usable and self._made == entered and fingerprint(self.model) != weights:
                self._made += 1
                self._notes.append(no_step(optimizer))
            if usable and self._made != self._steps[-1]:
                measure()

    def _affordable(self, budget: float | None) -> bool:
        """Whether one more measurement, and the one at exit, fit into the budget."""
        if budget is None or self._since is None:
            return budget is None
        elapsed = self._elapsed + time.perf_counter() - self._since
        return self._measuring + 2 * self._cost <= budget * (elapsed + 2 * self._cost)

    @property
    def overhead(self) -> float:
        """Share of wall time that went into measuring, within `watch` or between measurements."""
        return self._measuring / self._elapsed if self._elapsed else 0.0

    @property
    def history(self) -> xr.Dataset:
        """All measurements: dims `step` and `layer`, variables named as in the vocabulary.

        Attributes: `setting` (JSON), `forecast` (JSON, if one was made), `overhead`, `samples`,
        `skipped` and `notes` (one a line): all that a report needs, also of a saved history.

        Raises:
            InputError: nothing was measured yet.
        """
        reference = self._reference
        if reference is None:
            raise InputError(
                "a history needs at least one measurement, got none. Train inside `watch`, or call "
                "`measure`."
            )
        skipped = (f"{name or '(root)'}: {why}" for name, why in reference.skipped.items())
        return as_dataset(
            self._steps,
            self._rows,
            reference.layers,
            loss_name(self.loss),
            {
                "setting": json.dumps(self._setting(reference), ensure_ascii=False),
                **({"forecast": self.forecasted.to_json()} if self.forecasted else {}),
                "overhead": self.overhead,
                "samples": self._samples,
                "skipped": "\n".join(skipped),
                "notes": "\n".join(dict.fromkeys([*reference.network.notes, *self._notes])),
            },
        )

    def _setting(self, reference: Reference) -> dict[str, Any]:
        model = unwrap(self.model)
        count = random_count(self._plan.directions, outputs := reference.outputs.shape[1])
        return {
            "model": model.title if isinstance(model, CentredOutput) else type(model).__name__,
            "parameters": sum(p.numel() for p in model.parameters()),
            "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
            "batch": [shapes(part) for part in self.batch],
            "loss": loss_name(self.loss),
            "samples": self._samples,
            "outputs": outputs,
            "directions": "all outputs" if count is None else f"{count} random",
            "mode": MODE,
            "learning_rates": "equal" if self._plan.lrs is None else dict(self._plan.lrs),
            "seed": self._plan.seed,
            "thresholds": asdict(self.thresholds),
            "versions": versions(),
        }

    def verdict(self) -> Verdict:
        """Lazy, rich, frozen, unstable or cannot tell, for the network and every layer.

        Raises:
            InputError: nothing was measured yet.
        """
        return judge(self.history, self.thresholds)

    def save(self, path: str | Path) -> None:
        """Write the history to netCDF (`.nc`) or zarr (`.zarr`), whole or not at all.

        Args:
            path: of the file; one that is there, or for `.zarr` a zarr, is replaced.

        Raises:
            InputError: another suffix, a folder that does not exist, or one that is no zarr in its
                place.
            MissingExtraError: the library for that format is not installed.
        """
        write_arrays(self.history, path)
