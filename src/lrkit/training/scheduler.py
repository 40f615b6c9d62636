"""A plan bound to an optimizer: it owns what it schedules, and its clock is the optimizer's own updates."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, InputTypeError
from lrkit.schedules.metric import Metric
from lrkit.schedules.shares import as_number
from lrkit.training.assignment import Bases, Written, assign, require_groups, settle, slots
from lrkit.training.clock import clock_of, running_clock, running_clocks
from lrkit.training.groups import KnownGroups
from lrkit.training.holdings import Conflict, Holdings, check_on_conflict
from lrkit.training.hyper import Group, is_close, place, put_back_on_error, read, separate, write
from lrkit.training.outlook import Key, Outlook
from lrkit.training.scheduled_plans import ScheduledPlans
from lrkit.training.scheduler_state import Policy, SchedulerState, check_policy
from lrkit.training.unseen import Additions, Suspicion, TwinWatch, require_own_parameters
from lrkit.training.wrapping import chain_of, stepping, twins, with_states

__all__ = ["BoundController", "BoundSchedule", "Conflict", "Policy", "Scheduler", "scheduler_of", "updates_done"]

_MARK = "lrkit"  # the key in a saved param group under which the optimizer carries the scheduler's state

# The attribute of an optimizer under which a released scheduler leaves what it wrote last. A dictionary in this module
# would keep optimizers alive that their parameters refer to.
_LAST_WRITTEN = "_lrkit_last_written"


class Scheduler(LRScheduler):
    """Plans bound to an optimizer: the clock, the writing, the state; made by `plan.bind(optimizer)`.

    It passes for torch's `LRScheduler` with those who check, and shares none of its workings. It can be pickled and
    copied together with its optimizer: the copy is bound to the optimizer's copy. A copy for the same optimizer is
    released.
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
        on_conflict: Conflict = "warn",
    ) -> None:
        check_policy(policy)
        check_on_conflict(on_conflict)
        stepped = stepping(optimizer)
        given = isinstance(optimizer, Optimizer) and hasattr(optimizer, "param_groups")
        self.optimizer = optimizer if given else stepped  # trainers look for the one that they know
        self._stepped = stepped  # the one in it whose step() makes the updates
        self._lr = None if lr is None else as_number(lr, "lr", low=0.0)
        self._policy = policy
        self._on_conflict = on_conflict
        self._count = 0
        self._begun_at = 0  # the count when it was bound, or a state was loaded
        self._known = KnownGroups(stepped.param_groups)
        self._bases: Bases = {}
        self._yielded: set[Key] = set()
        self._said: set[Any] = set()
        self._handles: list[Any] = []  # what is removed to leave the optimizer
        self._released = False
        self._suspicion = Suspicion()
        self._yields_when: Callable[[], bool] | None = None
        self._use(ScheduledPlans(plans, horizon))
        require_groups(stepped.param_groups, self._scheduled.resolved, later)
        require_own_parameters(stepped)
        self._bind(scheduler_of(stepped))

    def _bind(self, previous: "Scheduler | None") -> None:
        """Take the optimizer over, or leave it exactly as it was."""
        optimizer = self._stepped
        standing = vars(optimizer).get(_LAST_WRITTEN, ()) if previous is None else previous._written()
        if previous is not None:
            previous._detach()
        try:
            with put_back_on_error(optimizer):
                self._adopt(standing=standing)
                if not self._resume_from_mark(optimizer):
                    self._put()
                self._attach()
        except BaseException:
            self._detach()
            if previous is not None:
                previous._attach()
            raise
        if previous is not None:
            previous._released = True

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

    def _adopt(self, *saved: Bases, standing: Written = ()) -> None:
        """Settle the bases of all groups, those that are new among them."""
        groups = self._stepped.param_groups
        known = self._known.after(groups)
        aligned = {hyper: self._known.aligned(bases, known) for hyper, bases in self._bases.items()}
        self._bases = self._bases_of(groups, known, *saved, aligned, standing=standing)
        before, self._known = self._known, known
        if not self._released:
            for hyper, index, base in slots(self._bases):
                groups[index][f"initial_{hyper}"] = base
        self._lay_out(added=known.beyond(before))

    def _bases_of(self, groups: Sequence[Group], known: KnownGroups, *bases: Bases, standing: Written = ()) -> Bases:
        targets = self._scheduled.resolved
        return settle(groups, known.numbers, targets, lr=self._lr, known=bases, standing=standing)

    def _lay_out(self, *, added: Collection[int] = ()) -> None:
        groups = self._stepped.param_groups
        if not self._released:
            separate(self._stepped, [(hyper, index) for hyper, index, _ in slots(self._bases)], self._others, added)
        default = self._stepped.defaults.get("lr") if self._lr is None else None
        found = assign(groups, self._known.numbers, self._scheduled.resolved, self._bases, default)
        self._outlook = Outlook(self._scheduled.values, found)
        self._holdings = Holdings(
            self._outlook,
            self._on_conflict,
            plan=str(self.plan),
            yielded=self._yielded,
            said=self._said,
            yields_when=self._yields_when,
        )

    def _others(self) -> list[Optimizer]:
        """The other optimizers that somebody listens to."""
        return [clock.optimizer for clock in running_clocks() if clock.optimizer is not self._stepped]

    # --- clock ------------------------------------------------------------------------------------

    def _attach(self) -> None:
        optimizer = self._stepped
        self._step_uncompiled = torch.compiler.disable(self._step)
        clock_of(optimizer).own(self)
        for each in with_states(self.optimizer):
            self._handles.append(each.register_state_dict_pre_hook(self._before_save))
            self._handles.append(each.register_state_dict_post_hook(self._on_save))
            self._handles.append(each.register_load_state_dict_pre_hook(self._before_load))
            self._handles.append(each.register_load_state_dict_post_hook(self._on_load))
        self._handles.append(Additions(optimizer, self._meet_groups))
        for name, optimizers in twins(optimizer).items():
            self._handles += [TwinWatch(optimizer, name, each, self._hypers_of) for each in optimizers]

    def _hypers_of(self, group: Group) -> list[str]:
        """What is set in a group; asked each time, since the outlook is made anew for other groups."""
        return self._outlook.hypers_of(group)

    def _detach(self) -> None:
        for each in self._handles:
            each.remove()
        self._handles = []
        self.__dict__.pop("_step_uncompiled", None)  # it holds on to this, and so to the optimizer
        clock = running_clock(self._stepped)
        if clock is not None and clock.owner is self:
            clock.own(None)

    def release(self) -> None:
        """Leave the optimizer: its hyper-parameters stay as they are, whatever this scheduler is asked later."""
        if not self._released:
            self._detach()
            self._released = True
            setattr(self._stepped, _LAST_WRITTEN, self._written())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the optimizer make steps that this doesn't count and whose rates it doesn't look at.

        That is for a step that is captured into a CUDA graph, whose replays `advance` counts, and for steps that are no
        part of the training. Afterwards the values of the next update are there again.
        """
        clock = running_clock(self._stepped)
        if clock is None or clock.owner is not self:  # within another pause, or released
            yield
            return
        clock.own(None)
        try:
            yield
        finally:
            if not self._released:
                self._come_back()

    def _come_back(self) -> None:
        """Own the clock again after a pause; but not where another plan was bound meanwhile, which takes the place."""
        clock = clock_of(self._stepped)
        if clock.owner is not None:
            self._detach()
            self._released = True
            return
        clock.own(self)
        self._meet_groups()
        self._put()

    def begin_update(self) -> bool:
        """Called by the clock before a step: see that its values are there; False says that it is no update."""
        groups, known = self._stepped.param_groups, self._known
        if (len(groups) != 1 or groups[0] is not known.only) and not known.are(groups):
            self._meet_groups()
        holdings = self._holdings
        return holdings.untouched(groups) or holdings.check(groups, begun=self._count > self._begun_at)

    def end_update(self) -> None:
        """Called by the clock after an update: write the values of the next."""
        self._count += 1
        self._holdings.advance(self._count)

    def _meet_groups(self) -> None:
        """Schedule the groups that were added."""
        if not self._released and not self._known.are(self._stepped.param_groups):
            with put_back_on_error(self._stepped):
                if not self._resume_from_mark(self._stepped):  # loaded by a way that no hook sees
                    self._adopt()
                    self._put()

    def upcoming(self, count: int) -> dict[Key, list[float]]:
        """The values of the next updates, by hyper-parameter and group: for those who update many runs at once."""
        return self._outlook.upcoming(self._count, count)

    def advance(self, count: int) -> None:
        """Count so many updates that were made without the optimizer.

        Raises:
            InputError: where somebody else has written, and that is to be refused; then nothing has changed.
        """
        self._meet_groups()
        if not self._released:
            self._holdings.settle(self._stepped.param_groups, begun=True)
        self._count += count
        self._begun_at = min(self._begun_at, self._count - 1)
        if not self._released:
            self._holdings.advance(self._count)

    def sync(self) -> None:
        """See that the optimizer's groups have the values of the next update, those that were added among them.

        After `release`, or when another plan was bound, nothing is written.

        Raises:
            InputError: where somebody else has written, and that is to be refused; then nothing has changed.
        """
        self._meet_groups()
        if not self._released:  # the optimizer may have another scheduler, and trainers go on to call `step`
            self._holdings.settle(self._stepped.param_groups, begun=self._count > self._begun_at)

    def _put(self) -> None:
        """Write the values of the next update, whatever is there."""
        if not self._released:
            self._holdings.write(self._count)

    def _written(self) -> Written:
        return self._outlook.values(self._count, without=self._yielded)

    # --- others who write -------------------------------------------------------------------------

    @property
    def yielded(self) -> list[Key]:
        """What is left to others who write it: hyper-parameters, each with the number of a param group."""
        return sorted(self._yielded)

    def yield_when(self, condition: Callable[[], bool]) -> None:
        """Leave to others what they write while a condition holds, and say so: a trainer may swap schedulers."""
        self._yields_when = self._holdings.yields_when = condition

    def take_back(self) -> None:
        """Set again what was yielded to others."""
        self._yielded.clear()
        self._put()

    # --- what trainers call and read --------------------------------------------------------------

    def step(self, metrics: Metric | None = None, epoch: int | None = None) -> None:  # type: ignore[override]  # a metric too
        """Report a metric to the controllers; else nothing but `sync`, since the clock is the optimizer's updates.

        Trainers call it with what torch's schedulers take; `epoch` isn't looked at, nor is a metric by a schedule.
        Several metrics are reported by name, `{"loss": 0.3, "accuracy": 0.9}`: each controller takes its own.

        Raises:
            InputTypeError: when a controller's metric is no number.
            InputError: when a controller's metric isn't among those that are reported.
        """
        if torch.compiler.is_compiling():
            self._step_uncompiled(metrics)
        else:
            self._step(metrics)

    def _step(self, metrics: Metric | None) -> None:
        self.sync()
        if metrics is not None and self._scheduled.report(metrics, self._count):
            self._outlook.forget()
            if not self._released:
                self._holdings.advance(self._count)
        if self._count == self._begun_at and not self._released:
            self._suspicion.look(self._stepped, str(self.plan), refuse=self._on_conflict == "refuse")

    @property
    def steps(self) -> int:
        """Updates done so far; update `steps` comes next."""
        return self._count

    @property
    def last_epoch(self) -> int:
        """Updates done, under the name that trainers read."""
        return self._count

    @last_epoch.setter
    def last_epoch(self, epoch: int) -> None:
        raise InputError(
            f"'{self.plan}' is bound, and counts the optimizer's updates, so nobody else sets its clock, as "
            "SequentialLR does; combine plans with >>, or call scheduler.advance(n)"
        )

    @property
    def base_lrs(self) -> list[float]:  # type: ignore[override]  # an attribute in torch, read by trainers
        """The base of each group."""
        self._meet_groups()
        groups = self._stepped.param_groups
        bases: list[float | None] = self._bases.get("lr", [None] * len(groups))
        return [read(group, "lr") if base is None else base for group, base in zip(groups, bases, strict=False)]

    def get_last_lr(self) -> list[float | Tensor]:
        """The rate of each group, as the next update will use it."""
        self._hold()
        return [read(group, "lr") for group in self._stepped.param_groups]

    def get_lr(self) -> list[float | Tensor]:
        """The same as `get_last_lr`."""
        return self.get_last_lr()

    # --- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Plain data: step count, controllers' states, the plans as written, horizon, bases, format version."""
        self._hold()
        yielded = [(hyper, self._known.numbers.index(number)) for hyper, number in sorted(self._yielded)]
        return self._scheduled.state(self._count, self._bases, yielded).to_dict()

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
            self._let_go(written)
        self._put()

    def _take(self, saved: SchedulerState, policy: Policy | None) -> None:
        """Take the plans, the count and the controllers' states; what it raises leaves half of them taken."""
        saved.require_groups(len(self._stepped.param_groups))
        self._use(self._scheduled.resumed(saved, policy))
        self._count = self._begun_at = saved.steps
        self._yielded = {(hyper, self._known.numbers[index]) for hyper, index in saved.yielded}

    def _let_go(self, written: Written) -> None:
        """Give what isn't scheduled any more its base back, where it holds what was written."""
        for group, hyper, value in written:
            if hyper not in self._outlook.hypers_of(group) and is_close(read(group, hyper), value):
                write(group, place(group, hyper), float(group[f"initial_{hyper}"]))

    def _before_save(self, optimizer: Optimizer) -> None:
        self._hold()

    def _hold(self) -> None:
        """Settle the groups that were added, and what others wrote, so that what is read or saved now will be used."""
        self._meet_groups()
        if self._on_conflict != "refuse":  # that is said before the next update, and nothing else is lost until then
            self.sync()

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
            loaded = self._known.after(groups)
            self._bases_of(groups, loaded, *([] if saved is None else [saved.bases]), self._bases)
        finally:
            self.__dict__.update(before)

    def _on_load(self, optimizer: Optimizer) -> None:
        self._said.clear()
        if not self._resume_from_mark(optimizer):
            self._adopt()  # its groups are new
            self._begun_at = self._count
            self._put()

    def _resume_from_mark(self, optimizer: Optimizer) -> bool:
        """Go on from the state that a restored optimizer carries; it keeps it while it is refused."""
        groups = optimizer.param_groups
        saved = groups[0].get(_MARK) if groups else None
        if saved is None:
            return False
        self.load_state_dict(saved)
        del optimizer.param_groups[0][_MARK]
        return True

    def __getstate__(self) -> dict[str, Any]:
        made_anew = ("_yields_when", "_handles", "_outlook", "_holdings", "_step_uncompiled")
        return {name: value for name, value in self.__dict__.items() if name not in made_anew}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._handles, self._yields_when = [], None
        self._released = self._released or scheduler_of(self._stepped) is not None
        self._lay_out()
        if not self._released:
            self._holdings.write(self._count, copied=True)
            self._attach()


class BoundSchedule(Scheduler):
    """A schedule bound to an optimizer, or several of them."""


class BoundController(Scheduler, ReduceLROnPlateau):
    """A controller bound to an optimizer. It passes for torch's `ReduceLROnPlateau` with those who check."""


def scheduler_of(optimizer: Optimizer) -> Scheduler | None:
    """The scheduler that is bound to an optimizer, or to the one that it is put around, if there is one."""
    clock = running_clock(chain_of(optimizer)[-1])
    owner = None if clock is None else clock.owner
    return owner if isinstance(owner, Scheduler) else None


def updates_done(optimizer: Optimizer) -> int:
    """The updates that the bound scheduler has counted, or that a restored optimizer's own state says; else 0."""
    scheduler = scheduler_of(optimizer)
    if scheduler is not None:
        return scheduler.steps
    saved = chain_of(optimizer)[-1].param_groups[0].get(_MARK)
    return 0 if saved is None else SchedulerState.from_dict(saved).steps
