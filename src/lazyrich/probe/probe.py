"""The probe: watches a network while it trains, and says what training did to it."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from torch import nn
from torch.optim import Optimizer

from lazyrich._errors import InputError
from lazyrich._files import write_arrays
from lazyrich.capture.directions import Directions
from lazyrich.capture.isolation import batch_size, brought_to, take, unwrap, wait_for
from lazyrich.capture.look import Plan
from lazyrich.capture.losses import Loss, loss_name
from lazyrich.capture.samples import Shared, default_count, default_directions, some_samples
from lazyrich.capture.weights import fingerprint
from lazyrich.observables.catalogue import chosen
from lazyrich.probe import arguments, one_look
from lazyrich.probe.arguments import LabelledBatch
from lazyrich.probe.forecast.forecast import forecast
from lazyrich.probe.forecast.rehearsal import Progress
from lazyrich.probe.forecast.result import Forecast
from lazyrich.probe.forecast.training import Rates
from lazyrich.probe.history import as_dataset, as_sink, scalars
from lazyrich.probe.measurements import Measurements
from lazyrich.probe.schedule import Schedule, cadence
from lazyrich.probe.setting import setting_of
from lazyrich.probe.state import State, making, state_from
from lazyrich.probe.steps import on_steps
from lazyrich.probe.thresholds import Thresholds
from lazyrich.probe.verdict import Verdict, judge
from lazyrich.probe.wording import no_step


class Probe:
    """Three lines around a training loop: forecast, watch, verdict.

    Nothing of the model is changed: measuring works on copies, and hooks live only inside `watch`.
    Dropout is off, batch norms use the statistics of the probe samples, noise is the same at every
    look. The first measurement is the reference of all later ones.

    Args:
        model: any `torch.nn.Module`, also wrapped by `torch.compile` or data parallelism.
        batch: `(x, y)`: inputs as the model takes them, and the loss's targets; or see `forecast`.
        loss: `"mse"` (as `torch.nn.MSELoss`), `"squared_error"` (E‖f − y‖², summed over outputs),
            `"cross_entropy"`, or `(outputs, targets) -> scalar`.
        observables: names of quantities (see `history`) to be measured; None for the default ones,
            which leave out `feature_speed`, `backward_feature_cosine`, `ntk_velocity`,
            `alignment`, `imbalance`, `stable_rank`, `condensation` and `fact`.
        thresholds: thresholds of the verdict.
        samples: at most so many of the batch, evenly spread, are measured, but all if they depend
            on each other; None for all; "auto" for 32, or ≥ 8 sequences of 1,024 tokens in all.
        shared: names or positions of inputs that all samples share, such as `("mask",)` or `(1,)`;
            the others carry samples. None to find out, by leaving some samples out.
        directions: random output directions of every sample, ≥ 2; each costs one backward pass a
            measurement; "auto" for 4, or 2 of long sequences of tokens. Models with no more outputs
            than that, or with `"all"`, are measured exactly, and only they have an
            `effective_rank`. Of the others, what is estimated has its standard error beside it,
            `…_stderr`.
        lrs: learning rates η inside the kernel, by parameter or module name, "" for all others.
            None takes the relative rates of the optimiser's groups at the first measurement, those
            of parameters that it does not own being 0; without an optimiser all are equal.
        memory: bytes that a layer's kernel, and temporary arrays, may each take.
        seed: seed of the directions; no global random state is used.

    Raises:
        InputError: a batch, loss or model that do not fit together, or an argument out of range.

    Example:
        >>> import torch
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
        batch: LabelledBatch,
        loss: Loss = "mse",
        *,
        observables: Collection[str] | None = None,
        thresholds: Thresholds | None = None,
        samples: int | Literal["auto"] | None = "auto",
        shared: Shared | None = None,
        directions: Directions | Literal["auto"] = "auto",
        lrs: Mapping[str, float] | None = None,
        memory: int = 2**30,
        seed: int = 0,
    ) -> None:
        pair = arguments.inputs_and_targets(batch)
        unwrap(model)  # refuses what is no network
        arguments.refuse_settings(samples, directions, memory, seed, thresholds)
        self.model = model
        self.batch = brought_to(model, pair)
        self.loss = loss
        self.thresholds = thresholds or Thresholds()
        self._observables = chosen(observables)
        given = batch_size(self.batch[0])
        count = default_count(self.batch[0]) if samples == "auto" else samples or given
        x, index = some_samples(model, self.batch[0], count, shared=shared)
        targets = take(self.batch[1], given, index)
        self._samples = len(index)
        along = default_directions(x, len(index)) if directions == "auto" else directions
        plan = Plan(
            model=model, inputs=x, directions=along, seed=int(seed), lrs=lrs, memory=memory,
            kernel=any(observable.kernel for observable in self._observables),
        )  # fmt: skip
        self.made_with = making(plan, targets, loss, self._observables)
        self._measurements = Measurements(plan, targets, loss, self._observables)
        self._go_on(State(made_with=self.made_with))

    def _go_on(self, state: State) -> None:
        self.forecasted = Forecast.from_json(state.forecast) if state.forecast else None
        self._steps, self._rows = list(state.steps), list(state.rows)
        self._made = state.made  # steps, also those after the last measurement
        self.clock = state.clock
        self._watching = False
        self._resumed = state.start is not None  # until the next measurement
        self._measurements.go_on(state)

    __repr__, _repr_html_ = one_look.probe_line, one_look.probe_card

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
            optimizer: the same as in `forecast`, like the others.
            to_loss: loss at which training will stop.
            steps: the steps that training will make.
            schedule: schedule of the learning rates.
            max_steps: budget of each rehearsal.
            max_seconds: budget of both.
            progress: called at every step.

        Returns:
            The forecast, also kept as `forecasted`.
        """
        self.forecasted = forecast(
            self.model, brought_to(self.model, self.batch), self.loss,
            seed=self._measurements.plan.seed, optimizer=optimizer,
            to_loss=to_loss, steps=steps, schedule=schedule,
            max_steps=max_steps, max_seconds=max_seconds, progress=progress,
        )  # fmt: skip
        return self.forecasted

    def measure(self, step: int, *, optimizer: Optimizer | None = None) -> None:
        """Measure once; the first time takes the reference.

        A network that has become NaN is recorded as such: its loss is NaN, nothing is raised.

        Args:
            step: optimiser steps made so far; that of the last measurement replaces it.
            optimizer: the optimiser whose rates go into the kernel, and whose next step into
                `feature_speed`; None for gradient descent with equal rates.

        Raises:
            InputError: a step before the last one, or see `capture`.
        """
        optimizer = arguments.checked_measurement(step, optimizer)
        if self._steps and step < self._steps[-1]:
            raise InputError(
                f"`step` must not be before {self._steps[-1]}, got {step}. Count on, or make "
                "a new Probe for another training."
            )
        wait_for(self.model)
        start = time.perf_counter()
        row = self._measurements.row(step, optimizer)
        if self._steps and step == self._steps[-1]:
            self._steps.pop(), self._rows.pop()
        self._steps.append(step)
        self._rows.append(row)
        self._made = step
        self.clock.measured(start)
        self._resumed = False

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
            optimizer: the optimiser whose steps are counted, across several `watch` too.
            when: a schedule such as `every(50)` (50 for short), `at(7)`, `log_spaced(1, 1000, 20)`,
                or any function of the step. Alone it depends on no clock.
            budget: share of wall time that measuring may take; steps that are due are then
                measured only when it allows. Without `when` every step is due; with neither every
                50th is, within 0.02.
            log: a callable `(dict, step)` such as `wandb.log`, or a TensorBoard writer. Gets all of
                `history`: keys `lazyrich/<quantity>`, of layers `lazyrich/<quantity>/<layer>`.

        Yields:
            The probe.

        Raises:
            InputError: the optimiser does not own a parameter of the model; a budget that is no
                share; a log that is neither of both; a watch inside another one.
        """
        inside = self._watching
        optimizer = arguments.checked_watch(self.model, optimizer, inside=inside)
        due = cadence(when, budget)
        sink = as_sink(log) if log is not None else None
        self.clock.start()

        def measure() -> None:
            self.measure(self._made, optimizer=optimizer)
            if sink:
                sink(scalars(self._rows[-1]), self._made)

        def hook() -> None:
            self._made += 1
            if due(self._made, self.clock):
                measure()

        if not self._resumed or (self._made != self.step and due(self._made, self.clock)):
            measure()
        entered, weights = self._made, fingerprint(self.model)
        leave = on_steps(optimizer, hook)
        self._watching, usable = True, False
        try:
            yield self
            usable = True
        except KeyboardInterrupt:
            usable = True
            raise
        finally:
            leave()
            self._watching = False
            if usable and self._made == entered and fingerprint(self.model) != weights:
                self._made += 1
                self._measurements.notes.append(no_step(optimizer))
            if usable and self._made != self._steps[-1]:
                measure()

    @property
    def overhead(self) -> float:
        """Share of wall time that went into measuring, within `watch` or between measurements."""
        return self.clock.share

    @property
    def step(self) -> int | None:
        """Optimiser steps at the last measurement; None before the first."""
        return self._steps[-1] if self._steps else None

    def state_dict(self) -> dict[str, Any]:
        """All that was seen so far, for a checkpoint: the probe that loads it goes on from there.

        Returns:
            Tensors, numbers and texts, which `torch.load` reads with `weights_only=True`; about
            as large as the model, since the weights at the first look are in it.
        """
        seen = self._measurements
        return State(
            made_with=self.made_with,
            start=seen.start,
            lrs=seen.plan.lrs,
            rates_unknown=seen.rates_unknown,
            steps=self._steps,
            rows=self._rows,
            made=self._made,
            notes=seen.notes,
            kernels=seen.kernels,
            clock=self.clock,
            forecast=self.forecasted.to_json() if self.forecasted else None,
        ).as_plain()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another probe, of the same model, batch and loss, left off.

        The reference is the one that it had; what this probe has seen so far is forgotten.

        Args:
            state: the state from `state_dict`.

        Raises:
            InputError: it is no state, or one of another model, batch or loss, or of a probe with
                other observables, directions or seed.

        Example:
            >>> import torch
            >>> x = torch.ones(4, 2)
            >>> made = [Probe(nn.Linear(2, 1), (x, x[:, :1])) for _ in range(2)]
            >>> made[0].measure(0)
            >>> made[1].load_state_dict(made[0].state_dict())
            >>> made[1].step
            0
        """
        self._go_on(state_from(state, unwrap(self.model), self.made_with))

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: what the probe was made with, and its state."""
        kept = ("model", "batch", "loss", "thresholds", "_samples", "made_with")
        return {
            **{name: vars(self)[name] for name in kept},
            "seen": (self._measurements.plan, self._measurements.targets),
            "state": self.state_dict(),
        }

    def __setstate__(self, found: dict[str, Any]) -> None:
        """From pickle."""
        (plan, targets), state = found.pop("seen"), found.pop("state")
        vars(self).update(found)
        self._observables = chosen(self.made_with["observables"])
        self._measurements = Measurements(plan, targets, self.loss, self._observables)
        self.load_state_dict(state)

    @property
    def history(self) -> xr.Dataset:
        """All measurements: dims `step` and `layer`, variables named as in the vocabulary.

        Attributes: `setting`, `forecast` (JSON), `overhead`, `measuring_seconds`, `samples`,
        `studied`, `skipped`, `notes` (one a line): all that a report needs, also of a saved one.

        Raises:
            InputError: nothing was measured yet.
        """
        if (reference := self._measurements.reference) is None:
            raise InputError(
                "a history needs at least one measurement, got none. Train inside `watch`, or call "
                "`measure`."
            )
        plan = self._measurements.plan
        setting = setting_of(plan, reference, self.batch, self.loss, self._samples, self.thresholds)
        return as_dataset(
            self._steps,
            self._rows,
            reference.layers,
            loss_name(self.loss),
            {
                "setting": json.dumps(setting, ensure_ascii=False),
                **({"forecast": self.forecasted.to_json()} if self.forecasted else {}),
                "overhead": self.overhead,
                "measuring_seconds": self.clock.measuring,
                "samples": self._samples,
                "studied": reference.studied,
                **self._measurements.remarks(reference),
            },
        )

    def verdict(self) -> Verdict:
        """Lazy, rich, frozen, unstable or cannot tell, for the network and every layer.

        Raises:
            InputError: nothing was measured yet.
        """
        return judge(self.history, self.thresholds)

    def save(self, path: str | Path) -> None:
        """Write the history to netCDF (`.nc`), zarr (`.zarr`) or JSON, whole or not at all.

        `load_history` reads it again. JSON (`.json`) is what the page of `lazyrich explore` loads.

        Args:
            path: path of the file; one that is there, or for `.zarr` a zarr, is replaced.

        Raises:
            InputError: another suffix, a folder that does not exist, or one that is no zarr in its
                place.
            MissingExtraError: the library for that format is not installed.
        """
        write_arrays(self.history, path)
