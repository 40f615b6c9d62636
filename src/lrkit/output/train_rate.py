"""`lrkit train --lr find`: the rate, before training; apart, since what it takes is slow to load."""

import signal

import typer

from lrkit.analysis.finder import find_task
from lrkit.analysis.finding import Finding
from lrkit.analysis.search import Rates
from lrkit.output.find_plot import find_figure
from lrkit.output.find_report import FindProgress, sentence
from lrkit.output.plots import save
from lrkit.output.signals import stop_on_signals
from lrkit.output.torchrun import say
from lrkit.output.train_options import Order, TrainOptions
from lrkit.schedules.errors import InputError
from lrkit.training.held_folder import write_json
from lrkit.training.loop import StoppedError
from lrkit.training.observer import Observer, Setup
from lrkit.training.run_folder import RunFolder
from lrkit.training.task import Task

__all__ = ["FoundRate", "find_rate"]


def find_rate(task: Task, wanted: Order, options: TrainOptions) -> Finding:
    """The rate to train with, said in one line.

    Raises:
        InputError: for a task whose param groups have different rates, which `lr` would make the same.
    """
    bases = Rates.of(task, wanted.place).bases
    if len(set(bases)) > 1:
        raise InputError(
            "--lr find needs a task whose param groups have one rate, since --lr sets it for all of them; they have "
            f"{', '.join(f'{base:g}' for base in bases)}"
        )
    quiet = options.quiet or options.json
    with stop_on_signals() as request:
        try:
            finding = find_task(task, device=wanted.place, observers=[] if quiet else [FindProgress()], stop=request)
        except (StoppedError, KeyboardInterrupt):
            say("interrupted while a learning rate was looked for: nothing was trained")
            raise typer.Exit(128 + (request.signal or signal.SIGINT)) from None
    if finding.suggestion is None:
        say(f"{sentence(finding)}; nothing was trained")
        raise typer.Exit(3)
    if not quiet:
        typer.echo(sentence(finding))
    return finding


class FoundRate(Observer):
    """Keeps in the folder how the rate was found, beside the configuration, which has the rate itself."""

    def __init__(self, folder: RunFolder, finding: Finding) -> None:
        self._path, self._finding = folder.path / "finding.json", finding

    def start(self, setup: Setup) -> None:
        """Write it, and its picture."""
        write_json(self._path, self._finding.to_dict())
        save(find_figure(self._finding, sentence(self._finding)), self._path.with_suffix(".png"))
