"""All laws by name."""

from lrkit.analysis.laws.annealing import Annealing
from lrkit.analysis.laws.baselines import Exponential, Power
from lrkit.analysis.laws.convolution import Convolution, Feedback
from lrkit.analysis.laws.law import Law
from lrkit.analysis.laws.multi_power import MultiPower

__all__ = ["CANDIDATES", "LAWS"]

LAWS: dict[str, Law] = {
    law.name: law for law in (Feedback(), MultiPower(), Convolution(), Annealing(), Power(), Exponential())
}
CANDIDATES = ("feedback", "multi_power", "annealing")
"""The laws that are chosen from, those that know of the rate: where they can't be told apart, the first is taken."""
