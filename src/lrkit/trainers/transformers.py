"""lrkit in transformers' Trainer: a callback that schedules, and `record`."""

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.plans import as_plans
from lrkit.trainers.extras import extra
from lrkit.trainers.plans import as_plan
from lrkit.trainers.resumption import bind_resumed
from lrkit.trainers.transformers_metrics import evaluated
from lrkit.trainers.transformers_record import Recording, record
from lrkit.training.holdings import check_on_conflict
from lrkit.training.hyper import is_close, place, write
from lrkit.training.mark import read_mark
from lrkit.training.progress import whole_length
from lrkit.training.rebasing import default_rate
from lrkit.training.scheduler import Conflict, Policy, Scheduler, scheduler_of
from lrkit.training.scheduler_state import SchedulerState, check_policy
from lrkit.training.wrapping import stepping, strangers

with extra("transformers"):
    from transformers import TrainerCallback
    from transformers.optimization import GreedyLR
    from transformers.trainer_callback import ExportableState
    from transformers.trainer_utils import has_length

__all__ = ["Recording", "Schedule", "record"]


class Schedule(TrainerCallback, ExportableState):
    """A callback that lets a schedule or controller set the rates: `Trainer(…, callbacks=[Schedule("…")])`.

    The base is `TrainingArguments.learning_rate`, or what each param group has; the horizon is the Trainer's own
    `max_steps`, however it comes about. The scheduler that the Trainer makes for itself is led by this one, so that it
    overwrites nothing and the logs show the rates that were used. The state is in each checkpoint's optimizer.

    Args:
        schedule: a plan, or its text.
        monitor: the metric that controllers go by which don't name their own, with or without "eval_".
        policy: what to do when a checkpoint was made with another schedule, horizon or `learning_rate`, or without
            lrkit: "keep", "stretch", "replace" or "restart", as in `Scheduler.load_state_dict`.
        on_conflict: what to do when somebody else sets a rate: "warn", "refuse" or "yield", as in `bind`.

    Attributes:
        scheduler: what is bound, once training has begun.

    >>> Schedule("warmup(5%) >> cosine(to=0)")
    Schedule('warmup(5%) >> cosine(to=0)')
    """

    def __init__(
        self,
        schedule: Plan | Plans | str,
        *,
        monitor: str = "loss",
        policy: Policy | None = None,
        on_conflict: Conflict = "warn",
    ) -> None:
        given: object = monitor
        if not isinstance(given, str):
            raise InputTypeError(f"monitor must be the name of a metric, not {given!r}")
        check_policy(policy)
        check_on_conflict(on_conflict)
        self.plan = as_plan(schedule)
        self.policy = policy
        self.on_conflict = on_conflict
        self.monitor = monitor.removeprefix("eval_")
        self.scheduler: Scheduler | None = None
        self.saved: dict[str, Any] | None = None  # under this name a checkpoint has it among its callbacks' attributes
        self._listens = False  # to evaluations: not to those before the first update or after the last
        self._reported = False  # whether this evaluation's metrics have come
        self._metrics: dict[str, float] = {}  # of an evaluation that didn't have all so far
        self._layers: list[Scheduler] = []  # of an optimizer for each parameter, where the Trainer's is a dummy
        self._led: list[tuple[LRScheduler, type[LRScheduler]]] = []  # the Trainer's schedulers, and their own classes

    def __repr__(self) -> str:
        return f"Schedule({str(self.plan)!r})"

    def on_train_begin(  # noqa: PLR0917  # the Trainer gives these by position
        self,
        args: Any,
        state: Any,
        control: Any,
        optimizer: Any = None,
        lr_scheduler: Any = None,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Bind, now that optimizer and length are known and a checkpoint has been loaded."""
        if isinstance(lr_scheduler, Scheduler):
            raise InputError("optimizers= has a schedule of lrkit already; give it there or by this callback, not both")
        if isinstance(lr_scheduler, ReduceLROnPlateau | GreedyLR):
            kind = type(lr_scheduler).__name__
            raise InputError(f"a {kind} can't be led by {self!r}: leave lr_scheduler_type, or optimizers=, without it")
        if self._plans.controllers and args.eval_strategy == "no":
            raise InputError(f"'{self.plan}' goes by evaluations, and eval_strategy is 'no'; give 'epoch' or 'steps'")
        epoch_steps = None
        if train_dataloader is not None and has_length(train_dataloader):
            epoch_steps = max(1, -(-len(train_dataloader) // args.gradient_accumulation_steps))
        self._listens, self._reported, self._metrics = False, False, {}
        self._follow()  # what a train() that broke off has left
        optimizer = stepping(optimizer)
        layers = [each for optimizers in strangers(optimizer).values() for each in optimizers]
        before = _saved(state)
        self._layers = [self._bind(each, args, state, epoch_steps, before) for each in layers]
        self.scheduler = self._bind(optimizer, args, state, epoch_steps, before)
        state.stateful_callbacks[type(self).__name__] = self.state()  # where the Trainer will look for it
        saved = self.scheduler.state_dict()
        for each in self._layers:  # which checkpoints don't have
            each.load_state_dict({**saved, "bases": each.state_dict()["bases"]})
        if self._plans.sets("lr"):
            self._lead(lr_scheduler, self.scheduler)
            for each in self._layers:
                for follower in _schedulers_of(each.optimizer):
                    self._lead(follower, each)

    @property
    def _plans(self) -> Plans:
        return as_plans(self.plan)

    def state(self) -> dict[str, Any]:
        """What a checkpoint has of it, for those without an optimizer too."""
        own = {"schedule": str(self.plan), "monitor": self.monitor, "policy": self.policy}
        saved = self.saved if self.scheduler is None else self.scheduler.state_dict()
        return {"args": {**own, "on_conflict": self.on_conflict}, "attributes": {"saved": saved}}

    def _bind(
        self, optimizer: Optimizer, args: Any, state: Any, epoch_steps: int | None, saved: dict[str, Any] | None
    ) -> Scheduler:
        earlier = scheduler_of(optimizer)  # of a train() that broke off: it has taken the state that was just loaded
        if self._plans.sets("lr"):
            for group in optimizer.param_groups:  # the Trainer's own scheduler has written its first rate
                if "initial_lr" in group:
                    write(group, place(group, "lr"), float(group["initial_lr"]))
        asked = args.learning_rate if is_close(default_rate(optimizer), args.learning_rate) else None
        done, marked = state.global_step, read_mark(optimizer.param_groups)
        if earlier is not None and 0 < earlier.steps == done:
            saved = earlier.state_dict()
        found = marked if marked is not None or saved is None or not done else SchedulerState.from_dict(saved)
        steps = whole_length(found, self.policy if done else None, done=done, left=state.max_steps - done)
        return bind_resumed(
            self.plan,
            optimizer,
            None if found is None or marked is not None else found.to_dict(),
            Horizon(steps, epoch_steps),
            policy=self.policy,
            on_conflict=self.on_conflict,
            asked=asked,
            elsewhere=done if found is None else 0,
        )

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """From now on evaluations count."""
        self._listens = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Tell the controllers, once the Trainer's own evaluation has what they go by: of several sets, any may."""
        own = {name: value for name, value in evaluated(metrics).items() if name.startswith("eval_")}
        if not own or not self._listens or self._reported or self.scheduler is None or not self._plans.controllers:
            return
        self._metrics |= {name.removeprefix("eval_"): value for name, value in own.items()}
        if not self._missing():
            named = {name: value for name, value in self._metrics.items() if name != "loss"}
            if self.monitor in self._metrics:
                named["loss"] = self._metrics[self.monitor]
            for scheduler in (self.scheduler, *self._layers):
                scheduler.step({**named, **{f"eval_{name}": value for name, value in named.items()}})
            self._reported, self._metrics = True, {}

    def _missing(self) -> list[str]:
        """What controllers go by and no evaluation so far has."""
        names = [name.removeprefix("eval_") for name in self._plans.metrics]
        return [name for each in names if (name := self.monitor if each == "loss" else each) not in self._metrics]

    def _complaint(self) -> str:
        missing, known = ", ".join(self._missing()), ", ".join(sorted(self._metrics))
        return f"no evaluation has {missing}, that '{self.plan}' goes by; there are {known} (monitor=)"

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse an evaluation without a metric that a controller goes by."""
        if self._metrics:
            raise InputError(self._complaint())
        self._reported = False

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the optimizer, and the Trainer's scheduler; evaluations don't count any more."""
        self._listens = False
        if self._metrics:
            warnings.warn(self._complaint(), stacklevel=2)
        for scheduler in self._layers:
            scheduler.release()
        if self.scheduler is not None:
            self.scheduler.release()
        self._follow()

    def _lead(self, follower: LRScheduler, leader: Scheduler) -> None:
        """Let the Trainer's scheduler show what another one sets, at the moments when it would have set it.

        Its class changes and not its attributes, since those are what it saves.
        """

        def step(self: LRScheduler, *args: Any, **kwargs: Any) -> None:
            leader.sync()
            rates = leader.get_last_lr()
            self._last_lr = [each.clone() if isinstance(each, torch.Tensor) else each for each in rates]
            self._step_count += 1
            self.last_epoch = leader.steps

        kind = type(follower)
        self._led.append((follower, kind))
        follower.__class__ = type(kind.__name__, (kind,), {"step": step})
        follower.step()

    def _follow(self) -> None:
        """Leave the Trainer's schedulers to themselves."""
        for follower, kind in self._led:
            follower.__class__ = kind
        self._led = []


def _saved(state: Any) -> dict[str, Any] | None:
    """The scheduler's state that a checkpoint has among those of its callbacks."""
    found = state.stateful_callbacks.get(Schedule.__name__)
    found = found[-1] if isinstance(found, list) and found else found
    saved: Any = found.get("attributes", {}).get("saved") if isinstance(found, dict) else None
    return saved if isinstance(saved, dict) else None


def _schedulers_of(optimizer: Optimizer) -> Iterator[LRScheduler]:
    """The Trainer's own scheduler of an optimizer for one parameter, which only the parameter's hook knows."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for hook in (parameter._post_accumulate_grad_hooks or {}).values():
                held = inspect.getclosurevars(hook).nonlocals.values() if inspect.isfunction(hook) else ()
                found = (each.get(parameter) for each in held if isinstance(each, dict))
                yield from (each for each in found if isinstance(each, LRScheduler))
