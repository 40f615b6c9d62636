"""The contenders of lanes.py that are lrkit, and what they train.

`run_lanes` asks its `stop` after every update of a group of lanes, which is how they are counted; where workers train
them, a loss that counts its calls does. Nothing is validated, and a training that is over begins again.

    python benchmarks/lane_runs.py auto mnist --lanes 32        # what `auto` chooses, as JSON
    python benchmarks/lane_runs.py first compiled mnist         # seconds until the third update
    python benchmarks/lane_runs.py memory compiled mnist        # bytes that the process takes, after its first epoch
"""

import argparse
import contextlib
import ctypes
import gc
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

import lrkit
from job import SIZES
from lrkit.training import tasks
from lrkit.training.idx import MNIST_FOLDER
from lrkit.training.networks import convolutional
from pulse import Pulse

if TYPE_CHECKING:
    from lane_contenders import Race

__all__ = ["BACKENDS", "MODELS", "Model", "compiled", "eager", "processes", "sequential", "task_of"]

BACKENDS = ("compiled", "eager", "sequential", "processes")
_SHORT = 40  # batches in an epoch of a model whose updates take long


@dataclass(frozen=True)
class Model:
    """What is trained.

    Attributes:
        title: what the table says.
        task: name of the built-in task that it is, or whose data it has.
        batch_size: samples in a batch.
        network: another network than the task's.
        lanes: with how many it is compared.
        rates: the lowest and the highest of the lanes.
        batches: in an epoch; None for those of all the data.
    """

    title: str
    task: str
    batch_size: int
    network: Callable[[], nn.Module] | None = None
    lanes: tuple[int, ...] = (8,)
    rates: tuple[float, float] = (1e-3, 1e-1)
    batches: int | None = None


def _normalised() -> nn.Module:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(SIZES[:-1]):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(*SIZES[-2:]))


MODELS = {
    "mnist": Model("perceptron, batch 32", "mnist", 32, lanes=()),
    "perceptron": Model("perceptron, batch 128", "mnist", 128, lanes=(8, 32)),
    "batchnorm": Model("perceptron with BatchNorm, batch 128", "mnist", 128, _normalised, lanes=(8, 32)),
    "cnn": Model("small CNN, batch 128", "mnist", 128, lambda: convolutional(28, 28, 10), batches=_SHORT),
    "chars": Model("character transformer, batch 32", "chars", 32, rates=(3e-4, 3e-3), batches=_SHORT),
}


def task_of(name: str, data: Path = MNIST_FOLDER) -> lrkit.Task:
    """The task of a model, without validation; SGD with momentum 0.9, or AdamW for the transformer."""
    model = MODELS[name]
    task = tasks.get(model.task, data=None if model.task == "chars" else data)
    if model.batches is not None:
        task = replace(task, train=tuple(each[: model.batches * model.batch_size] for each in task.train))
    if model.task == "mnist":
        task = replace(task, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9))
    network = model.network or task.model
    return replace(task, model=network, batch_size=model.batch_size, valid=None, metrics={}, epochs=25, name=name)


def _lanes(name: str, count: int) -> list[lrkit.Lane]:
    """Constant rates, evenly spaced in the logarithm."""
    low, high = MODELS[name].rates
    return [lrkit.Lane(lr=low * (high / low) ** (number / max(1, count - 1))) for number in range(count)]


# --- trainings without an end ------------------------------------------------------------------------


def compiled(race: "Race", pulse: Pulse) -> None:
    """All lanes in one compiled graph."""
    _train(race, pulse, "compiled")


def eager(race: "Race", pulse: Pulse) -> None:
    """All lanes at once, without compiling."""
    _train(race, pulse, "eager")


def sequential(race: "Race", pulse: Pulse) -> None:
    """One lane after another."""
    _train(race, pulse, "sequential")


def processes(race: "Race", pulse: Pulse) -> None:
    """Lanes in worker processes; their losses count."""
    task = task_of(race.model, race.data)
    task = replace(task, loss=_Counting(task.loss, pulse))
    while True:
        _run(task, _lanes(race.model, race.lanes), "processes", _Watch("processes"), lambda: False)


class _Counting:
    """A loss that tells a pulse when it is called."""

    def __init__(self, loss: Any, pulse: Pulse) -> None:
        self.loss, self.pulse = loss, pulse

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        self.pulse.beat()
        loss: Tensor = self.loss(output, target)
        return loss


class _Watch(lrkit.LanesObserver):
    """Counts lane-steps as `stop` is asked, and checks after each epoch that they are about those that are told."""

    def __init__(self, backend: str, pulse: Pulse | None = None) -> None:
        self.backend, self.pulse = backend, pulse
        self.updates = self.counted = self.told = 0
        self.checks = pulse is not None

    def start(self, setup: lrkit.LanesSetup) -> None:
        if setup.choice.backend != self.backend:
            sys.exit(f"run_lanes trains with {setup.choice.backend} when it is asked for {self.backend}")
        self.group = len(setup.choice.groups[0])

    def stop(self) -> bool:
        self.updates += 1
        self.counted += self.group
        if self.pulse is not None:
            self.pulse.beat(self.group)
        return False

    def step(self, lane_steps: int) -> None:
        self.told = lane_steps

    def epoch(self, histories: Mapping[int, lrkit.History]) -> None:
        if any(history.diverged for history in histories.values()):
            self.checks = False  # what is left of those lanes is told as if it were done
        if self.checks and not self.told / 1.5 <= self.counted <= 1.5 * self.told:
            sys.exit(f"run_lanes asked stop for {self.counted} lane-steps and tells of {self.told}")


def _train(race: "Race", pulse: Pulse, backend: str) -> NoReturn:
    task, lanes = task_of(race.model, race.data), _lanes(race.model, race.lanes)
    while True:
        watch = _Watch(backend, pulse)
        _run(task, lanes, backend, watch, watch.stop)


def _run(
    task: lrkit.Task, lanes: list[lrkit.Lane], backend: str, watch: lrkit.LanesObserver, stop: Callable[[], bool]
) -> list[lrkit.History]:
    try:
        return lrkit.run_lanes(task, lanes, backend=backend, device="cpu", observers=[watch], stop=stop)
    except lrkit.InputError as error:
        sys.exit(str(error))


# --- single measurements, each in a process of its own -----------------------------------------------


def chosen(name: str, count: int, data: Path) -> dict[str, Any]:
    """What `auto` chooses, and its reason."""

    class Asking(lrkit.LanesObserver):
        def start(self, setup: lrkit.LanesSetup) -> None:
            raise _ChosenError(setup)

    try:
        _run(task_of(name, data), _lanes(name, count), "auto", Asking(), lambda: False)
    except _ChosenError as chosen:
        return {"backend": chosen.setup.choice.backend, "reason": chosen.setup.choice.reason}
    sys.exit("run_lanes never said what it chose")


class _ChosenError(Exception):
    """All that was asked is known."""

    def __init__(self, setup: lrkit.LanesSetup) -> None:
        super().__init__(setup.choice.backend)
        self.setup = setup


def first(name: str, count: int, data: Path, backend: str) -> dict[str, Any]:
    """Seconds from the call of `run_lanes` until its third update is done."""
    task, watch = task_of(name, data), _Watch(backend)
    began = time.perf_counter()
    with contextlib.suppress(lrkit.StoppedError):  # it is stopped after three updates
        _run(task, _lanes(name, count), backend, watch, lambda: watch.stop() or watch.updates >= 3)
    return {"seconds": time.perf_counter() - began}


def memory(name: str, count: int, data: Path, backend: str) -> dict[str, Any]:
    """The largest memory of the process in its second epoch, which is ten updates and a batch of validation."""
    task = task_of(name, data)
    rows = tuple(each[: 10 * task.batch_size] for each in task.train)
    valid = tuple(each[:1000] for each in task.train)

    class Second(_Watch):
        def epoch(self, histories: Mapping[int, lrkit.History]) -> None:
            if not histories[min(histories)].epochs[1:]:  # the first: compiling, which takes more than lanes, is over
                _forget_peak()

    watch = Second(backend)
    histories = _run(replace(task, train=rows, valid=valid, epochs=2), _lanes(name, count), backend, watch, watch.stop)
    estimate = histories[0].made.get("lanes", {}).get("bytes_per_lane")
    return {"bytes": _peak(), "estimate": estimate}


def _forget_peak() -> None:
    """Give back what is free, and let Linux take the peak anew."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # where there is no glibc
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):  # not on Linux: then the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        return 1024.0 * next(int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(used if sys.platform == "darwin" else 1024 * used)


def main() -> None:
    """Measure one thing, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["auto", "first", "memory"])
    parser.add_argument("backend", choices=[*BACKENDS, "auto"], nargs="?", default="auto")
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--data", type=Path, default=MNIST_FOLDER)
    options = parser.parse_args()
    if options.what == "auto":
        found = chosen(options.model, options.lanes, options.data)
    else:
        measure = {"first": first, "memory": memory}[options.what]
        found = measure(options.model, options.lanes, options.data, options.backend)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
