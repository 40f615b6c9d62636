"""The hyper-parameters of many lanes at every update, as their schedulers say them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from lrkit.training.hyper import Group, place
from lrkit.training.lanes.layout import Layout
from lrkit.training.rules import hyper_of
from lrkit.training.scheduler import Scheduler

__all__ = ["Numbers", "Rates"]

Numbers: TypeAlias = list[dict[str, Tensor]]  # of each param group, each number of shape (seeds, lanes)

_MOST = 256  # updates that are looked ahead


class Rates:
    """Reads lanes' schedulers ahead, many updates at once, and keeps their clocks.

    Args:
        optimizers: of each lane, for its param groups only.
        schedulers: bound to them.
        layout: which lane, as an index of those, is where in the stack.
        device: of the stack.

    Attributes:
        fixed: of each param group what is the same for all lanes at all times, as `hyper_of` has it.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], schedulers: Sequence[Scheduler], layout: Layout, device: torch.device
    ) -> None:
        self._groups: list[list[Group]] = [each.param_groups for each in optimizers]
        self._schedulers = schedulers
        self._device = device
        self._places = _in_parts(layout, 1)
        self._names = self._moving()
        self.fixed: list[dict[str, Any]] = [
            {name: value for name, value in _numbers(group).items() if name not in names}
            for group, names in zip(self._groups[0], self._names, strict=True)
        ]
        self._lrs = np.zeros((0, len(self._groups), len(self._names)))
        self._ahead: list[list[Numbers]] = []
        self._used = 0
        self._taken: list[NDArray[np.float64]] = []

    def _moving(self) -> list[list[str]]:
        """The names in each param group that a lane schedules, or that lanes have different values of."""
        found = []
        for index, first in enumerate(self._groups[0]):
            scheduled = {
                _name(groups[index], hyper)
                for groups, scheduler in zip(self._groups, self._schedulers, strict=True)
                for hyper, at in scheduler.upcoming(1)
                if at == index
            }
            own = [_numbers(groups[index]) for groups in self._groups]
            differing = {name for name, value in _numbers(first).items() if any(each[name] != value for each in own)}
            found.append(sorted(scheduled | differing))
        return found

    def arrange(self, layout: Layout, parts: int) -> None:
        """Let lanes be at other places from here on, or nowhere, in so many parts."""
        self._settle()
        self._places = _in_parts(layout, parts)

    def next(self, left: int) -> list[Numbers]:
        """The numbers of the next update, of each part, where so many are left."""
        if self._used == len(self._ahead):
            self._settle()
            self._look_ahead(min(left, _MOST))
        self._used += 1
        return self._ahead[self._used - 1]

    def drain(self) -> NDArray[np.float64]:
        """The rates of all updates since the last time, shape (updates, lanes, param groups); clocks are right then."""
        self._settle()
        taken = np.concatenate([self._lrs[:0], *self._taken])
        self._taken = []
        return taken

    def _settle(self) -> None:
        """Count the updates that were made, and forget what was looked ahead beyond them."""
        if self._used:
            self._taken.append(self._lrs[: self._used])
            for scheduler in self._schedulers:
                scheduler.advance(self._used)
        self._ahead, self._used = [], 0

    def _look_ahead(self, count: int) -> None:
        alive = sorted(set(self._places.flatten().tolist()))
        upcoming = {lane: self._values(lane, count) for lane in alive}
        lrs = np.zeros((count, len(self._groups), len(self._names)))
        for lane, values in upcoming.items():
            for index in range(len(self._names)):
                lrs[:, lane, index] = values.get((index, "lr"), self._groups[lane][index]["lr"])
        columns = [
            {name: self._column(upcoming, index, name, count) for name in each}
            for index, each in enumerate(self._names)
        ]
        self._lrs = lrs
        self._ahead = [
            [
                [{name: rows[step][part] for name, rows in each.items()} for each in columns]
                for part in range(len(self._places))
            ]
            for step in range(count)
        ]

    def _values(self, lane: int, count: int) -> dict[tuple[int, str], NDArray[np.float64]]:
        """What a lane's scheduler says, by param group and name."""
        found = {}
        for (hyper, index), values in self._schedulers[lane].upcoming(count).items():
            group = self._groups[lane][index]
            found[index, _name(group, hyper)] = _as_held(np.array(values), group[place(group, hyper)[0]])
        return found

    def _column(
        self, upcoming: Mapping[int, Mapping[tuple[int, str], NDArray[np.float64]]], index: int, name: str, count: int
    ) -> Sequence[Sequence[Tensor]]:
        """A number at each update, for each part a tensor of shape (seeds, lanes)."""
        values = np.zeros((count, len(self._groups)))
        for lane, found in upcoming.items():
            values[:, lane] = found.get((index, name), hyper_of(self._groups[lane][index])[name])
        placed = torch.from_numpy(values)[:, self._places].to(self._device)
        return [each.unbind() for each in placed.unbind()]


def _in_parts(layout: Layout, parts: int) -> Tensor:
    """Which lane is where, shape (parts, seeds, lanes)."""
    rows = torch.tensor(layout.rows)
    return rows.reshape(len(rows), parts, -1).transpose(0, 1).contiguous()


def _numbers(group: Group) -> dict[str, Any]:
    """What the optimizer's rule is given: the bases that schedulers note aren't among it."""
    found = hyper_of(group)
    notes = {f"initial_{name}" for name in (*found, "momentum")}
    return {name: value for name, value in found.items() if name not in notes}


def _name(group: Group, hyper: str) -> str:
    """What the optimizer's rule calls a hyper-parameter."""
    entry, position = place(group, hyper)
    return entry if position is None else f"beta{position + 1}"


def _as_held(values: NDArray[np.float64], held: object) -> NDArray[np.float64]:
    """The values as the group would hold them: a tensor there may have less precision."""
    return torch.from_numpy(values).to(held.dtype).double().numpy() if isinstance(held, Tensor) else values
