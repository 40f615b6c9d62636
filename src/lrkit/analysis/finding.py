"""What a search for a learning rate found, and how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrkit.analysis.suggestions import Suggestion

__all__ = ["Finding"]

FORMAT = 1


@dataclass(frozen=True)
class Finding(Suggestion):
    """A learning rate, how sure it is, what it was read from, and how that was made; `made` aside, they compare equal.

    Rates are those of the first param group that has one; other groups keep their ratios to it (`made["ratios"]`).
    Of a race there is one rule only, "race". There may be a suggestion without an interval: in a ramp, where fewer than
    half of the samples of the bootstrap have a rate; in a race, where fewer than 4 rates that all seeds have come
    through are within half a decade of the best.

    Attributes:
        method: "ramp" or "race".
        made: how it was made: seeds, steps, range, how it was widened, backend, versions and so on; JSON-able.
        alike: of a race, the rates whose loss can't be told apart from the best one's, given how much seeds differ.
        groups: the same for each param group, with only that group's rate moving, where that was asked for.
    """

    method: str
    made: Mapping[str, Any] = field(compare=False)
    alike: tuple[float, ...] = ()
    groups: tuple["Finding", ...] = ()

    __hash__ = None  # type: ignore[assignment]  # mappings have no hash

    def to_dict(self) -> dict[str, Any]:
        """What fits into JSON; what isn't finite becomes null."""
        return {
            "lrkit_finding": FORMAT,
            **super().to_dict(),
            "method": self.method,
            "made": dict(self.made),
            "alike": list(self.alike),
            "groups": [each.to_dict() for each in self.groups],
        }
