"""What `lrkit compare` is asked for."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast

from lrkit.analysis.comparison_folder import read_terms
from lrkit.analysis.lineups import LINEUPS
from lrkit.output.grid import grid
from lrkit.output.task_command import LengthOptions, Origin, check_counts, check_length, flag, named_source
from lrkit.schedules import Plan, Plans
from lrkit.schedules.errors import InputError, unknown
from lrkit.training.held_folder import CONFIG
from lrkit.training.lanes.choice import BACKENDS
from lrkit.training.loop import choose_device

__all__ = ["CompareOptions", "compare_origin", "wanted_schedules"]

Mode = Literal["min", "max"]
_MODES = ("min", "max")
_DEFAULT_LINEUP = "tutorial"
_NOT_REPEATED = ("task", "halving", "out", "json", "quiet", "debug")  # said in another way, or of no weight


@dataclass(frozen=True, kw_only=True)
class CompareOptions(LengthOptions):
    """What a person asked for; None, or nothing in a list, where the task or the comparison decides."""

    task: str
    schedule: Sequence[str]
    schedules: str | None
    lr: Sequence[str]
    seeds: int | None
    selection_seeds: int | None
    reference: str | None
    target: float | None
    measure: str | None
    mode: str | None
    holdout: float | None
    halving: bool
    backend: str | None
    memory: str | None

    @property
    def rates(self) -> tuple[float, ...] | None:
        """The rates to choose from."""
        return grid(self.lr, "--lr", low_open=True) or None

    @property
    def direction(self) -> Mode | None:
        """The mode, once it is checked."""
        return cast("Mode | None", self.mode)

    def command(self, folder: Path) -> str:
        """The command that makes this comparison in a folder, or goes on with it there."""
        words = ["lrkit", "compare", self.task]
        for name in (each.name for each in fields(self) if each.name not in _NOT_REPEATED):
            value = getattr(self, name)
            values = [value] if isinstance(value, str | int | float | Path) else value or []
            words += [word for each in values for word in (flag(name), str(each))]
        halving = [] if self.halving else ["--no-halving"]
        return shlex.join([*words, *halving, "--out", str(folder)])


def compare_origin(options: CompareOptions) -> Origin:
    """Where the task comes from.

    Raises:
        InputError: for what a person can get wrong before anything is loaded.
    """
    check_length(options)
    check_counts(options, {"seeds": 1, "selection_seeds": 1})
    if options.mode is not None and options.mode not in _MODES:
        raise unknown("mode", options.mode, _MODES)
    if options.backend is not None and options.backend not in BACKENDS:
        raise unknown("backend", options.backend, BACKENDS)
    if options.schedules is not None and options.schedules not in LINEUPS:
        raise unknown("line-up", options.schedules, LINEUPS)
    if options.holdout is not None and not 0 < options.holdout < 1:
        raise InputError(f"--holdout must be above 0 and below 1, not {options.holdout:g}")
    grid(options.lr, "--lr", low_open=True)
    choose_device(options.device)
    return Origin(named_source(options.task, options), options.threads)


def wanted_schedules(options: CompareOptions, folder: Path) -> Sequence[str] | Mapping[str, Plan | Plans]:
    """Line-ups by name, and schedules as texts; without any, those of the comparison in the folder."""
    if options.schedule or options.schedules is not None:
        return [*([] if options.schedules is None else [options.schedules]), *options.schedule]
    if (folder / CONFIG).is_file():
        return read_terms(folder)[0].schedules
    return [_DEFAULT_LINEUP]
