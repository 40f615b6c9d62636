"""Lanes as one batched computation."""

from collections.abc import Sequence

from lrkit.training.history import History
from lrkit.training.lanes.group import LaneGroup
from lrkit.training.lanes.work import Checkpoint, Report, Work
from lrkit.training.loop import StoppedError
from lrkit.training.randomness import seeded

__all__ = ["train_together"]


def train_together(
    work: Work, numbers: Sequence[int], report: Report, checkpoint: Checkpoint, *, compiled: bool
) -> None:
    """Train lanes as `run` would each of them, all at the same update, until they end, diverge, or are dropped.

    Raises:
        StoppedError: when `work.stop` said so; the checkpoint was saved before.
        UnbatchableError: when they can't be trained so.
    """
    with seeded(work.lanes[numbers[0]].seed, work.place):
        group = LaneGroup(work, numbers, compiled=compiled)
        if checkpoint.snapshot is not None:
            group.restore(checkpoint.snapshot)
        while group.active:
            for batches in group.updates():
                group.update(batches)
                report.step(len(group.active))
                if checkpoint.due(group.steps):
                    checkpoint.save(group.snapshot())
                if work.stop():
                    checkpoint.save(group.snapshot())
                    raise StoppedError(f"the lanes were stopped after {group.steps} updates")
                diverged = group.diverged()
                if diverged:
                    _part(group, diverged, report, group.end_epoch(diverged))
            if group.active:
                _end_epoch(work, group, report)


def _end_epoch(work: Work, group: LaneGroup, report: Report) -> None:
    histories = group.end_epoch()
    by_number = {group.members[index].number: history for index, history in histories.items()}
    report.epoch(by_number)
    going = {number: history for number, history in by_number.items() if history.diverged is None}
    dropped = set(work.drop(going) or ()) & set(going)
    ended = []
    for index, history in histories.items():
        member = group.members[index]
        if member.number in dropped:
            member.made["dropped"] = True
        if member.number in dropped or history.diverged is not None or group.finished(index):
            ended.append(index)
    _part(group, ended, report, histories)


def _part(group: LaneGroup, indices: Sequence[int], report: Report, histories: dict[int, History]) -> None:
    """Let lanes go, and count what they needn't do any more as done."""
    if indices:
        group.part_with(indices)
        report.step(len(indices) * group.steps_left)
        report.ended({group.members[index].number: histories[index] for index in indices})
