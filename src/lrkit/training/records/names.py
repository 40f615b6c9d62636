"""What recorded numbers are, by what they are called."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrkit.schedules.errors import InputError, shown
from lrkit.training.records.series import Choices, Log

__all__ = ["Names", "NoRateError", "choose_names", "listed", "step_name"]

_TRAIN = {"train", "training"}
_VALID = {"val", "valid", "validation", "eval", "dev"}
_TEST = {"test"}
_FINE = {"step", "batch", "iter", "iteration"}  # a loss of single updates
_COARSE = {"epoch", "avg", "mean", "running", "total"}
_RATE = re.compile(r"(?:(?:train|training|trainer|opt|optimizer)[/_.-])?(?:lr|learning[_ -]?rate)(?:[-/_.](.+))?")
_GROUP = re.compile(r"(.*?)(?:[/_](?:pg|group_?)?|-(?:pg|group_?))(\d+)")
_NO_RATE = ("momentum", "weight_decay", "scheduler_step", "scheduler")
_NO_METRIC = {"runtime", "second", "time", "loss", "epoch", "step"}  # what else trainers log beside
_STEPS: tuple[str, ...] = (
    "step",
    "global_step",
    "train/global_step",
    "trainer/global_step",
    "train_step",
    "iteration",
    "iter",
)
_STEPS += ("update", "updates", "_step")  # the last counts calls of wandb's log
_MOST_LISTED = 20


@dataclass(frozen=True)
class Names:
    """What is read: recorded names by what they stand for."""

    loss: str
    lr: Sequence[str]
    valid_loss: str | None
    metrics: Mapping[str, str]
    test_loss: str | None
    test_metrics: Mapping[str, str]


class NoRateError(InputError):
    """A record has no learning rate that is known by its name.

    Attributes:
        path: of the record.
        known: what it has, in words.
    """

    def __init__(self, path: str, known: str) -> None:
        super().__init__(path, known)
        self.path, self.known = path, known

    @property
    def reason(self) -> str:
        """What is wrong, without what to do about it."""
        return f"{self.path} has no learning rate that is known by its name"

    def __str__(self) -> str:
        return f"{self.reason}; say lr=, as a number or {self.known}"


def choose_names(log: Log, choices: Choices) -> Names:
    """The names to read: those that are said, others by what they are called.

    Raises:
        InputError: for a name that isn't there, and where there is no loss, or no rate, or several optimizers' rates.
    """
    known = list(log.series)
    for name in log.text:
        if name in _said_names(choices) or _would_be_read(name, choices):
            raise InputError(f"{log.text[name]}, which is no number, in {log.path}")
    loss = _said(log, "loss", choices.loss) or _best(known, _TRAIN | {""})
    if loss is None:
        raise InputError(f"{log.path} has no training loss that is known by its name; say loss=, {listed(known)}")
    valid_loss = _said(log, "valid_loss", choices.valid_loss) or _best(known, _VALID)
    taken = {loss, valid_loss}
    metrics = _metrics(known, _VALID, taken) if choices.metrics is None else dict(choices.metrics)
    for name in metrics.values():
        _said(log, "metrics", name)
    return Names(
        loss=loss,
        lr=_rates(log, choices),
        valid_loss=valid_loss,
        metrics=metrics,
        test_loss=_best(known, _TEST),
        test_metrics=_metrics(known, _TEST, taken),
    )


def listed(names: Iterable[str]) -> str:
    """What there is, for an error.

    >>> listed(["loss", "lr"])
    'one of: loss, lr'
    """
    known = sorted(names)
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    return f"one of: {', '.join(known[:_MOST_LISTED])}{more}" if known else "but it has no numbers at all"


def step_name(names: Iterable[str]) -> str | None:
    """The name of what counts steps.

    >>> step_name(["epoch", "Step", "loss"]), step_name(["_step", "train/global_step"])
    ('Step', 'train/global_step')
    """
    lowered = {name.lower(): name for name in names}
    known = [*_STEPS[:-1], *(each for each in lowered if each.endswith("/global_step")), _STEPS[-1]]
    return next((lowered[each] for each in known if each in lowered), None)


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def _said(log: Log, argument: str, name: str | None) -> str | None:
    if name is not None and name not in log.series:
        raise InputError(f"{argument} must be something that {log.path} has, not {shown(name)}; {listed(log.series)}")
    return name


def _best(known: Iterable[str], sides: set[str]) -> str | None:
    """A loss of this side; of several one of updates before one that isn't said, and that before one of epochs.

    >>> _best(["loss", "train_loss_epoch", "train_loss_step"], _TRAIN | {""}), _best(["Loss/validation"], _VALID)
    ('train_loss_step', 'Loss/validation')
    """
    found: list[tuple[int, int, str]] = []
    for name in known:
        words = _words(name)
        side = [word for word in words if word in _TRAIN | _VALID | _TEST]
        rest = set(words) - set(side) - {"loss"}
        if (
            "loss" not in words
            or len(side) > 1
            or not rest <= _FINE | _COARSE
            or not {*side, *([] if side else [""])} & sides
        ):
            continue
        grain = 0 if rest & _FINE else 2 if rest & _COARSE else 1
        if sides & _VALID:
            grain = (1, 2, 0)[0 if not rest else 1 if rest & _FINE else 2]
        found.append((grain, 0 if side else 1, name))
    return min(found)[2] if found else None


def _metrics(known: Iterable[str], side: set[str], taken: set[str | None]) -> dict[str, str]:
    """What is measured on these data but the loss, by what it is called without them.

    >>> _metrics(["val_acc", "valid/top_5", "eval_runtime", "val_f1_epoch", "train_acc"], _VALID, set())
    {'accuracy': 'val_acc', 'top_5': 'valid/top_5', 'f1': 'val_f1_epoch'}
    """
    found: dict[str, str] = {}
    for name in known:
        words = _words(name)
        if name in taken or len(words) < 2 or not {words[0], words[-1]} & side:
            continue
        rest = words[1:] if words[0] in side else words[:-1]
        if len(rest) > 1 and rest[-1] == "epoch":
            rest = rest[:-1]
        if set(rest) & _NO_METRIC:
            continue
        found.setdefault("accuracy" if rest == ["acc"] else "_".join(rest), name)
    return found


def _said_names(choices: Choices) -> set[object]:
    lr = choices.lr if isinstance(choices.lr, list | tuple) else [choices.lr]
    return {choices.loss, choices.valid_loss, *lr, *(choices.metrics or {}).values()} - {None}


def _would_be_read(name: str, choices: Choices) -> bool:
    """Whether it would be taken by its name, were it numbers; `lr_schedule` may well be text."""
    sides = (set() if choices.loss else _TRAIN | {""}) | (set() if choices.valid_loss else _VALID)
    plain = _RATE.fullmatch(name.lower())
    return _best([name], sides) is not None or (choices.lr is None and plain is not None and plain[1] is None)


def _is_rate(name: str) -> bool:
    return _RATE.fullmatch(name.lower()) is not None and not name.lower().endswith(_NO_RATE)


def _rates(log: Log, choices: Choices) -> tuple[str, ...]:
    """Names of the rates, one for each param group."""
    if isinstance(choices.lr, int | float):
        return ()
    if choices.lr is not None:
        names = [choices.lr] if isinstance(choices.lr, str) else list(choices.lr)
        for name in names:
            _said(log, "lr", name)
        return tuple(names)
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in log.series:
        if _is_rate(name):
            numbered = _GROUP.fullmatch(name)
            base, number = (numbered[1], int(numbered[2])) if numbered else (name, 0)
            groups.setdefault(base, []).append((number, name))
    if not groups:
        raise NoRateError(log.path, listed(log.series))
    if len(groups) > 1:
        raise InputError(f"{log.path} has several learning rates; say lr=, {listed(groups)}")
    [found] = groups.values()
    return tuple(name for _, name in sorted(found))
