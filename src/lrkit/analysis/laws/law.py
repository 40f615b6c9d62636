"""What a law is: a formula from learning rates to losses, with parameters that are fitted."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.laws.curve import LossCurve
from lrkit.analysis.laws.rate_path import RatePath

__all__ = ["Law"]


class Law(ABC):
    """A formula. A new law is a class with these, and an entry in `catalogue.LAWS`.

    Attributes:
        name: the same in Python, on the command line and in JSON.
        formula: in one line, for people.
        source: the paper.
        parameters: the names of what is fitted; what has a sign of its own is fitted as its logarithm.
        signed: those of `parameters` that may be negative.
    """

    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]
    parameters: ClassVar[tuple[str, ...]]
    signed: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def losses(self, values: Mapping[str, Tensor], path: RatePath) -> Tensor:
        """The loss at each point of a path, shape (points,), differentiable in the values."""

    @abstractmethod
    def starts(self, curves: Sequence[LossCurve], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Where fits begin, shape (count, parameters), the first without chance; values, not their logarithms."""
