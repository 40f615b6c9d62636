"""What a search for a learning rate found, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lrkit.analysis.curves import Curve
from lrkit.analysis.suggestions import Estimate

__all__ = ["Finding"]

FORMAT = 1


@dataclass(frozen=True)
class Finding:
    """A learning rate, how sure it is, and what it was read from.

    Rates are those of the first param group that has one; other groups keep their ratios to it (`made["ratios"]`).

    Attributes:
        suggestion: the rate; None where the curve supports none.
        interval: its 5–95 % interval.
        rules: what each rule says, by name; of a race there is only one, "race".
        default: the name of the rule that decides.
        curve: losses at rates, for each seed.
        reason: why there is no suggestion; None where there is one.
        method: "ramp" or "race".
        made: how it was made: seeds, steps, range, how it was widened, backend, versions and so on; JSON-able.
        alike: of a race, the rates whose loss can't be told apart from the best one's, given how much seeds differ.
        groups: the same for each param group, with only that group's rate moving, where that was asked for.
    """

    suggestion: float | None
    interval: tuple[float, float] | None
    rules: Mapping[str, Estimate]
    default: str
    curve: Curve
    reason: str | None
    method: str
    made: Mapping[str, Any]
    alike: tuple[float, ...] = ()
    groups: tuple["Finding", ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON; what isn't finite becomes null."""
        return {
            "lrkit_finding": FORMAT,
            "suggestion": self.suggestion,
            "interval": self.interval and list(self.interval),
            "reason": self.reason,
            "default": self.default,
            "rules": {name: each.to_dict() for name, each in self.rules.items()},
            "curve": self.curve.to_dict(),
            "method": self.method,
            "made": dict(self.made),
            "alike": list(self.alike),
            "groups": [each.to_dict() for each in self.groups],
        }
