"""What a person is told while a rate is looked for, and of what was found."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import typer

from lrkit.analysis.finding import Finding
from lrkit.analysis.suggestions import Estimate
from lrkit.output.chart import chart
from lrkit.output.find_plot import drawn_range
from lrkit.output.sweep_progress import lanes_bar, opening
from lrkit.training.lanes.observer import LanesObserver, LanesSetup

__all__ = ["FindProgress", "report", "sentence"]


class FindProgress(LanesObserver):
    """A line for each time that lanes are trained, and a bar."""

    _bar: Any = None

    def start(self, setup: LanesSetup) -> None:
        """Say what is trained, and open the bar."""
        typer.echo(opening(setup))
        self._bar = lanes_bar(setup)

    def step(self, lane_steps: int) -> None:
        """Move the bar."""
        self._bar.update(lane_steps - self._bar.n)

    def close(self) -> None:
        """Take the bar away; also after an interruption."""
        if self._bar is not None:
            self._bar.close()


def sentence(finding: Finding) -> str:
    """The rate with its interval, or why there is none."""
    if finding.suggestion is None:
        return f"no learning rate found: {finding.reason}"
    if finding.interval is None:
        return f"learning rate {finding.suggestion:.3g} (no interval: too few samples of the noise have a rate)"
    return "learning rate {:.3g} (5–95 %: {:.3g} to {:.3g})".format(finding.suggestion, *finding.interval)


def report(finding: Finding, *, drawn: bool) -> Iterator[str]:
    """Lines: the rate, what each rule says, how it was made, and the curve, if it is to be drawn."""
    if finding.suggestion is not None:
        yield f"{sentence(finding)}, by {'a race' if finding.method == 'race' else f'the rule {finding.default}'}"
    yield f"{'rule':<16}{'rate':>10}   5–95 %"
    for name, each in finding.rules.items():
        yield f"{name:<16}{_cells(each)}"
    if finding.alike:
        yield f"can't be told from the best: {', '.join(f'{rate:.3g}' for rate in finding.alike)}"
    made = finding.made
    yield (
        f"{finding.method}, {made['steps']} steps, {_seeds(finding)}, {made['signal']} loss, "
        f"rates {made['low']:.3g} to {made['high']:.3g}"
    )
    if made.get("seeds_diverged"):
        yield f"{made['seeds_diverged']} of the seeds diverged at the best rate"
    for each in made["widened"]:
        yield f"widened from {each['low']:.3g} to {each['high']:.3g}, since: {each['reason']}"
    for group in finding.groups:
        yield f"param group {group.made['group']} alone: {sentence(group)}"
    if drawn and (limits := drawn_range(finding)) is not None:
        yield _drawn(finding, *limits)


def _seeds(finding: Finding) -> str:
    """How many there are to see; where nothing is random in a task they are all the same."""
    count = finding.curve.seeds
    same = "" if finding.made["seeds_differ"] else ", as all are the same"
    return f"{count} seed{'s' if count > 1 else ''}{same}"


def _cells(each: Estimate) -> str:
    value = "none" if each.value is None else f"{each.value:.3g}"
    between = "" if each.low is None else f"{each.low:.3g} to {each.high:.3g}"
    remark = "" if each.reason is None else f"({each.reason})"
    return f"{value:>10}   {' '.join(part for part in (between, remark) if part)}".rstrip()


def _drawn(finding: Finding, bottom: float, top: float) -> str:
    """Loss over the logarithm of the rate."""
    logs, losses = np.log(finding.curve.rates), finding.curve.typical
    even = np.interp(np.linspace(logs[0], logs[-1], 200), logs, np.where(np.isfinite(losses), losses, top))
    ends = f"loss over rates {finding.curve.rates[0]:.3g} to {finding.curve.rates[-1]:.3g} (log)"
    return chart(np.clip(even, bottom, top), bottom=bottom, top=top, height=8, x_label=ends)
