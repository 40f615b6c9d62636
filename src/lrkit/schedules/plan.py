"""What every schedule and every controller is: a value that says which rate each step uses."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Sequence as Series
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, final

from numpy.typing import ArrayLike

from lrkit.schedules.errors import InputError
from lrkit.schedules.evaluation import Array, evaluate
from lrkit.schedules.lengths import Horizon, Length, LengthLike, round_half_up, show_steps
from lrkit.schedules.shares import show_number

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure
    from torch.optim import Optimizer

    from lrkit.schedules.loops import Schedule
    from lrkit.schedules.plans import Plans
    from lrkit.training.scheduler import Conflict, Policy, Scheduler

__all__ = ["Plan", "State", "is_word", "show"]

State: TypeAlias = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Plan(ABC):
    """What schedules and controllers have in common: a length, a text form, composition, binding.

    A kind is a frozen dataclass. Fields that hold lengths are found by their value (`Length`), so a kind
    declares them and never resolves them itself; only compositions override the methods about lengths.
    """

    kind: ClassVar[str]
    example: ClassVar[str] = ""  # a text that shows the kind over 1000 steps; the catalogue draws it
    positional: ClassVar[int] = 1  # how many fields the text form writes without their name
    always: ClassVar[tuple[str, ...]] = ()  # fields that it writes even when they have their default

    # --- length -----------------------------------------------------------------------------------

    def over(
        self,
        steps: int,
        *,
        epoch_steps: int | None = None,
        step_tokens: int | None = None,
        step_samples: int | None = None,
    ) -> Self:
        """The same plan with every length in steps.

        Args:
            steps: the horizon; `"5%"` is a share of it and a length that was left out is what remains of it.
            epoch_steps: steps in an epoch, needed where lengths are in `ep`.
            step_tokens: tokens that a step consumes, needed where lengths are in `tok`.
            step_samples: samples that a step consumes, needed where lengths are in `samples`.

        Raises:
            InputError: where the lengths don't fit the horizon (the message shows the arithmetic), or a unit's
                size isn't given.

        >>> from lrkit import linear, warmup
        >>> (warmup("5%") >> linear(to=0)).over(1000)
        warmup(50) >> linear(950, to=0)
        """
        horizon = Horizon(steps, epoch_steps, step_tokens, step_samples)
        horizon.require_whole()
        own = self._measure(horizon)
        if own is not None and round_half_up(own) > steps:
            raise InputError(f"{self} needs {self._needs(horizon)} steps, but the horizon is {steps}")
        return self._resolve(horizon, steps if own is None else max(1, round_half_up(own)))

    @functools.cached_property
    def length(self) -> int | None:
        """How many steps the plan lasts, or None while that is open."""
        measured = self._measure(Horizon())
        return None if measured is None else round_half_up(measured)

    def _measure(self, horizon: Horizon) -> Fraction | None:
        """The plan's own length in steps, unrounded; None when it takes what remains."""
        steps: LengthLike | None = getattr(self, "steps", None)
        return None if steps is None else horizon.measure(steps)

    def _arithmetic(self, horizon: Horizon) -> str:
        """How the length comes about, `600 + 500`, for the message that it doesn't fit."""
        return show_steps(self._measure(horizon) or Fraction(0))

    @final
    def _needs(self, horizon: Horizon) -> str:
        """The same with what it comes to, `600 + 500 = 1100`."""
        terms, total = self._arithmetic(horizon), show_steps(self._measure(horizon) or Fraction(0))
        return total if terms == total else f"{terms} = {total}"

    def _resolve(self, horizon: Horizon, steps: int) -> Self:
        """The plan with all lengths in steps, lasting exactly `steps`."""
        found: dict[str, Any] = {"steps": steps}
        for name, value in self._items():
            if isinstance(value, Length) and name != "steps":
                found[name] = horizon.steps_in(value)
            elif isinstance(value, tuple) and any(isinstance(each, Length) for each in value):
                found[name] = tuple(horizon.steps_in(each) if isinstance(each, Length) else each for each in value)
        return replace(self, **found)

    def _open(self) -> str | None:
        """Why the plan can't be evaluated yet, or None when it can."""
        for _, value in self._items():
            lengths = value if isinstance(value, tuple) else (value,)
            for each in lengths:
                if isinstance(each, Length):
                    return f"the length {each}"
        return None

    @functools.cached_property
    def _why_open(self) -> str | None:
        return self._open()

    def require_resolved(self) -> None:
        """Raise an `InputError` that names `over` while a length is open."""
        if self._why_open is not None:
            raise InputError(f"{self} can't be evaluated yet, because of {self._why_open}: call over(steps) first")

    # --- evaluation -------------------------------------------------------------------------------

    @abstractmethod
    def _curve(self, t: Array, base: Array, entry: Array, state: State | None) -> Array:
        """The value at steps `t >= 0`; `entry` is where the segment before ended.

        From the plan's length on this is its end value: the limit from the left, so that a ramp ends where
        it was going, and a staircase on its last stair.
        """

    def _evaluate(self, t: ArrayLike, base: ArrayLike, state: State | None) -> Any:
        self.require_resolved()
        values = evaluate(lambda at, peak: self._curve(at, peak, peak, state), t, base, self)
        return values if values.ndim else float(values)

    # --- composition ------------------------------------------------------------------------------

    def repeat(
        self, cycles: int | None = None, *, stretch: float = 1.0, decay: float = 1.0, steps: LengthLike | None = None
    ) -> "Schedule":
        """This schedule as a cycle that is repeated; `lrkit.repeat` says how. A controller isn't repeated.

        >>> from lrkit import linear
        >>> linear("1ep", to=0).repeat(stretch=2)
        repeat(linear(1ep, to=0), stretch=2)
        """
        from lrkit.schedules.repetition import Repeat  # it is made of plans

        plan: Any = self  # what isn't a schedule is refused there
        return Repeat(plan, cycles, stretch=stretch, decay=decay, steps=steps)

    # --- binding ----------------------------------------------------------------------------------

    def bind(
        self,
        optimizer: "Optimizer",
        *,
        lr: float | None = None,
        steps: int | None = None,
        epoch_steps: int | None = None,
        step_tokens: int | None = None,
        step_samples: int | None = None,
        momentum: "Plan | None" = None,
        hypers: "Mapping[str, Plan] | None" = None,
        groups: "Mapping[int | str, Plan | Mapping[str, Plan]] | None" = None,
        later: Collection[int | str] = (),
        policy: "Policy | None" = None,
        on_conflict: "Conflict" = "warn",
    ) -> "Scheduler":
        """Let this plan set the optimizer's learning rates from now on.

        After each of the optimizer's own updates a hook moves the clock and writes the value for the next one, so
        accumulation, skipped mixed-precision steps, and trainers that call `step()` once per epoch, twice, or not
        at all, can't shift it. A controller is told its metric by `scheduler.step(metric)`.

        Args:
            optimizer: any torch optimizer, or a wrapper of one; rates may be floats or tensors (written in place).
            lr: the base of every group; by default the `initial_lr` that an earlier scheduler left in the group,
                torch's or lrkit's, here or before a checkpoint; without one, or where the rate was set by hand after
                lrkit's, the group's rate.
            steps: the horizon, where the plan has lengths to resolve; the state remembers the plan as written.
            epoch_steps: steps in an epoch, as in `over`.
            step_tokens: tokens that a step consumes.
            step_samples: samples that a step consumes.
            momentum: a plan for `momentum`, or for the first of `betas`.
            hypers: plans for other hyper-parameters by name: `weight_decay`, `beta2`, or any other number that the
                param groups have. The base of each is what the group holds, so a group without weight decay stays so.
            groups: plans of their own for some groups, by index or by the group's `name`: a plan for `lr`, or plans
                by hyper-parameter. The index goes before the name.
            later: which keys of `groups` are of groups that may be added later; any other must be there now.
            policy: what to do when the optimizer's checkpoint was made with another schedule, horizon or `lr`, as in
                `Scheduler.load_state_dict`: "keep", "stretch", "replace" or "restart".
            on_conflict: what to do when somebody else writes what this sets: "warn" puts the schedule's value back
                before the update, and warns once; "refuse" raises an `InputError` before the update; "yield" leaves
                that value to the other until `scheduler.take_back()`. What `torch.optim.swa_utils.SWALR` sets is
                always yielded.

        Raises:
            InputError: when a length can't be resolved, the optimizer has no such group or hyper-parameter, or the
                checkpoint doesn't fit and no policy is named.

        >>> import torch, lrkit
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> scheduler = lrkit.linear(to=0).bind(optimizer, steps=4)
        >>> for _ in range(3):
        ...     print(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        0.1
        0.07500000000000001
        0.05
        """
        from lrkit.schedules.plans import gather  # it is made of plans

        return gather(self, momentum, hypers, groups).bind(
            optimizer,
            lr=lr,
            steps=steps,
            epoch_steps=epoch_steps,
            step_tokens=step_tokens,
            step_samples=step_samples,
            later=later,
            policy=policy,
            on_conflict=on_conflict,
        )

    # --- looking at it ----------------------------------------------------------------------------

    def plot(
        self,
        *others: "Plan | Plans",
        steps: int | None = None,
        epoch_steps: int | None = None,
        step_tokens: int | None = None,
        step_samples: int | None = None,
        base: "float | Series[float] | Mapping[str, float]" = 1.0,
        out: "str | Path | None" = None,
    ) -> "Figure":
        """Draw this plan, and others for comparison, in one picture; nothing is trained.

        Args:
            others: more plans, each in a colour of its own.
            steps: the horizon; by default the length of the longest plan that has one, else 1000.
            epoch_steps: steps in an epoch, as in `over`; the axis then counts epochs.
            step_tokens: tokens that a step consumes.
            step_samples: samples that a step consumes.
            base: the peak rate; a list gives a curve for each, a mapping a curve for each named param group.
            out: a .png, .svg or .pdf file to write too.

        Returns:
            A matplotlib figure, which shows itself in a notebook; a controller's is for a metric that never improves.

        Raises:
            InputError: when a length can't be resolved, a base isn't positive, or the file can't be written.

        >>> from lrkit import exponential, linear
        >>> figure = linear(to=0).plot(exponential(to=0.01), steps=100)
        >>> [line.get_label() for line in figure.axes[0].get_lines()]
        ['linear(to=0)', 'exponential(to=0.01)']
        """
        import lrkit  # as in `bind`: drawing needs matplotlib and lives in output

        return lrkit.plot([self, *others], Horizon(steps, epoch_steps, step_tokens, step_samples), base=base, out=out)

    # --- text -------------------------------------------------------------------------------------

    def _items(self) -> Iterator[tuple[str, Any]]:
        """The fields that are written, in order: those that differ from their default."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default or field.name in self.always:
                yield field.name, value

    def __str__(self) -> str:
        first = [field.name for field in fields(self)][: self.positional]
        written = [show(value) if name in first else f"{name}={show(value)}" for name, value in self._items()]
        return f"{self.kind}({', '.join(written)})"

    def __repr__(self) -> str:
        return str(self)


def is_word(text: str) -> bool:
    """Whether a text may stand without quotes in the text form."""
    return text.isascii() and text.isidentifier() and text not in ("None", "True", "False")


def show(value: object) -> str:
    """A field's value in the text form."""
    if isinstance(value, float):
        return show_number(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, str) and not is_word(value):
        return f"'{value}'"
    if callable(value) and not isinstance(value, Plan):
        return str(getattr(value, "__name__", type(value).__name__)).strip("<>")
    return str(value)
