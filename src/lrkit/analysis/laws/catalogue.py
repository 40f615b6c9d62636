"""All laws by name."""

from lrkit.analysis.laws.law import Law
from lrkit.analysis.laws.multi_power import MultiPower

__all__ = ["LAWS"]

LAWS: dict[str, Law] = {law.name: law for law in (MultiPower(),)}
