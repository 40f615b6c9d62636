"""The updates of an optimizer, counted by hooks of its `step()`: what an update is, and in which order who is told."""

import sys
import weakref
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Protocol

import torch
from torch import compiler
from torch.optim import Optimizer

from lrkit.schedules.errors import InputError

__all__ = ["Clock", "Owner", "clock_of", "running_clock", "running_clocks"]

# Attributes that hold on to their clock, and so to its optimizer.
_UNCOMPILED_HOOKS = ("_before_step_uncompiled", "_after_step_uncompiled")
_UNCOMPILED = "lrkit counts this optimizer's updates in Python; compile optimizer.step() without fullgraph=True"


class Owner(Protocol):
    """Who writes the hyper-parameters of the optimizer: a bound scheduler."""

    def begin_update(self) -> bool:
        """See that the values of this update are there; False says that the step is no update."""

    def end_update(self) -> None:
        """Write the values of the next update."""


class Clock:
    """Counts the updates of an optimizer, and is the only one that hooks into its steps.

    An update is one outermost `step()`: a `step()` that calls `super().step()` runs torch's hooks at each level, and is
    one all the same. A step that raised is no update, and neither is one that a gradient scaler's `found_inf` skipped.
    Before an update the owner makes sure of the values, and then observers read them; after it observers come first,
    and then the owner writes the next values. It lasts as long as somebody listens.

    Args:
        optimizer: that makes the updates itself.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._owner: Owner | None = None
        self._before: list[Callable[[], None]] = []
        self._after: list[Callable[[bool], None]] = []
        self._attributes = vars(optimizer)
        self._depth = self._steps_on_stack()  # not 0 where somebody binds within a step, such as in its closure
        self._counts = True  # whether the step under way is an update
        self._may_be_captured = torch.cuda.is_available()
        # What they count changes with every update: a compiled step that had seen it would be compiled anew each time.
        self._before_step_uncompiled = compiler.disable(self._before_step, reason=_UNCOMPILED)
        self._after_step_uncompiled = compiler.disable(self._after_step, reason=_UNCOMPILED)
        self._handles = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]
        _clocks[optimizer] = weakref.ref(self)

    # --- who listens --------------------------------------------------------------------------------

    @property
    def owner(self) -> Owner | None:
        """Who writes the hyper-parameters, if somebody does."""
        return self._owner

    def own(self, owner: Owner | None) -> None:
        """Have this one write the hyper-parameters from now on, or nobody."""
        self._owner = owner
        self._stop_if_idle()

    def subscribe(
        self, before: Callable[[], None] | None = None, after: Callable[[bool], None] | None = None
    ) -> Callable[[], None]:
        """Be told of each update; returns what ends that.

        Args:
            before: called when an update begins, in the order of subscription.
            after: called when it has ended, with whether it was made: False where a gradient scaler skipped it.
        """
        self._before = [*self._before, *([] if before is None else [before])]
        self._after = [*self._after, *([] if after is None else [after])]

        def unsubscribe() -> None:
            self._before = [each for each in self._before if each != before]
            self._after = [each for each in self._after if each != after]
            self._stop_if_idle()

        return unsubscribe

    def _stop_if_idle(self) -> None:
        if self._owner is None and not self._before and not self._after:
            for handle in self._handles:
                handle.remove()
            for name in _UNCOMPILED_HOOKS:
                self.__dict__.pop(name, None)
            if running_clock(self.optimizer) is self:
                del _clocks[self.optimizer]

    # --- the hooks ----------------------------------------------------------------------------------

    def _before_step(self, optimizer: Any = None, args: Any = None, kwargs: Any = None) -> None:
        if compiler.is_compiling():
            self._before_step_uncompiled()
            return
        # A step that raised has left its depth behind, and is on the stack no more.
        self._depth = max(self._steps_on_stack(), 1) if self._depth else 1
        if self._depth > 1:
            return
        if self._may_be_captured and self._owner is not None and torch.cuda.is_current_stream_capturing():
            raise InputError(
                "this step is being captured into a CUDA graph, whose replays no schedule can see; capture it within "
                "'with scheduler.paused():', with the rate in a tensor, and call scheduler.advance(1) after each replay"
            )
        self._counts = self._owner is None or self._owner.begin_update()
        if self._counts:
            for each in self._before:
                each()

    def _after_step(self, optimizer: Any = None, args: Any = None, kwargs: Any = None) -> None:
        if compiler.is_compiling():
            self._after_step_uncompiled()
            return
        if self._depth != 1:  # within another step, or without a beginning
            self._depth = max(self._depth - 1, 0)
            return
        self._depth = 0
        if not self._counts:
            self._counts = True
            return
        # A fused optimizer under a gradient scaler decides itself whether to skip the update.
        skipped = self._attributes.get("found_inf")
        done = skipped is None or not bool(skipped)
        for each in self._after:
            each(done)
        if done and self._owner is not None:
            self._owner.end_update()

    def _steps_on_stack(self) -> int:
        """How many of this optimizer's steps are under way, one within the other."""
        frame: FrameType | None = sys._getframe(1)
        count = 0
        while frame is not None:
            count += frame.f_code is _STEP and frame.f_locals.get("self") is self.optimizer
            frame = frame.f_back
        return count


def _code_of_a_step() -> CodeType:
    """The code that torch runs hooks around a step by: one for all optimizers."""

    def step(optimizer: Optimizer) -> None:
        """Any."""

    wrapped: Any = Optimizer.profile_hook_step(step)
    code: CodeType = wrapped.__code__
    return code


_STEP = _code_of_a_step()

# Kept alive by the hooks of the optimizer: nothing here may hold on to one.
_clocks: "weakref.WeakKeyDictionary[Optimizer, weakref.ref[Clock]]" = weakref.WeakKeyDictionary()


def running_clock(optimizer: Optimizer) -> Clock | None:
    """The clock of an optimizer, where somebody listens to it."""
    reference = _clocks.get(optimizer)
    return None if reference is None else reference()


def clock_of(optimizer: Optimizer) -> Clock:
    """The clock of an optimizer that makes its updates itself; a new one where nobody listens yet."""
    return running_clock(optimizer) or Clock(optimizer)


def running_clocks() -> list[Clock]:
    """The clocks of all optimizers that somebody listens to."""
    optimizers = (reference() for reference in _clocks.keyrefs())
    return [clock for each in optimizers if each is not None and (clock := running_clock(each)) is not None]
