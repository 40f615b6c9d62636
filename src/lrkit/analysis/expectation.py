"""The final loss that a fitted law expects, over ways the training could be rather than in the likeliest alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrkit.analysis.bent_path import join
from lrkit.analysis.laws.fitted import FittedLaw
from lrkit.analysis.laws.law import Law, losses_of
from lrkit.analysis.laws.question import as_tensors
from lrkit.analysis.laws.rate_path import RatePath

__all__ = ["Expectation", "expect"]

_WORLDS = 8  # enough that what one world alone promises doesn't decide


@dataclass(frozen=True)
class Expectation:
    """A mean of final losses.

    Attributes:
        members: (weight, law, values); the weights add up to 1.
    """

    members: tuple[tuple[float, Law, Mapping[str, Tensor]], ...]

    def along(self, path: RatePath) -> Tensor:
        """The mean of the losses at the last point of a path, a scalar."""
        losses = [weight * losses_of(law, values, path)[-1] for weight, law, values in self.members]
        return torch.stack(losses).sum()

    def final(self, edges: NDArray[np.int64], rates: NDArray[np.float64]) -> float:
        """The mean of the losses after rates that are known at some steps, the first and the last among them."""
        with torch.no_grad():
            return float(self.along(join(edges, rates)))


def expect(law: FittedLaw) -> Expectation:
    """What a law expects: its own values count a half, some of its worlds the other half.

    An optimiser finds what is wrong with a law: with the worlds beside it, a schedule has to be good in all of them.
    """
    places = np.unique(np.linspace(0, len(law.worlds) - 1, min(_WORLDS, len(law.worlds))).astype(int))
    others = [law.worlds[place] for place in places]
    share = 0.5 / len(others) if others else 0.0
    return Expectation(
        (
            (1.0 - share * len(others), law.law, as_tensors(law.parameters)),
            *((share, each.law, as_tensors(each.values)) for each in others),
        )
    )
