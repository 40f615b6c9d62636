"""Which base counts where a state has another rate than the one that was named, or that the optimizer was made with."""

from dataclasses import dataclass

from torch.optim import Optimizer

from lrkit.schedules.errors import InputError
from lrkit.training.assignment import Bases
from lrkit.training.hyper import as_float, is_close, is_number
from lrkit.training.scheduler_state import Policy, SchedulerState

__all__ = ["Rates", "Taken", "default_rate"]


def default_rate(optimizer: Optimizer) -> float | None:
    """The rate that an optimizer was made with, which loading a state doesn't change."""
    found = optimizer.defaults.get("lr")
    return as_float(found) if is_number(found) else None


@dataclass(frozen=True)
class Rates:
    """What was said of the rate when a plan was bound.

    Attributes:
        lr: the base of every group, as `bind` was given it.
        asked: what a trainer was asked for, and made the optimizer with; groups may have others.
        default: what the optimizer was made with.
        before: what was named when the training began, where nothing is named now.
        made: what the optimizer was made with then, where the training goes on with that.
    """

    lr: float | None = None
    asked: float | None = None
    default: float | None = None
    before: float | None = None
    made: float | None = None

    @property
    def named(self) -> float | None:
        """What a person has said the rate is."""
        return self.asked if self.lr is None else self.lr

    @property
    def recorded(self) -> float | None:
        """The rate that was named at some time."""
        return self.before if self.named is None else self.named

    @property
    def recorded_default(self) -> float | None:
        """What the optimizer was made with whose rate it goes on with."""
        return self.default if self.made is None else self.made

    def taken(self, saved: SchedulerState, policy: Policy | None, now: Bases) -> "Taken":
        """What to go on with from a state.

        Args:
            saved: the state.
            policy: what was named.
            now: the bases that the groups have had so far.

        Raises:
            InputError: where another rate was named than the state was made with, and no policy.
        """
        before = saved.bases.get("lr", [])
        if policy == "keep":
            return Taken(Rates(default=self.default, before=saved.lr, made=saved.default), saved.bases)
        if self.named is not None:
            if not self._is_another(saved):
                return Taken(self, saved.bases)
            if policy is None:
                old = saved.lr if saved.lr is not None else next(base for base in before if base is not None)
                raise InputError(
                    f"this state was made with lr {old:g}, and lr {self.named:g} is named now; name the policy: 'keep' "
                    f"for {old:g}, with the saved schedule and horizon; for {self.named:g} 'stretch' (the saved "
                    "schedule over the new horizon), 'replace' (the new) or 'restart' (the new, from its beginning)"
                )
            return Taken(self, {**saved.bases, "lr": self._scaled(before, saved.lr)})
        made = self._made(saved, now.get("lr", []))
        if made is None:
            return Taken(Rates(default=self.default, before=saved.lr, made=saved.default), saved.bases)
        if policy in ("replace", "restart"):
            return Taken(self, {**saved.bases, "lr": made})
        index = next(i for i, (one, other) in enumerate(zip(before, made, strict=True)) if one != other)
        return Taken(
            Rates(default=self.default, before=saved.lr, made=saved.default),
            saved.bases,
            f"this optimizer was made with lr {made[index]:g} and its state with lr {before[index]:g}, which it goes "
            "on with; for another rate name it with lr=, and a policy such as 'replace'",
        )

    def _is_another(self, saved: SchedulerState) -> bool:
        """Whether the rate that was named isn't that of the state."""
        bases = [base for base in saved.bases.get("lr", []) if base is not None]
        if not bases:
            return False
        if saved.lr is not None:
            return not is_close(saved.lr, self.named)
        alike = [is_close(base, self.named) for base in bases]
        return not (any(alike) if self.lr is None else all(alike))

    def _scaled(self, bases: list[float | None], old: float | None) -> list[float | None]:
        """Bases that have the same ratio to the rate that is named now as they had to the old one."""
        named = self.named
        assert named is not None
        if self.lr is not None:
            return [None if base is None else named for base in bases]
        old = next(base for base in bases if base is not None) if old is None else old
        return [base if base is None or not old else named if base == old else base * (named / old) for base in bases]

    def _made(self, saved: SchedulerState, now: list[float | None]) -> list[float | None] | None:
        """The bases by the rates that the optimizer was made with; None where they aren't others than the saved."""
        before = saved.bases.get("lr", [])
        pairs = [(one, other) for one, other in zip(before, now, strict=False) if one is not None and other is not None]
        if any(not is_close(one, other) for one, other in pairs):
            known = [*now, *[None] * (len(before) - len(now))]
            return [one if other is None else other for one, other in zip(before, known, strict=False)]
        old = saved.default if saved.lr is None else saved.lr
        if self.default is None or old is None or is_close(self.default, old):
            return None
        by_default = [self.default if base is not None and is_close(base, old) else base for base in before]
        return by_default if by_default != before else None


@dataclass(frozen=True)
class Taken:
    """What a state leaves of what was said: the rates, the bases to go on with, and what is to be told of them."""

    rates: Rates
    bases: Bases
    word: str | None = None
