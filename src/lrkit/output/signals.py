"""Ctrl-C and SIGTERM as a wish: the run finishes its update, saves, and ends."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StopRequest", "stop_on_signals"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # the last is a terminal that was closed; Windows has none


class StopRequest:
    """Whether, and by which signal, the process was asked to stop."""

    signal: int | None = None

    def __call__(self) -> bool:
        """Whether it was asked to stop."""
        return self.signal is not None


@contextmanager
def stop_on_signals(*, quiet: bool = False) -> Iterator[StopRequest]:
    """Note the first signal; a second one does what it always does, and one that is ignored (`nohup`) stays ignored.

    Args:
        quiet: whether another process says so.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    handlers = {number: signal.getsignal(number) for name in _NAMES if (number := getattr(signal, name, None))}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def give_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        give_back()
        if not quiet:
            os.write(2, b"\nlrkit: stopping after this update; once more stops at once\n")

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        give_back()
