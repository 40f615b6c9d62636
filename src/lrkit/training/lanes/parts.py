"""A stack in parts of one size: one compiled update serves all of them, however many lanes are left."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch

from lrkit.training.lanes.layout import Layout
from lrkit.training.lanes.stack import Stack

__all__ = ["Parts"]

_LANES = 16  # in a part, about: more are no faster, and fewer would have to go for a part to be spared
_COMPILE_PAYS = 200_000  # lane-steps that must be saved for another size to be worth compiling


@dataclass(frozen=True)
class Parts:
    """Lanes of a group, where they stand, and their tensors.

    Attributes:
        layout: of all lanes; each part has some of its columns, all parts as many.
        stacks: of the parts.
    """

    layout: Layout
    stacks: Sequence[Stack]

    @property
    def whole(self) -> Stack:
        """All in one stack; a copy where there are several parts."""
        return Stack.joined(self.stacks)

    def divided(self) -> "Parts":
        """The same lanes in parts of a good size."""
        columns = len(self.layout.rows[0])
        width = -(-columns // max(1, round(self.layout.size / _LANES)))
        count = -(-columns // width)
        return self if count == 1 else self._arranged(Layout.of(self.layout.rows, count * width), count)

    def without_others(self, kept: Collection[int], *, steps_left: int, compiled: bool) -> "Parts":
        """The lanes that are kept in fewer parts; a single part gets smaller once it can be half of what it is.

        A part of another size has to be compiled, so that has to pay.
        """
        count = len(self.stacks)
        if count > 1:
            width = len(self.layout.rows[0]) // count
            layout = self.layout.without_others(kept, width)
            fewer = len(layout.rows[0]) // width
            return self if fewer == count else self._arranged(layout, fewer)
        layout = self.layout.without_others(kept)
        saved = (self.layout.size - layout.size) * steps_left
        if 2 * layout.size > self.layout.size or (compiled and saved < _COMPILE_PAYS):
            return self
        return self._arranged(layout, 1)

    def _arranged(self, layout: Layout, count: int) -> "Parts":
        """The lanes at the places of another layout, in so many parts."""
        whole, places = self.whole, self.layout.places()
        place = next(iter(whole.parameters.values())).device
        old = torch.tensor([[places[index] for index in row] for row in layout.rows], device=place)
        return Parts(layout, whole.chosen(old[..., 0], old[..., 1]).split(count))
