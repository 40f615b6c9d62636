"""Going on from states, whatever road they come by."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from torch.optim import Optimizer

from lrkit.schedules import Horizon, Plan, Plans
from lrkit.schedules.errors import InputError, ScheduleWarning, warn_user
from lrkit.training.assignment import Bases, Written
from lrkit.training.groups import KnownGroups
from lrkit.training.hyper import Group, is_close, place, put_back_on_error, read, write
from lrkit.training.mark import fill, has_mark, is_blank, read_made, read_mark, updates_in
from lrkit.training.outlook import Key, Outlook
from lrkit.training.progress import Measure, Progress
from lrkit.training.rebasing import Rates, Taken
from lrkit.training.scheduled_plans import ScheduledPlans
from lrkit.training.scheduler_state import Done, Policy, SchedulerState, check_policy
from lrkit.training.wrapping import refresh

__all__ = ["Resuming"]


class Resuming:
    """The part of a scheduler that saves its state, and goes on from others: its own, and those of its optimizer."""

    _stepped: Optimizer
    _chain: list[Any]
    _rates: Rates
    _policy: Policy | None
    _measure: Measure | None
    _known: KnownGroups
    _bases: Bases
    _yielded: set[Key]
    _said: set[Any]
    _released: bool
    _scheduled: ScheduledPlans
    _outlook: Outlook

    def __init__(self) -> None:
        self._count = 0
        self._begun_at = 0  # the count when it was bound, or a state was loaded
        self._done = Done()  # at the count below
        self._done_at = 0
        self._told_at: int | None = None  # the count that somebody has said
        self._doubt: str | InputError | None = None  # what is to be said before the next update
        self._word: str | None = None  # what is to be said once a state was taken
        self._has_told = False
        self._is_loading = False
        self._anew = False  # whether the schedule was begun anew in a training that had made updates
        self._called: Policy | None = None  # what was named for the state that was taken last
        self._made: Bases = {}  # the bases that the optimizer was made with, where they are known

    @property
    @abstractmethod
    def plan(self) -> Plan | Plans:
        """What is bound."""

    @property
    @abstractmethod
    def horizon(self) -> Horizon | None:
        """What lengths are measured against."""

    @abstractmethod
    def _hold(self) -> None: ...

    @abstractmethod
    def _use(self, scheduled: ScheduledPlans) -> None: ...

    @abstractmethod
    def _adopt(self, *saved: Bases, standing: Written = ()) -> None: ...

    @abstractmethod
    def _bases_of(
        self, groups: Sequence[Group], known: KnownGroups, *bases: Bases, standing: Written = ()
    ) -> Bases: ...

    @abstractmethod
    def _put(self) -> None: ...

    @abstractmethod
    def _written(self) -> Written: ...

    def state_dict(self) -> dict[str, Any]:
        """Plain data: what is done, controllers' states, the plans as written, horizon, bases, format version."""
        self._hold()
        return self._scheduled.state(
            self._count,
            done=asdict(self._done.after(self._count - self._done_at, self.horizon)),
            bases=self._bases,
            lr=self._rates.recorded,
            default=self._rates.recorded_default,
            anew=self._anew,
            yielded=[(hyper, self._known.numbers.index(number)) for hyper, number in sorted(self._yielded)],
        ).to_dict()

    def load_state_dict(self, state_dict: dict[str, Any], *, policy: Policy | None = None) -> None:
        """Go on where the state was taken.

        Lengths in tokens or samples go on as they were where a step takes more or less of them now.

        Args:
            state_dict: what `state_dict` returned.
            policy: needed when the state was made with another schedule, another horizon, or another rate than is
                named now, here or in `bind`: "keep" goes on with the saved schedule, horizon and rate, "stretch" with
                the saved schedule over the horizon that is bound now, "replace" with the schedule and horizon that are
                bound now, and with the rate that the optimizer was made with. What is saved of a controller is used
                where its text is the same. "restart" begins what is bound now at its first step; what the optimizer
                has gathered, such as moments, stays. With these two a state of torch's schedulers may be given, which
                says no more than that the training was without lrkit.

        Raises:
            InputError: for a state that isn't lrkit's, has another format or other param groups, or that was made
                with another schedule, horizon or rate while no policy is named; then nothing has changed.
        """
        check_policy(policy)
        policy = self._standing_policy if policy is None else policy
        try:
            saved = SchedulerState.from_dict(state_dict)
        except InputError as error:
            if not isinstance(state_dict, Mapping) or "format" in state_dict:
                raise
            progress = self._progress(None, policy)
            if progress is None:
                self._leave(state_dict, policy, error)
                return
            self._resume_at(progress, policy)
        else:
            self._resume(saved, policy)
        self._told_at, self._doubt = self._count, None
        self._tell()

    def _leave(self, state_dict: Mapping[str, Any], policy: Policy | None, error: InputError) -> None:
        """Take the state of a scheduler of torch for one of a training without lrkit, where a policy says so."""
        if "last_epoch" not in state_dict:
            raise error
        if policy not in ("replace", "restart"):
            raise InputError(f"{error}; or name the policy, 'replace' or 'restart', to leave it") from None
        self._called = policy
        self._resume_unmarked(policy)

    @property
    def _standing_policy(self) -> Policy | None:
        """The policy that was named: for a state until the next update, else when this was bound.

        To begin anew is over with the first update: what was saved since is gone on from.
        """
        if self._called is not None and self._count == self._begun_at:
            return self._called
        return None if self._policy == "restart" and self._count > 0 else self._policy

    def _resume(self, saved: SchedulerState, policy: Policy | None) -> None:
        """Go on from a state, or leave everything as it was."""
        before, written = dict(self.__dict__), self._written()
        try:
            taken = self._take(saved, policy)
            self._adopt(taken.bases)
        except Exception:
            self.__dict__.update(before)
            raise
        self._called = policy  # the optimizer may bring the same state once more
        if not self._released:
            self._let_go(written)
            self._give_back(saved)
        self._put()
        self._word = taken.word

    def _tell(self) -> None:
        """Say what came up when a state was taken, once all is settled."""
        word, self._word = self._word, None
        if word is not None and not self._has_told:
            self._has_told = True
            warn_user(word, ScheduleWarning)

    def _take(self, saved: SchedulerState, policy: Policy | None) -> Taken:
        """Take the plans, the count and the controllers' states; what it raises leaves half of them taken."""
        saved.require_groups(len(self._stepped.param_groups))
        taken = self._rates.taken(saved, policy, self._made or self._bases)
        progress = self._progress(saved, policy)
        scheduled = self._scheduled
        if progress is not None and progress.horizon != scheduled.horizon:
            scheduled = ScheduledPlans(scheduled.plans, progress.horizon)
        self._rates, self._doubt = taken.rates, None
        if policy == "restart":
            self._use(scheduled.begun())
            self._begin_at(0, Done(), anew=True)
            self._yielded = set()
        else:
            self._use(scheduled.resumed(saved, policy))
            self._begin_at(saved.steps, Done(**saved.done), anew=saved.anew)
            self._yielded = {(hyper, self._known.numbers[index]) for hyper, index in saved.yielded}
        return taken

    def _begin_at(self, steps: int, done: Done, *, anew: bool = False) -> None:
        self._count = self._begun_at = self._done_at = steps
        self._done, self._anew = done, anew

    def _progress(self, saved: SchedulerState | None, policy: Policy | None) -> Progress | None:
        """What the trainer says when a state is loaded; None where there is none that could."""
        return None if self._measure is None else self._measure(saved, policy)

    def _resume_unmarked(self, policy: Policy | None, *, copied: bool = False) -> None:
        """Go on after a state without a word of lrkit was loaded: at what a trainer says, or where this is.

        Args:
            policy: what was named.
            copied: whether the groups are copies of those that were there.
        """
        progress = self._progress(None, policy)
        if progress is not None:
            self._resume_at(progress, policy)
            return
        made = updates_in(self._stepped)
        self._adopt()
        if policy == "restart":
            self._begin_at(0, Done(), anew=True)
        elif policy == "replace" and made is not None:
            self._begin_at(made, Done().after(made, self.horizon))
        elif not (copied or isinstance(self._doubt, InputError)) and self._count not in (self._told_at, made):
            count = "" if made is None else f", of {made} updates by its own count,"
            self._doubt = (
                f"the optimizer's state{count} says nothing of lrkit, so '{self.plan}' goes on at update "
                f"{self._count}; where that is wrong call scheduler.advance(n), or load the scheduler's own state; "
                "policy='restart' says that it begins anew"
            )
        self._begun_at = self._count
        self._put()

    def _compare(self, made: int | None) -> None:
        """See that an optimizer has made no updates since the mark in its state was filled.

        Args:
            made: the updates by the optimizer's own count, when it was.
        """
        now = updates_in(self._stepped)
        if made is not None and now is not None and now != made:
            self._doubt = (
                f"the optimizer's state has made {now} updates by its own count, and {made} when lrkit's schedule was "
                f"saved in it, so it was trained without '{self.plan}', which goes on at update {self._count}; call "
                "scheduler.advance(n) for those that count"
            )

    def _stand(self, groups: Sequence[Group]) -> bool:
        """Whether other groups hold what was written into those that are known."""
        others = dict(zip(map(id, self._known.groups), groups, strict=True))
        return all(is_close(read(others[id(group)], hyper), value) for group, hyper, value in self._written())

    def _resume_at(self, progress: Progress, policy: Policy | None) -> None:
        """Go on at the step that a trainer says, since the state is of a training without lrkit."""
        progress.require(self.plan, policy)
        restart = policy == "restart"
        self._use(ScheduledPlans(self._scheduled.plans, progress.horizon))
        steps = 0 if restart else progress.steps
        self._begin_at(steps, Done().after(steps, progress.horizon), anew=restart)
        self._adopt()
        self._put()

    def trust_count(self) -> None:
        """Take the count for right, where the optimizer has made updates of which its state says nothing."""
        if not isinstance(self._doubt, InputError):
            self._told_at, self._doubt = self._count, None

    def _say_doubt(self) -> None:
        """Say what isn't known, now that it begins to count; or that the plan didn't fit, and no state has come.

        Raises:
            InputError: then.
        """
        if isinstance(self._doubt, InputError):
            raise self._doubt
        doubt, self._doubt = self._doubt, None
        assert doubt is not None
        warn_user(doubt, ScheduleWarning)

    def _give_back(self, saved: SchedulerState) -> None:
        """Give what was scheduled in a state, and isn't any more, its base back, where the groups came with one."""
        for group in self._stepped.param_groups:
            for hyper in saved.bases.keys() - set(self._outlook.hypers_of(group)):
                if f"initial_{hyper}" in group:
                    write(group, place(group, hyper), float(group.pop(f"initial_{hyper}")))

    def _let_go(self, written: Written) -> None:
        """Give what isn't scheduled any more its base back, where it holds what was written."""
        for group, hyper, value in written:
            if hyper not in self._outlook.hypers_of(group) and is_close(read(group, hyper), value):
                write(group, place(group, hyper), float(group[f"initial_{hyper}"]))

    def _before_save(self, optimizer: Optimizer) -> None:
        self._hold()

    def _on_save(self, optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
        """Let the optimizer's own state carry the clock, for those who save nothing else."""
        fill(state_dict["param_groups"], self.state_dict(), updates_in(self._stepped))

    @contextmanager
    def _loading(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Around `load_state_dict`, which a wrapper passes on to what it is put around."""
        if self._is_loading:
            yield
            return
        self._before_load(args[0] if args else kwargs.get("state_dict"))
        self._is_loading = True
        try:
            yield
        finally:
            self._is_loading = False
        self._arrive()

    def _before_load(self, state_dict: Any) -> None:
        """Refuse a state that can't be gone on from, before the optimizer has loaded anything of it."""
        groups = state_dict.get("param_groups") if isinstance(state_dict, Mapping) else None
        if not isinstance(groups, list) or len(groups) != len(self._stepped.param_groups):
            return  # the optimizer refuses it
        before = dict(self.__dict__)
        try:
            saved = read_mark(groups)
            if saved is not None:
                bases = [self._take(saved, self._standing_policy).bases]
            else:
                bases, progress = [], self._progress(None, self._standing_policy)
                if progress is not None:
                    progress.require(self.plan, self._standing_policy)
            self._bases_of(groups, self._known.after(groups), *bases, self._bases)
        finally:
            self.__dict__.update(before)

    def _arrive(self) -> None:
        """Go on after the optimizer's state was loaded, by whatever road."""
        self._said.clear()
        groups = next((each.param_groups for each in self._chain if has_mark(each)), self._stepped.param_groups)
        with put_back_on_error(self._stepped):
            saved, made = read_mark(groups), read_made(groups)
            refresh(self._chain)
            if saved is None:
                self._resume_unmarked(self._standing_policy, copied=is_blank(groups) and self._stand(groups))
            else:
                self._resume(saved, self._standing_policy)
                self._compare(made)
        self._tell()
