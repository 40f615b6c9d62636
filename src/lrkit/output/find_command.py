"""`lrkit find`: a learning rate, how sure it is, and what it was read from."""

import json
import signal

import typer

from lrkit.analysis.finder import find_task
from lrkit.analysis.finding import Finding
from lrkit.output.find_options import FindOptions, find_origin
from lrkit.output.find_plot import find_figure
from lrkit.output.find_report import FindProgress, report, sentence
from lrkit.output.plots import save
from lrkit.output.signals import stop_on_signals
from lrkit.output.task_command import loaded
from lrkit.output.torchrun import say
from lrkit.training.loop import StoppedError
from lrkit.training.task import Task

__all__ = ["find_rate"]


def find_rate(options: FindOptions) -> None:
    """Check everything that a person can get wrong, search, report."""
    with loaded(find_origin(options), debug=options.debug) as task:
        finding = _find(task, options)
        shown = not (options.quiet or options.json)
        if options.json:
            typer.echo(json.dumps({"task": task.name, **finding.to_dict()}, allow_nan=False))
        for line in report(finding, drawn=options.out is None) if shown else ():
            typer.echo(line)
        if options.out is not None:
            save(find_figure(finding, f"{task.name}: {sentence(finding)}"), options.out)
            if shown:
                typer.echo(f"picture {options.out}")
    if finding.suggestion is None:
        say(sentence(finding))
        raise typer.Exit(3)


def _find(task: Task, options: FindOptions) -> Finding:
    method, measured, growth, groups = options.names
    with stop_on_signals() as request:
        try:
            return find_task(
                task,
                method=method,
                low=options.low,
                high=options.high,
                steps=options.steps,
                seeds=options.seeds,
                signal=measured,
                growth=growth,
                groups=groups,
                schedule=options.schedule,
                backend=options.backend,
                memory=options.memory,
                device=options.device,
                observers=[] if options.quiet or options.json else [FindProgress()],
                stop=request,
            )
        except (StoppedError, KeyboardInterrupt):
            say("interrupted: nothing is kept of a search that hasn't ended")
            raise typer.Exit(128 + (request.signal or signal.SIGINT)) from None
