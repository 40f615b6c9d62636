"""What `lrkit compare` is asked for."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, cast

from lrkit.analysis.comparisons import measure_of
from lrkit.analysis.entrant import Entrant
from lrkit.analysis.lineups import LINEUPS
from lrkit.analysis.terms import Terms
from lrkit.analysis.tournament import HOLDOUT
from lrkit.output.grid import grid
from lrkit.output.task_command import LengthOptions, Origin, check_counts, check_length, flag, named_source
from lrkit.schedules import parse
from lrkit.schedules.errors import InputError, shown, unknown
from lrkit.schedules.names import CALLS
from lrkit.training.held_folder import CONFIG
from lrkit.training.lanes.choice import BACKENDS
from lrkit.training.loop import choose_device

__all__ = ["CompareOptions", "compare_origin", "wanted_schedules"]

Mode = Literal["min", "max"]
_MODES = ("min", "max")
_DEFAULT_LINEUP = "tutorial"
# said otherwise, or of no weight
_NOT_REPEATED = ("task", "halving", "out", "overwrite", "json", "quiet", "debug")


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
    overwrite: bool

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

    def whole(self, terms: Terms) -> "CompareOptions":
        """The options that make a comparison of those terms anew, whatever was there when these were given.

        A line-up is named where all of it takes part; all other schedules are called by their texts.
        """
        lineup = next((name for name in LINEUPS if _takes_part(name, terms)), None)
        named = () if lineup is None else LINEUPS[lineup](terms.task["epochs"])
        texts = {name: str(plan) for name, plan in terms.schedules.items() if name not in named}
        name, mode = terms.measure.name, terms.measure.mode
        return replace(
            self,
            schedule=list(texts.values()),
            schedules=lineup,
            lr=[",".join(map(repr, terms.rates))],
            seeds=terms.seeds,
            selection_seeds=terms.selection_seeds,
            reference=None if terms.reference is None else texts.get(terms.reference, terms.reference),
            target=terms.target,
            measure=None if name == "loss" else name,
            mode=None if name.endswith(("loss", "accuracy")) and measure_of(name, None).mode == mode else mode,
            holdout=None if terms.holdout == HOLDOUT else terms.holdout,
        )


def _takes_part(lineup: str, terms: Terms) -> bool:
    """Whether all schedules of a line-up are there under their names, but for those that can't be."""
    if terms.task["epochs"] is None:
        return False
    named = LINEUPS[lineup](terms.task["epochs"]).items()
    texts = {name: str(one if isinstance(one, Entrant) else parse(one)) for name, one in named}
    return all(name in terms.left_out or str(terms.schedules.get(name)) == text for name, text in texts.items())


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
    for text in options.schedule:
        _refuse_word(text)
    if options.holdout is not None and not 0 < options.holdout < 1:
        raise InputError(f"--holdout must be above 0 and below 1, not {options.holdout:g}")
    grid(options.lr, "--lr", low_open=True)
    choose_device(options.device)
    return Origin(named_source(options.task, options), options.threads)


def _refuse_word(text: str) -> None:
    """Refuse what has no arguments, and so is no schedule: it would be taken for a line-up."""
    if "(" in text:
        return
    if text in LINEUPS:
        raise InputError(f"--schedule {text} is no schedule but a line-up: give --schedules {text}")
    close = get_close_matches(text, CALLS, n=1)
    hint = f", did you mean '{close[0]}()'?" if close else "; lrkit schedules lists them"
    raise InputError(f"--schedule {shown(text)} is no schedule{hint}")


def wanted_schedules(options: CompareOptions, folder: Path) -> Sequence[str]:
    """Line-ups by name, and schedules as texts; without any, no others than the comparison in the folder has."""
    if options.schedule or options.schedules is not None:
        return [*([] if options.schedules is None else [options.schedules]), *options.schedule]
    return [] if (folder / CONFIG).is_file() and not options.overwrite else [_DEFAULT_LINEUP]
