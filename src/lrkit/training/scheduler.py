"""A plan bound to an optimizer: it owns what it schedules, and its clock is the optimizer's own updates."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError
from lrkit.schedules.metric import Metric
from lrkit.schedules.shares import as_number
from lrkit.training.assignment import Bases, Written, assign, require_groups, settle, slots
from lrkit.training.clock import clock_of, running_clock, running_clocks
from lrkit.training.groups import KnownGroups
from lrkit.training.holdings import Conflict, Holdings, check_on_conflict
from lrkit.training.hyper import Group, put_back_on_error, read, separate
from lrkit.training.mark import blank, clear, is_blank, read_made, read_mark, updates_in
from lrkit.training.outlook import Key, Outlook
from lrkit.training.progress import Measure
from lrkit.training.rebasing import Rates, default_rate
from lrkit.training.resuming import Resuming
from lrkit.training.scheduled_plans import ScheduledPlans
from lrkit.training.scheduler_state import Policy, check_policy
from lrkit.training.unseen import Overlay, Suspicion, TwinWatch, require_own_parameters
from lrkit.training.wrapping import chain_of, stepping, twins, with_states

__all__ = ["BoundController", "BoundSchedule", "Conflict", "Policy", "Scheduler", "scheduler_of", "updates_done"]

# The attribute of an optimizer under which a released scheduler leaves what it wrote last. A dictionary in this module
# would keep optimizers alive that their parameters refer to.
_LAST_WRITTEN = "_lrkit_last_written"


class Scheduler(Resuming, LRScheduler):
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
        asked: float | None = None,
        measure: Measure | None = None,
    ) -> None:
        Resuming.__init__(self)
        check_policy(policy)
        check_on_conflict(on_conflict)
        stepped = stepping(optimizer)
        given = isinstance(optimizer, Optimizer) and hasattr(optimizer, "param_groups")
        self.optimizer = optimizer if given else stepped  # trainers look for the one that they know
        self._stepped = stepped  # the one in it whose step() makes the updates
        self._chain = chain_of(self.optimizer)
        named = None if lr is None else as_number(lr, "lr", low=0.0)
        self._rates = Rates(named, asked, default_rate(stepped))
        self._policy = policy
        self._on_conflict = on_conflict
        self._measure = measure
        self._known = KnownGroups(stepped.param_groups)
        self._bases: Bases = {}
        self._yielded: set[Key] = set()
        self._said: set[Any] = set()
        self._handles: list[Any] = []  # what is removed to leave the optimizer
        self._released = False
        self._suspicion = Suspicion()
        self._yields_when: Callable[[], bool] | None = None
        try:
            scheduled = ScheduledPlans(plans, horizon)
        except InputError as error:
            provisional = ScheduledPlans.provisional(plans, horizon)
            if provisional is None:
                raise
            scheduled, self._doubt = provisional, error
        self._use(scheduled)
        require_groups(stepped.param_groups, self._scheduled.resolved, later)
        require_own_parameters(stepped)
        self._bind(scheduler_of(stepped))

    def _bind(self, previous: "Scheduler | None") -> None:
        """Take the optimizer over, or leave it exactly as it was."""
        optimizer = self._stepped
        standing = vars(optimizer).get(_LAST_WRITTEN) if previous is None else previous._written()
        if previous is not None:
            previous._detach()
        try:
            with put_back_on_error(optimizer):
                groups = optimizer.param_groups
                saved, made, was_bound = read_mark(groups), read_made(groups), is_blank(groups)
                self._adopt(standing=standing or ())
                self._made = dict(self._bases) if saved is None else {}
                if saved is not None:
                    self._resume(saved, self._standing_policy)
                    self._compare(made)
                elif standing is None and (updates_in(optimizer) or (was_bound and any(optimizer.state.values()))):
                    self._resume_unmarked(self._policy)
                else:
                    self._put()
                self._attach()
                self._tell()
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
        return self._policy if self._called is None else self._called

    def _use(self, scheduled: ScheduledPlans) -> None:
        if self._rates.lr is not None and not scheduled.plans.sets("lr"):
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
            blank(groups)
        self._lay_out(added=known.beyond(before))

    def _bases_of(self, groups: Sequence[Group], known: KnownGroups, *bases: Bases, standing: Written = ()) -> Bases:
        targets = self._scheduled.resolved
        return settle(groups, known.numbers, targets, lr=self._rates.lr, known=bases, standing=standing)

    def _lay_out(self, *, added: Collection[int] = ()) -> None:
        groups = self._stepped.param_groups
        if not self._released:
            separate(self._stepped, [(hyper, index) for hyper, index, _ in slots(self._bases)], self._others, added)
        default = default_rate(self._stepped) if self._rates.lr is None else None
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
            self._handles.append(Overlay(each, "load_state_dict", self._loading))
        self._handles.append(Overlay(optimizer, "add_param_group", self._adding))
        blank(optimizer.param_groups)
        for name, optimizers in twins(optimizer).items():
            self._handles += [TwinWatch(optimizer, name, each, self._hypers_of) for each in optimizers]

    def _hypers_of(self, group: Group) -> list[str]:
        """What is set in a group; asked each time, since the outlook is made anew for other groups."""
        return self._outlook.hypers_of(group)

    def _detach(self) -> None:
        for each in self._handles:
            each.remove()
        if self._handles:
            clear(self._stepped.param_groups)
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
            self._part()

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
        self._part()
        try:
            yield
        finally:
            if not self._released:
                self._come_back()

    def _part(self) -> None:
        """Leave in the optimizer what tells the next that is bound of this one."""
        setattr(self._stepped, _LAST_WRITTEN, self._written())

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
        counts = holdings.untouched(groups) or holdings.check(groups, begun=self._count > self._begun_at)
        if self._doubt is not None and counts:
            self._say_doubt()
        return counts

    def end_update(self) -> None:
        """Called by the clock after an update: write the values of the next."""
        self._count += 1
        self._holdings.advance(self._count)

    def _meet_groups(self) -> None:
        """Schedule the groups that were added, or go on from those that were loaded by a road that nobody sees."""
        groups = self._stepped.param_groups
        if self._released or self._known.are(groups):
            return
        if self._known.are_replaced_by(groups):
            self._arrive()
            return
        with put_back_on_error(self._stepped):
            self._adopt()
            self._put()

    @contextmanager
    def _adding(self, *_: Any, **__: Any) -> Iterator[None]:
        """Around `add_param_group`: a group that is added has its rate at once."""
        yield
        self._meet_groups()

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
        if isinstance(self._doubt, InputError):
            raise self._doubt
        self._count += count
        self._begun_at = min(self._begun_at, self._count - 1)
        self._told_at, self._doubt = self._count, None
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
        self._meet_groups()
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

    def span(self, horizon: Horizon | None) -> None:
        """Measure lengths against another horizon, that of a trainer which knows it only when training begins.

        Raises:
            InputError: where the plan doesn't fit, or was followed already over another.
        """
        if horizon == self.horizon:
            return
        if self._count:
            raise InputError(f"'{self.plan}' has been followed for {self._count} updates over another horizon")
        self._use(ScheduledPlans(self._scheduled.plans, horizon))
        self._lay_out()
        self._put()

    def rebase(self, lrs: Sequence[float]) -> None:
        """Give the groups other bases for the rate, such as one that was found; a state with others is no surprise.

        Raises:
            InputError: where the rate was named, or there is no schedule for it.
        """
        if self._rates.named is not None:
            raise InputError(
                "the schedule was bound with lr=, which sets its base; bind it without, so that another can be found"
            )
        self._meet_groups()
        bases = self._bases.get("lr", [])
        if len(lrs) != len(bases):
            raise InputError(f"{len(lrs)} bases are given, and '{self.plan}' sets lr in {len(bases)} param groups")
        self._has_told, self._made = True, {}
        self._adopt({"lr": [None if before is None else lr for before, lr in zip(bases, lrs, strict=True)]})
        self._put()

    def get_last_lr(self) -> list[float | Tensor]:
        """The rate of each group, as the next update will use it."""
        self._hold()
        return [read(group, "lr") for group in self._stepped.param_groups]

    def get_lr(self) -> list[float | Tensor]:
        """The same as `get_last_lr`."""
        return self.get_last_lr()

    def _hold(self) -> None:
        """Settle the groups that were added, and what others wrote, so that what is read or saved now will be used."""
        self._meet_groups()
        if self._on_conflict != "refuse":  # that is said before the next update, and nothing else is lost until then
            self.sync()

    def __getstate__(self) -> dict[str, Any]:
        self._meet_groups()  # what has come by a road that nobody saw
        made_anew = ("_yields_when", "_measure", "_handles", "_outlook", "_holdings", "_step_uncompiled")
        return {name: value for name, value in self.__dict__.items() if name not in made_anew}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._handles, self._yields_when, self._measure = [], None, None
        self._released = self._released or scheduler_of(self._stepped) is not None
        self._suspicion, self._begun_at = Suspicion(copied=True), self._count
        self._lay_out()
        if not self._released:
            self._holdings.write(self._count, copied=True)
            self._attach()

    def __copy__(self) -> "Scheduler":
        """A copy for the same optimizer, so it is released."""
        copied: Scheduler = object.__new__(type(self))
        copied.__setstate__({**self.__getstate__(), "_released": True})
        return copied


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
    saved = read_mark(chain_of(optimizer)[-1].param_groups)
    return 0 if saved is None else saved.steps
