"""A plan bound to an optimizer: it owns what it schedules, and its clock is the optimizer's own updates."""

import weakref
from collections.abc import Collection, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.metric import Metric
from lrkit.schedules.shares import as_number
from lrkit.training.assignment import Bases, Written, require_groups, settle, slots, stands, target_for
from lrkit.training.hyper import Group, place, read, separate, write
from lrkit.training.outlook import Outlook
from lrkit.training.scheduled_plans import ScheduledPlans
from lrkit.training.scheduler_state import Policy, SchedulerState, check_policy

__all__ = ["BoundController", "BoundSchedule", "Policy", "Scheduler", "scheduler_of", "updates_done"]

_MARK = "lrkit"  # the key in a saved param group under which the optimizer carries the scheduler's state

# The scheduler of each optimizer, kept alive by its hooks there, and what a released one wrote last: nothing here may
# hold on to an optimizer.
_bound: "weakref.WeakKeyDictionary[Optimizer, weakref.ref[Scheduler]]" = weakref.WeakKeyDictionary()
_left: "weakref.WeakKeyDictionary[Optimizer, Written]" = weakref.WeakKeyDictionary()


class Scheduler(LRScheduler):
    """Plans bound to an optimizer: the clock, the writing, the state; made by `plan.bind(optimizer)`.

    It passes for torch's `LRScheduler` with those who check, and shares none of its workings. It can be pickled and
    copied together with its optimizer: the copy is bound to the optimizer's copy.
    """

    # Accelerate wraps other schedulers to step them once for each process; what says this is left as it is, and saved.
    _is_accelerate_prepared = True

    def __init__(
        self,
        optimizer: Optimizer,
        plans: Plans,
        horizon: Horizon | None,
        *,
        lr: float | None,
        later: Collection[int | str],
        policy: Policy | None,
    ) -> None:
        check_policy(policy)
        self.optimizer = optimizer
        self._lr = None if lr is None else as_number(lr, "lr", low=0.0)
        self._policy = policy
        self._count = 0
        self._bases: Bases = {}
        self._hooks: list[Any] = []
        self._released = False
        self._use(ScheduledPlans(plans, horizon))
        require_groups(optimizer.param_groups, self._scheduled.resolved, later)
        previous = scheduler_of(optimizer)
        self._adopt(standing=_left.get(optimizer, {}) if previous is None else previous._written())
        if not self._resume_from_mark():
            self._write()
        if previous is not None:
            previous.release()
        self._attach()

    # --- what is scheduled ------------------------------------------------------------------------

    @property
    def plan(self) -> Plan | Plans:
        """What is bound, as it was written."""
        return self._scheduled.plans.simplest

    @property
    def horizon(self) -> Horizon | None:
        """What lengths are measured against; None where all of them are in steps."""
        return self._scheduled.horizon

    @property
    def policy(self) -> Policy | None:
        """What was named to go on from a state of another schedule or horizon; None without."""
        return self._policy

    def _use(self, scheduled: ScheduledPlans) -> None:
        if self._lr is not None and not scheduled.plans.sets("lr"):
            raise InputError(
                f"lr is the base of a schedule for lr, and '{scheduled.plans}' has none; add lr: constant()"
            )
        self._scheduled = scheduled

    def _adopt(self, *saved: Bases, standing: Written = MappingProxyType({})) -> None:
        """Settle the bases of all groups, those that are new among them."""
        groups = self.optimizer.param_groups
        self._bases = self._settled(groups, *saved, standing=standing)
        if not self._released:
            for hyper, index, base in slots(self._bases):
                groups[index][f"initial_{hyper}"] = base
        self._known = len(groups)
        self._lay_out()

    def _settled(self, groups: Sequence[Group], *saved: Bases, standing: Written = MappingProxyType({})) -> Bases:
        return settle(
            groups,
            self._scheduled.resolved,
            lr=self._lr,
            known=[*saved, self._bases],
            standing=standing,
            resumed=_MARK in groups[0],
        )

    def _lay_out(self) -> None:
        groups = self.optimizer.param_groups
        others = [optimizer for optimizer in _bound if optimizer is not self.optimizer]
        if not self._released:
            separate(self.optimizer, [(hyper, index) for hyper, index, _ in slots(self._bases)], others)
        found = [
            (target, place(groups[i], hyper), i, base)
            for hyper, i, base in slots(self._bases)
            if (target := target_for(hyper, i, groups[i], self._scheduled.resolved)) is not None
        ]
        self._outlook = Outlook(self._scheduled.values, found)

    # --- clock ------------------------------------------------------------------------------------

    def _attach(self) -> None:
        optimizer = self.optimizer
        # The count changes with every update: a compiled step that had seen it would be compiled anew each time.
        self._meet_groups_uncompiled = torch.compiler.disable(self._meet_groups)
        self._tick_uncompiled = torch.compiler.disable(self._tick)
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_update),
            optimizer.register_step_post_hook(self._after_update),
            optimizer.register_state_dict_pre_hook(self._before_save),
            optimizer.register_state_dict_post_hook(self._on_save),
            optimizer.register_load_state_dict_pre_hook(self._before_load),
            optimizer.register_load_state_dict_post_hook(self._on_load),
        ]
        _bound[optimizer] = weakref.ref(self)

    def release(self) -> None:
        """Leave the optimizer: its hyper-parameters stay as they are, whatever this scheduler is asked later."""
        self._released = True
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for name in ("_meet_groups_uncompiled", "_tick_uncompiled"):  # they hold on to this, and so to the optimizer
            self.__dict__.pop(name, None)
        if scheduler_of(self.optimizer) is self:
            del _bound[self.optimizer]
            _left[self.optimizer] = self._written()

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            self._meet_groups_uncompiled()
        elif len(optimizer.param_groups) != self._known:
            self._meet_groups()

    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            self._tick_uncompiled()
        else:
            self._tick()

    def _meet_groups(self) -> None:
        """Schedule the groups that were added."""
        if self._released:
            return
        now = len(self.optimizer.param_groups)
        if now < self._known:
            raise InputError(f"the optimizer has {now} param groups and had {self._known} when it was bound; bind anew")
        if now > self._known:
            self._adopt()
            self._write()

    def _tick(self) -> None:
        # A fused optimizer under a gradient scaler decides itself whether to skip the update.
        skipped = getattr(self.optimizer, "found_inf", None)
        if skipped is not None and bool(skipped):
            return
        self._count += 1
        self._write()

    def upcoming(self, count: int) -> dict[tuple[str, int], list[float]]:
        """The values of the next updates, by hyper-parameter and group: for those who update many runs at once."""
        return self._outlook.upcoming(self._count, count)

    def advance(self, count: int) -> None:
        """Count so many updates that were made without the optimizer."""
        self._count += count
        self._write()

    def sync(self) -> None:
        """Write the values of the next update into the optimizer's groups, those that were added among them.

        After `release`, or when another plan was bound, nothing is written.
        """
        self._meet_groups()
        self._write()

    def _write(self) -> None:
        if self._released:  # the optimizer may have another scheduler, and trainers go on to call `step`
            return
        self._outlook.write(self.optimizer.param_groups, self._count)

    def _written(self) -> dict[tuple[str, int], float]:
        return self._outlook.values(self._count)

    # --- what trainers call and read --------------------------------------------------------------

    def step(self, metrics: Metric | None = None, epoch: int | None = None) -> None:  # type: ignore[override]  # a metric too
        """Report a metric to the controllers; else nothing but `sync`, since the clock is the optimizer's updates.

        Trainers call it with what torch's schedulers take; `epoch` isn't looked at, nor is a metric by a schedule.
        Several metrics are reported by name, `{"loss": 0.3, "accuracy": 0.9}`: each controller takes its own.

        Raises:
            InputTypeError: when a controller's metric is no number.
            InputError: when a controller's metric isn't among those that are reported.
        """
        if metrics is not None and self._scheduled.report(metrics, self._count):
            self._outlook.forget()
        self.sync()

    @property
    def steps(self) -> int:
        """Updates done so far; update `steps` comes next."""
        return self._count

    @property
    def last_epoch(self) -> int:  # type: ignore[override]  # an attribute in torch, read by trainers
        """Updates done, under the name that trainers read."""
        return self._count

    @property
    def base_lrs(self) -> list[float]:  # type: ignore[override]  # an attribute in torch, read by trainers
        """The base of each group."""
        self._meet_groups()
        groups = self.optimizer.param_groups
        bases: list[float | None] = self._bases.get("lr", [None] * len(groups))
        return [read(group, "lr") if base is None else base for group, base in zip(groups, bases, strict=False)]

    def get_last_lr(self) -> list[float | Tensor]:
        """The rate of each group, as the next update will use it."""
        self._meet_groups()
        return [read(group, "lr") for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float | Tensor]:
        """The same as `get_last_lr`."""
        return self.get_last_lr()

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Plain data: step count, controllers' states, the plans as written, horizon, bases, format version."""
        self._meet_groups()
        return self._scheduled.state(self._count, self._bases).to_dict()

    def load_state_dict(self, state_dict: dict[str, Any], *, policy: Policy | None = None) -> None:
        """Go on where the state was taken.

        Args:
            state_dict: what `state_dict` returned.
            policy: needed when the state was made with another schedule or another horizon, here or in `bind`:
                "keep" goes on with the saved schedule over the saved horizon, "stretch" with the saved schedule
                over the horizon that is bound now, "replace" with the schedule and horizon that are bound now. What
                is saved of a controller is used where its text is the same.

        Raises:
            InputError: for a state that isn't lrkit's, has a newer format or other param groups, or that was made
                with another schedule or horizon while no policy is named; then nothing has changed.
        """
        check_policy(policy)
        policy = self._policy if policy is None else policy
        saved = SchedulerState.from_dict(state_dict)
        before, written = dict(self.__dict__), self._written()
        try:
            self._take(saved, policy)
            self._adopt(saved.bases)
        except (InputError, InputTypeError):
            self.__dict__.update(before)
            raise
        self._policy = policy  # the optimizer may bring the same state once more
        if not self._released:
            self._let_go(before["_bases"], written)
        self._outlook.forget()
        self._write()

    def _take(self, saved: SchedulerState, policy: Policy | None) -> None:
        """Take the plans, the count and the controllers' states; what it raises leaves half of them taken."""
        self._check_count(saved)
        self._use(self._scheduled.resumed(saved, policy))
        self._count = saved.steps

    def _check_count(self, saved: SchedulerState) -> None:
        here = len(self.optimizer.param_groups)
        for bases in saved.bases.values():
            if len(bases) != here:
                raise InputError(f"this state is of an optimizer with {len(bases)} param groups, this one has {here}")

    def _let_go(self, bases: Bases, written: Written) -> None:
        """Give what isn't scheduled any more its base back, where it holds what was written."""
        kept = {(hyper, index) for hyper, index, _ in slots(self._bases)}
        for hyper, index, base in slots(bases):
            group = self.optimizer.param_groups[index]
            if (hyper, index) not in kept and stands(read(group, hyper), written[hyper, index]):
                write(group, place(group, hyper), base)

    def _before_save(self, optimizer: Optimizer) -> None:
        """Settle the groups that were added, so that they are saved with their rates and bases."""
        self._meet_groups()

    def _on_save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        """Let the optimizer's own state carry the clock, for those who save nothing else."""
        state_dict["param_groups"][0][_MARK] = self.state_dict()

    def _before_load(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        """Refuse a state that can't be gone on from, before the optimizer has loaded anything of it."""
        groups = state_dict["param_groups"]
        if len(groups) != len(optimizer.param_groups):
            return  # torch refuses it
        mark, before = groups[0].get(_MARK), dict(self.__dict__)
        try:
            saved = None if mark is None else SchedulerState.from_dict(mark)
            if saved is not None:
                self._take(saved, self._policy)
            self._settled(groups, *([] if saved is None else [saved.bases]))
        finally:
            self.__dict__.update(before)

    def _on_load(self, optimizer: Optimizer) -> None:
        if not self._resume_from_mark():
            self._adopt()  # its groups are new
            self._write()

    def _resume_from_mark(self) -> bool:
        """Go on from the state that a restored optimizer carries; it keeps it while it is refused."""
        saved = self.optimizer.param_groups[0].get(_MARK)
        if saved is None:
            return False
        self.load_state_dict(saved)
        del self.optimizer.param_groups[0][_MARK]
        return True

    def __getstate__(self) -> dict[str, Any]:
        made_anew = ("_hooks", "_outlook", "_meet_groups_uncompiled", "_tick_uncompiled")
        state = {name: value for name, value in self.__dict__.items() if name not in made_anew}
        return {**state, "_attached": bool(self._hooks)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: value for name, value in state.items() if name != "_attached"})
        self._hooks = []
        self._released = not state["_attached"]
        self._lay_out()
        if state["_attached"]:
            self._attach()


class BoundSchedule(Scheduler):
    """A schedule bound to an optimizer, or several of them."""


class BoundController(Scheduler, ReduceLROnPlateau):
    """A controller bound to an optimizer. It passes for torch's `ReduceLROnPlateau` with those who check."""


def scheduler_of(optimizer: Optimizer) -> Scheduler | None:
    """The scheduler that is bound to an optimizer, if there is one."""
    reference = _bound.get(optimizer)
    return None if reference is None else reference()


def updates_done(optimizer: Optimizer) -> int:
    """The updates that the bound scheduler has counted, or that a restored optimizer's own state says; else 0."""
    scheduler = scheduler_of(optimizer)
    if scheduler is not None:
        return scheduler.steps
    saved = optimizer.param_groups[0].get(_MARK)
    return 0 if saved is None else SchedulerState.from_dict(saved).steps
