"""What a tournament is held under: the task, the schedules, the rates, the seeds, and what is measured."""

import json
from collections.abc import Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any

from lrkit.analysis.comparison import Measure
from lrkit.analysis.comparisons import measure_of
from lrkit.analysis.entrant import Entrant
from lrkit.analysis.search import Rates
from lrkit.schedules import Plan, Plans, from_json, parse, to_json
from lrkit.schedules.errors import InputError, InputTypeError, shown, unknown
from lrkit.training.preparation import Length
from lrkit.training.task import Task

__all__ = ["Terms", "facts_of", "plan_of"]

FIRST_SELECTION_SEED = 1_000_000  # seeds of final runs are below: more of either never become the other


@dataclass(frozen=True)
class Terms:
    """What a tournament is held under.

    Attributes:
        task: what says that a task is the same: see `facts_of`.
        holdout: the share of the training data that is held out; None for a task that has validation and test data.
        measure: what rates are chosen by, and schedules compared by.
        schedules: by name.
        rates: that each schedule is tried at, lowest first.
        seeds: how many final runs each schedule has.
        selection_seeds: how many runs each rate is tried with.
        reference: the name of the schedule that others are compared with; None for the one that the search favours.
        target: of the measure.
        left_out: what was asked for and can't be compared, by name why.
    """

    task: Mapping[str, Any]
    holdout: float | None
    measure: Measure
    schedules: Mapping[str, Entrant]
    rates: tuple[float, ...]
    seeds: int
    selection_seeds: int
    reference: str | None = None
    target: float | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def final_seeds(self) -> range:
        """Those of the final runs."""
        return range(self.seeds)

    @property
    def seeds_to_select(self) -> range:
        """Those of the search for rates."""
        return range(FIRST_SELECTION_SEED, FIRST_SELECTION_SEED + self.selection_seeds)

    def joined(self, before: "Terms", where: object) -> "Terms":
        """These terms, and what is there already under terms from before.

        Raises:
            InputError: where they are of another task, or a name stands for two schedules.
        """
        for what, now, then in (*self._of_the_method(before), *_differing(self.task, before.task)):
            if now != then:
                raise InputError(
                    f"the comparison in {where} has {what} {shown(then)}, so it can't go on with {shown(now)}"
                )
        texts = {str(one): name for name, one in before.schedules.items()}
        schedules = dict(before.schedules)
        for name, one in self.schedules.items():
            if name in schedules and schedules[name] != one:
                raise InputError(
                    f"the comparison in {where} calls {schedules[name]} {shown(name)}, so {one} needs another name"
                )
            if str(one) not in texts:
                schedules[name] = one
        left_out = {**before.left_out, **self.left_out}
        reference = before.reference if self.reference is None else self.reference
        return replace(
            self,
            schedules=schedules,
            rates=tuple(sorted({*self.rates, *before.rates})),
            seeds=max(self.seeds, before.seeds),
            selection_seeds=max(self.selection_seeds, before.selection_seeds),
            reference=reference,
            target=before.target if self.target is None else self.target,
            left_out={name: why for name, why in left_out.items() if name not in schedules},
        )

    def _of_the_method(self, before: "Terms") -> list[tuple[str, Any, Any]]:
        return [
            ("holdout", self.holdout, before.holdout),
            ("measure", self.measure.name, before.measure.name),
            ("mode", self.measure.mode, before.measure.mode),
        ]

    def checked(self) -> "Terms":
        """The same, with the reference by its name, which it may be given by any of its texts too.

        Raises:
            InputError: where it is neither, and where there is no schedule.
        """
        if not self.schedules:
            why = "".join(f": {name} is left out, since {why}" for name, why in self.left_out.items())
            raise InputError(f"schedules has no schedule in it{why}")
        if self.reference is None or self.reference in self.schedules:
            return self
        if self.reference in self.left_out:
            raise InputError(f"the reference {self.reference} is left out, since {self.left_out[self.reference]}")
        wanted = plan_of(self.reference)
        found = [
            name
            for name, one in self.schedules.items()
            if str(one) == self.reference or (one.averaging is None and one.plan == wanted)
        ]
        if not found:
            raise unknown("reference", str(self.reference), self.schedules)
        return replace(self, reference=found[0])

    # --- as JSON ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """JSON-able.

        Raises:
            InputError: for a schedule that holds a Python function, which can't be written.
        """
        return {
            **vars(self),
            "measure": self.measure.name,
            "mode": self.measure.mode,
            "schedules": {name: _written(name, one.plan) for name, one in self.schedules.items()},
            "averaging": {name: one.averaging for name, one in self.schedules.items() if one.averaging is not None},
            "rates": list(self.rates),
            "task": dict(self.task),
            "left_out": dict(self.left_out),
        }

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> "Terms":
        """The terms again.

        Raises:
            InputError: for a schedule that can't be read.
            KeyError, TypeError, ValueError: for what isn't as `to_dict` makes it.
        """
        averaging = dict(written["averaging"])
        return cls(
            task=dict(written["task"]),
            holdout=None if written["holdout"] is None else float(written["holdout"]),
            measure=measure_of(written["measure"], written["mode"]),
            schedules={
                name: Entrant(from_json(json.dumps(each)), averaging.get(name))
                for name, each in written["schedules"].items()
            },
            rates=tuple(map(float, written["rates"])),
            seeds=int(written["seeds"]),
            selection_seeds=int(written["selection_seeds"]),
            reference=written["reference"],
            target=written["target"],
            left_out=dict(written["left_out"]),
        )


def facts_of(task: Task, length: Length, rates: Rates) -> dict[str, Any]:
    """What says that a task is the same: its name, length, batches, samples, and the ratios of its groups' rates."""
    return {
        "task": task.name,
        "steps": length.steps,
        "epochs": length.epochs,
        "batch_size": task.batch_size,
        "accumulate": task.accumulate,
        "precision": task.precision,
        "ratios": [base / rates.base for base in rates.bases],
        "samples": {name: _count(getattr(task, name, None)) for name in ("train", "valid", "test")},
    }


def plan_of(text: object) -> Plan | Plans | None:
    """The schedule of a text; None for what is none."""
    try:
        return parse(text) if isinstance(text, str) else None
    except (InputError, InputTypeError):
        return None


def _count(data: Any) -> int | None:
    """Samples; None for data without a length."""
    if isinstance(data, tuple | list) and data and isinstance(data[0], Sized):
        return len(data[0])
    return len(data) if isinstance(data, Sized) else None


def _differing(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name.replace("_", " "), now[name], before.get(name)) for name in now]


def _written(name: str, plan: Plan | Plans) -> Any:
    try:
        return json.loads(to_json(plan))
    except InputTypeError:
        raise InputError(
            f"the schedule {shown(name)} holds a Python function, which can't be written in a folder; compare it "
            "without one"
        ) from None
