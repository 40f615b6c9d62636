"""A lane as a run of its own."""

from lrkit.training.history import History
from lrkit.training.lanes.work import Checkpoint, Report, Work
from lrkit.training.loop import DivergedError, StoppedError, run
from lrkit.training.observer import Observer, Setup

__all__ = ["train_alone"]


def train_alone(work: Work, number: int, report: Report, checkpoint: Checkpoint) -> None:
    """Train a lane with `run`, until it ends, diverges, or is dropped.

    Raises:
        StoppedError: when `work.stop` said so; the checkpoint was saved before.
    """
    lane, watch = work.lanes[number], _Watch(work, number, report, checkpoint)
    try:
        run(
            lane.of(work.task),
            lane.plan,
            lr=lane.lr,
            seed=lane.seed,
            device=work.place,
            observers=[watch],
            resume=checkpoint.snapshot,
            stop=lambda: watch.dropped or work.stop(),
        )
    except DivergedError:
        pass  # its history says so
    except StoppedError:
        if not watch.dropped:
            raise
    watch.ended()


class _Watch(Observer):
    """Turns what happens in the run into what happens to the lane."""

    def __init__(self, work: Work, number: int, report: Report, checkpoint: Checkpoint) -> None:
        self.dropped = False
        self._work, self._number, self._report, self._checkpoint = work, number, report, checkpoint
        self._steps = self._told = 0

    def start(self, setup: Setup) -> None:
        setup.made.update(self._work.lanes[self._number].of_its_own, lanes=dict(self._work.made))
        self._setup, self._steps, self._told = setup, setup.steps_done, setup.steps_done
        self._history = setup.history

    def step(self, steps: int) -> None:
        self._steps = steps
        if not self.dropped and self._checkpoint.due(steps):  # one from after the drop would go on past it
            self._save()
            self._tell(steps)

    def epoch(self, history: History) -> None:
        self._tell(self._steps)
        self._history = history
        self._report.epoch({self._number: history})
        self.dropped = history.diverged is None and self._number in (self._work.drop({self._number: history}) or ())
        if self.dropped:
            self._setup.made["dropped"] = True

    def stopped(self) -> None:
        if not self.dropped:
            self._save()

    def ended(self) -> None:
        """Tell that the lane has ended."""
        assert self._history is not None
        self._tell(self._setup.steps)
        self._report.ended({self._number: self._history})

    def _save(self) -> None:
        self._checkpoint.save({**self._setup.snapshot(), "lane_steps": self._steps})

    def _tell(self, steps: int) -> None:
        self._report.step(steps - self._told)
        self._told = steps
