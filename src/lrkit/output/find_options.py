"""What `lrkit find` is asked for."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from lrkit.analysis.finder import Groups, Growth, Method, Signal
from lrkit.output.plots import check_out
from lrkit.output.task_command import Origin, TaskOptions, check_counts, flag
from lrkit.schedules.errors import InputError, unknown
from lrkit.schedules.shares import as_positive
from lrkit.training.lanes.choice import BACKENDS
from lrkit.training.task_source import TaskSource

__all__ = ["FindOptions", "find_origin"]

Name = Literal["method", "signal", "growth", "groups"]
_NAMES: dict[Name, tuple[str, ...]] = {
    "method": get_args(Method),
    "signal": get_args(Signal),
    "growth": get_args(Growth),
    "groups": get_args(Groups),
}


@dataclass(frozen=True, kw_only=True)
class FindOptions(TaskOptions):
    """What a person asked for; None where the task, or the method, decides."""

    task: str
    method: str
    low: float
    high: float
    steps: int
    seeds: int
    signal: str | None
    growth: str
    groups: str
    schedule: str
    backend: str
    memory: str | None

    @property
    def names(self) -> tuple[Method, Signal | None, Growth, Groups]:
        """Method, signal, growth and groups, once they are checked."""
        found = (self.method, self.signal, self.growth, self.groups)
        return cast("tuple[Method, Signal | None, Growth, Groups]", found)


def find_origin(options: FindOptions) -> Origin:
    """Where the task comes from.

    Raises:
        InputError: for what a person can get wrong before anything is loaded.
    """
    for name, known in _NAMES.items():
        value = getattr(options, name)
        if value is not None and value not in known:
            raise unknown(name, value, known)
    if options.backend not in BACKENDS:
        raise unknown("backend", options.backend, BACKENDS)
    check_counts(options, {"steps": 10, "seeds": 1})
    check_out(options.out)
    for end in ("low", "high"):
        as_positive(getattr(options, end), flag(end))
    if options.low >= options.high:
        raise InputError(f"--low must be less than --high, not {options.low:g} and {options.high:g}")
    data = None if options.data is None else str(options.data)
    return Origin(TaskSource(options.task, data=data, batch_size=options.batch_size), options.threads)
