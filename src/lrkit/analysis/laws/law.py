"""What a law is: a formula from learning rates to losses, with parameters that are fitted."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.rate_path import RatePath
from lrkit.analysis.laws.scales import Scales
from lrkit.schedules.errors import InputError

__all__ = ["Expected", "Law", "losses_of"]


class Expected(NamedTuple):
    """Where a parameter is expected before the curves have spoken, so that what they don't determine stays sensible.

    Attributes:
        value: the middle; of the logarithm's distribution, but for those that may be negative.
        spread: the standard deviation, in logarithms but for those that may be negative.
    """

    value: float
    spread: float


class Law(ABC):
    """A formula. A new law is a class with these, and an entry in `catalogue.LAWS`.

    Attributes:
        name: the same in Python, on the command line and in JSON.
        formula: in one line, for people.
        source: the paper.
        parameters: the names of what is fitted; what can't be negative is fitted as its logarithm.
        signed: those of `parameters` that may be negative.
        response: those of `parameters` that only a change of the rate shows.
        units: those constants, named in the formula, that are taken from the curves.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    signed: ClassVar[frozenset[str]] = frozenset()
    response: ClassVar[tuple[str, ...]] = ()
    units: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """The loss at each point of a path, shape (points, 1), differentiable in the values.

        Args:
            values: by name, of shape (), (1, 1) or (points, 1): each point may have its own, and gives its loss from
                these alone. So one backward pass finds the slopes of all losses.
            path: the rates, as rows for points and columns for blocks.
        """

    @abstractmethod
    def start(self, scales: Scales, at: NDArray[np.float64]) -> dict[str, float]:
        """Values to begin a fit with, by place in the unit cube, shape (parameters,): 0.5 is the most likely."""

    @abstractmethod
    def expected(self, scales: Scales) -> Mapping[str, Expected]:
        """What is expected of parameters, those of `response` among them."""


def losses_of(law: Law, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
    """What a law says, shape (points,).

    Raises:
        InputError: for a law whose losses haven't a row for each point.
    """
    losses = law.losses(values, path)
    if losses.shape != (len(path.points), 1):
        raise InputError(
            f"law {law.name} must give losses of the shape ({len(path.points)}, 1), a row for each point, not "
            f"{tuple(losses.shape)}"
        )
    return losses[:, 0]
