"""A learning rate you can trust: for a task, or in anybody's own loop."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrkit.analysis.finding import Finding
from lrkit.analysis.race import run_race
from lrkit.analysis.ramp import run_ramp
from lrkit.analysis.search import Search
from lrkit.schedules import Schedule, parse
from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.training.lanes.choice import BACKENDS
from lrkit.training.lanes.loop import run_lanes
from lrkit.training.lanes.observer import LanesObserver
from lrkit.training.loop import StoppedError, choose_device
from lrkit.training.loop_task import OwnForward, loop_task
from lrkit.training.task import Task
from lrkit.training.untouched import Bystanders, untouched

__all__ = ["find", "find_task"]

Method = Literal["ramp", "race"]
Signal = Literal["train", "valid"]
Growth = Literal["exponential", "linear"]
Groups = Literal["together", "each"]


def find_task(
    task: Task,
    *,
    method: Method = "ramp",
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 300,
    seeds: int = 3,
    signal: Signal | None = None,
    growth: Growth = "exponential",
    groups: Groups = "together",
    schedule: Schedule | str = "constant()",
    backend: str = "auto",
    memory: int | str | None = None,
    device: str | torch.device | None = None,
    observers: Iterable[LanesObserver] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Finding:
    """Find a learning rate for a task.

    The range widens itself, up to 1e-12 … 1e4, where the curve says that the rate lies outside, and `made["widened"]`
    says so. What is trained in float16 is measured in float32, since a gradient scaler skips the updates that would
    show where the loss explodes.

    Args:
        task: what is trained.
        method: "ramp", the range test: the rate grows during one short training; or "race": each rate trains by itself
            from the same start, slower, and measures what the ramp only suggests.
        low: the lowest rate, of the first param group that has one; the other groups keep their ratios to it.
        high: the highest; with `growth="linear"` at most 1000 times low, since nearly all rates are in the last decade.
        steps: updates of a ramp, or of each rate in a race.
        seeds: how many, each with its own initial weights and data order.
        signal: "train" or "valid", the loss that rates are judged by: in a ramp, of a held-out batch that is the same
            after every update; in a race, of all validation data at the end (it is measured after each pass, so keep
            it short where passes are). By default "valid" in a race with validation data, else "train".
        growth: of the rate in a ramp, "exponential" or "linear".
        groups: "each" gives a curve for each param group too, while the others keep their rates; ramps only.
        schedule: of each rate in a race, as a multiple of it.
        backend: as in `run_lanes`.
        memory: as in `run_lanes`.
        device: as in `run_lanes`.
        observers: are told what happens, from `start` to `close` for each time that lanes are trained.
        stop: asked after every update; when it says True, all ends there.

    Raises:
        StoppedError: when `stop` said so.
        InputError, InputTypeError: for arguments that aren't allowed, before anything is trained.

    >>> import lrkit, torch
    >>> x = torch.linspace(-1, 1, 256)[:, None]
    >>> task = lrkit.Task(model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=3,
    ...                   loss=torch.nn.functional.mse_loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))
    >>> finding = lrkit.find_task(task, low=1e-4, high=100)
    >>> 0.01 < finding.suggestion < 1, finding.curve.seeds, finding.made["widened"]
    (True, 3, [])
    """
    if not isinstance(task, Task):
        raise InputTypeError(f"task must be an lrkit.Task, not {shown(task)}; lrkit.find takes a model")
    if torch.is_inference_mode_enabled():
        raise InputError("a learning rate can't be found under torch.inference_mode(), which allows no gradients")
    for name, value, known in (
        ("method", method, get_args(Method)),
        ("signal", signal, (None, *get_args(Signal))),
        ("growth", growth, get_args(Growth)),
        ("groups", groups, get_args(Groups)),
        ("backend", backend, BACKENDS),
    ):
        if value not in known:
            raise unknown(name, str(value), filter(None, known))
    if method == "race" and groups == "each":
        raise InputError("groups='each' is for a ramp; a race moves all param groups together")
    by_default = "valid" if method == "race" and task.valid is not None else "train"
    search = Search.of(
        task,
        low=low,
        high=high,
        steps=steps,
        seeds=seeds,
        signal=by_default if signal is None else signal,
        growth=growth,
        place=choose_device(device),
    )
    plan = _plan(schedule, method)
    watchers: Sequence[LanesObserver] = tuple(observers)
    train = partial(run_lanes, backend=backend, memory=memory, device=search.place, observers=watchers, stop=stop)
    if method == "race":
        finding = run_race(_in_float32(task), search, train, plan)
    else:
        finding = run_ramp(_in_float32(task), search, train, each_group=groups == "each")
    if stop():  # while rules read the curve
        raise StoppedError("the search was stopped")
    return finding


def find(
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    loader: Iterable[Any],
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    forward: OwnForward | None = None,
    valid: Iterable[Any] | None = None,
    accumulate: int = 1,
    clip_norm: float | None = None,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    method: Method = "ramp",
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 300,
    seeds: int = 3,
    signal: Signal | None = None,
    growth: Growth = "exponential",
    groups: Groups = "together",
    schedule: Schedule | str = "constant()",
    observers: Iterable[LanesObserver] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Finding:
    """Find a learning rate in your own loop, before it or on the way, and leave no trace.

    It trains copies of the model and the optimizer, with the weights and the state that they have now, on batches of a
    fresh pass through a copy of the loader; scheduler and gradient scaler needn't be named. Seeds differ in the order
    of the data and in what the model draws; where they don't differ in anything, all are trained and one counts. Lanes
    are trained one after another.

    What functions of yours write down, such as forward hooks that keep what they see, they write down here too.

    Args:
        model: it may be a compiled one.
        optimizer: or several that share the model's parameters out among them.
        loader: a DataLoader, a list of batches, or anything else that a new pass can be made through, not an iterator.
        loss: `loss(output, target)`, the mean over a batch, for batches that are pairs (input, target).
        forward: for other batches, in the place of loss: `forward(model, batch)` gives the mean loss, or as in a task
            (mean loss, samples, metrics). The model that it is given is the copy; it mustn't use another one.
        valid: a loader of held-out batches.
        accumulate: batches that make one update.
        clip_norm: the largest norm of the gradient.
        precision: "float32", or what you use with autocast.
        method: as in `find_task`.
        low: as in `find_task`.
        high: as in `find_task`.
        steps: as in `find_task`.
        seeds: as in `find_task`.
        signal: as in `find_task`.
        growth: as in `find_task`.
        groups: as in `find_task`.
        schedule: as in `find_task`.
        observers: as in `find_task`.
        stop: as in `find_task`.

    Raises:
        StoppedError: when `stop` said so.
        InputError, InputTypeError: for arguments that aren't allowed, and for what can't be copied.

    >>> import lrkit, torch
    >>> model, x = torch.nn.Linear(1, 1), torch.linspace(-1, 1, 256)[:, None]
    >>> loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2 * x), batch_size=16, shuffle=True)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> finding = lrkit.find(model, optimizer, loader, torch.nn.functional.mse_loss, low=1e-4, high=100)
    >>> 0.01 < finding.suggestion < 1, optimizer.param_groups[0]["lr"]
    (True, 0.1)
    """
    bystanders = Bystanders()
    task = loop_task(
        model,
        optimizer,
        loader,
        loss,
        forward=forward,
        valid=valid,
        accumulate=accumulate,
        clip_norm=clip_norm,
        precision=precision,
        steps=steps,
        bystanders=bystanders,
    )
    with untouched(model, bystanders):
        return find_task(
            task,
            method=method,
            low=low,
            high=high,
            steps=steps,
            seeds=seeds,
            signal=signal,
            growth=growth,
            groups=groups,
            schedule=schedule,
            backend="sequential",
            device=next(model.parameters()).device,
            observers=observers,
            stop=stop,
        )


def _plan(schedule: Schedule | str, method: Method) -> Schedule:
    plan = parse(schedule) if isinstance(schedule, str) else plain(schedule)
    if not isinstance(plan, Schedule):
        raise InputTypeError(f"schedule must be one for the learning rate alone and no controller, not {shown(plan)}")
    if method == "ramp" and plan != parse("constant()"):
        raise InputError("schedule is for a race; in a ramp the rate grows")
    return plan


def _in_float32(task: Task) -> Task:
    return replace(task, precision="float32") if task.precision == "float16" else task
