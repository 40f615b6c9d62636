"""Open and closed loop: what depends on the step alone, and what depends on a metric as well."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final, overload

from numpy.typing import ArrayLike

from lrkit.schedules.configs import plain
from lrkit.schedules.errors import InputError, InputTypeError, shown
from lrkit.schedules.metric import Metric, as_metric
from lrkit.schedules.plan import Plan, State

__all__ = ["Controller", "Schedule", "operand"]


@dataclass(frozen=True, repr=False)
class Schedule(Plan):
    """A plan that depends on the step alone (open loop).

    `value(t, base)` is pure and elementwise in both, so a schedule can be printed, compared, pickled, plotted
    over a million steps at once, and evaluated at any step without having passed through those before it.
    """

    @final
    def value(self, t: ArrayLike, base: ArrayLike = 1.0) -> Any:
        """What update `t` uses in a param group whose peak is `base`.

        Args:
            t: step or steps, 0-based, any shape; before 0 it is the value at 0, past the end the end value.
            base: peak value or values of the hyper-parameter; broadcast against `t`.

        Returns:
            A float for scalars, else a float64 array of the broadcast shape.

        Raises:
            InputError: when a length is still open (`over` closes it), or a factor above 1 has grown past what a
                float holds.

        >>> from lrkit import linear
        >>> linear(4, to=0).value([0, 1, 2, 3, 4, 5], base=0.1).tolist()
        [0.1, 0.07500000000000001, 0.05, 0.025, 0.0, 0.0]
        """
        return self._evaluate(t, base, None)

    @final
    def __call__(self, t: ArrayLike, base: ArrayLike = 1.0) -> Any:
        """Short for `value`."""
        return self._evaluate(t, base, None)

    @overload
    def __rshift__(self, other: "Schedule") -> "Schedule": ...
    @overload
    def __rshift__(self, other: "Controller") -> "Controller": ...
    def __rshift__(self, other: Plan) -> Plan:
        """In sequence: this one, then the other."""
        chained: Plan = _chain(self, other)
        return chained

    @overload
    def __mul__(self, other: "Schedule") -> "Schedule": ...
    @overload
    def __mul__(self, other: "Controller") -> "Controller": ...
    def __mul__(self, other: Plan) -> Plan:
        """The product: the first operand carries the base, the others are multipliers that start at 1."""
        product: Plan = _multiply(self, other)
        return product


@dataclass(frozen=True, repr=False)
class Controller(Plan):
    """A plan that depends on a metric as well (closed loop); its state is explicit and JSON-able."""

    @abstractmethod
    def init(self) -> State:
        """The state before any metric was reported."""

    @final
    def update(self, state: State, metric: Metric, t: int | None = None) -> State:
        """The state after a metric was reported, once `t` updates were done; the old state stays as it is.

        The metric is a number, or a mapping with several by name, of which each controller takes its own. A
        controller that isn't part of a sequence doesn't look at `t`. In a sequence the metric goes to the segment of
        update `t - 1`, the one that made what was measured.

        Raises:
            InputTypeError: when the metric is no number, or `t` is missing where it is needed.
            InputError: when a mapping has no entry of the name that a controller takes, or the state isn't its own.
        """
        self.require_resolved()
        if type(metric) is not float and not isinstance(metric, Mapping):
            metric = as_metric(metric)
        try:
            return self._update(state, metric, t)
        except (InputError, InputTypeError):
            raise
        except _OF_ANOTHER:
            self.require_own(state)
            raise

    @abstractmethod
    def _update(self, state: State, metric: Metric, t: int | None) -> State: ...

    def decided(self, state: State) -> object:
        """What the values depend on of a state, to be compared: they are the same for two states in which it is.

        The whole state, unless a kind says that it is less.

        >>> from lrkit import plateau
        >>> plan = plateau(patience=1)
        >>> before = plan.init()
        >>> after = plan.update(before, 0.5)
        >>> after == before, plan.decided(after) == plan.decided(before)
        (False, True)
        """
        return state

    @final
    def value(self, state: State, t: ArrayLike, base: ArrayLike = 1.0) -> Any:
        """What update `t` uses in a group with that base, for what the state knows; shapes as in `Schedule`.

        Raises:
            InputError: when the state isn't one of this controller's.
        """
        try:
            return self._evaluate(t, base, state)
        except (InputError, InputTypeError):
            raise
        except _OF_ANOTHER:  # looked at only then, since values are asked for all the time
            self.require_own(state)
            raise

    @final
    def require_own(self, state: object) -> None:
        """Refuse what isn't a state of this controller, by what `init` gives.

        Raises:
            InputError: with the state that it isn't like.

        >>> from lrkit import plateau
        >>> plateau().require_own({"best": 0.5, "bad_epochs": 2, "cooldown": 0, "reductions": 1})
        >>> plateau().require_own({"best": 0.5})
        Traceback (most recent call last):
        lrkit.schedules.errors.InputError: state must be like what init() of plateau gives, ..., not {'best': 0.5}
        """
        model = self.init()
        if not _is_like(state, model):
            raise InputError(
                f"state must be like what init() of {self.kind} gives, {model}, not {shown(state)}"
            ) from None

    def __rshift__(self, other: Plan) -> "Controller":
        """In sequence: this one, then the other, which starts from the value at the hand-over."""
        chained: Controller = _chain(self, other)
        return chained

    def __mul__(self, other: Plan) -> "Controller":
        """The product: the first operand carries the base, the others are multipliers that start at 1."""
        product: Controller = _multiply(self, other)
        return product


_OF_ANOTHER = (KeyError, TypeError, ValueError, IndexError, AttributeError, AssertionError)


def _is_like(state: object, model: object) -> bool:
    """Whether a state has the same entries as the first one: counts, numbers, None or a number, parts."""
    if isinstance(model, dict):
        return isinstance(state, dict) and set(state) == set(model) and all(_is_like(state[k], model[k]) for k in model)
    if isinstance(model, list):
        if not isinstance(state, list) or (model and len(state) != len(model)):
            return False
        return all(map(_is_like, state, model or [0.0] * len(state)))
    if type(model) is int:
        return type(state) is int and state >= 0
    return (model is None and state is None) or type(state) in {int, float}


def _chain(first: Plan, second: object) -> Any:
    from lrkit.schedules.algebra import chain  # the algebra is made of plans

    return chain(first, operand(">>", second))


def _multiply(first: Plan, second: object) -> Any:
    from lrkit.schedules.algebra import multiply

    return multiply(first, operand("*", second))


def operand(mark: str, given: object) -> Plan:
    """What stands beside an operator, or among a function's plans: a plan, and nothing else."""
    given = plain(given)
    if not isinstance(given, Plan):
        raise InputTypeError(
            f"{mark} takes a schedule or a controller, such as constant(0.5) for a number, not {shown(given)}"
        )
    return given
