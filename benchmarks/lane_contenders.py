"""The contenders of lanes.py: each trains, without an end, and tells its pulse how many lane-steps are done.

python benchmarks/lane_contenders.py compiled --lanes 32 --pulses FOLDER
"""

import argparse
import importlib
import importlib.util
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from job import Clock, Job
from lane_runs import MODELS
from lrkit.training.idx import MNIST_FOLDER
from pulse import Pulse

__all__ = ["CONTENDERS", "LaneContender", "Race"]


@dataclass(frozen=True)
class Race:
    """What a contender does.

    Attributes:
        lanes: how many runs at once, each with its own rate.
        data: a folder in MNIST's format.
        model: one of `MODELS`; all but lrkit have the perceptron alone.
    """

    lanes: int = 32
    data: Path = MNIST_FOLDER
    model: str = "mnist"


@dataclass(frozen=True)
class LaneContender:
    """One of those that are compared.

    Attributes:
        title: what the table says.
        home: module and function that trains; imported when it is asked for, each in a process of its own. It takes a
            race and a pulse, or, where it is `alone`, a job and a clock as in first_job.py.
        alone: whether it trains one run after another, in each of its processes, so that a lane-step costs the same
            whatever the number of lanes.
        needs: a package beyond torch.
        processes: how many do it at once, sharing the cores.
        fills: whether more lanes than cores change nothing.
    """

    title: str
    home: str
    alone: bool = False
    needs: str | None = None
    processes: int = 1
    fills: bool = False

    def train(self, race: Race, pulse: Pulse) -> None:
        """Train; never returns."""
        module, function = self.home.split(".")
        train = getattr(importlib.import_module(module), function)
        if self.alone and module != "lane_runs":
            job = Job(epochs=10**6, data=race.data, rate=0.01, momentum=0.9, validate=False)
            train(job, _Beats(pulse))
        else:
            train(race, pulse)

    def lanes(self, wanted: int) -> int:
        """With how many lanes it is measured when that many are wanted."""
        if self.alone:
            return 1
        return min(wanted, 4 * (os.cpu_count() or 1)) if self.fills else wanted

    def missing(self) -> str | None:
        """Why it can't take part here, or None when it can."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            return f"{self.needs} isn't installed (pip install 'lrkit[bench]')"
        return None


class _Beats(Clock):
    """The clock of first_job.py, which tells a pulse of every update and never ends the training."""

    def __init__(self, pulse: Pulse) -> None:
        super().__init__(math.inf, 10**12)  # an end, so that it is told
        self._pulse = pulse

    def tick(self, steps: int) -> bool:
        self._pulse.beat()
        return False


CONTENDERS = {
    "compiled": LaneContender("lrkit, compiled", "lane_runs.compiled"),
    "eager": LaneContender("lrkit, eager", "lane_runs.eager"),
    "sequential": LaneContender("lrkit, sequential", "lane_runs.sequential", alone=True),
    "processes": LaneContender("lrkit, processes", "lane_runs.processes", fills=True),
    "loop": LaneContender("eager loop over tensors", "torch_loops.tensors", alone=True),
    "loops": LaneContender("two such loops at once", "torch_loops.tensors", alone=True, processes=2),
    "dataloader": LaneContender("tutorial: DataLoader over a TensorDataset", "torch_loops.dataloader", alone=True),
    "lightning": LaneContender("Lightning", "lightning_module.module", alone=True, needs="lightning"),
    "ignite": LaneContender("Ignite", "ignite_engine.engine", alone=True, needs="ignite"),
    "skorch": LaneContender("skorch", "skorch_net.net", alone=True, needs="skorch"),
    "jax": LaneContender("JAX: vmap in a scan", "lane_jax.momentum", needs="jax"),
    "jax-plain": LaneContender("JAX without momentum", "lane_jax.plain", needs="jax"),
    "products": LaneContender("the limit's matrix products", "lane_limit.products"),
    "traffic": LaneContender("the limit's memory traffic", "lane_limit.traffic"),
}


def main() -> None:
    """Let one contender train until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--lanes", type=int, default=Race.lanes)
    parser.add_argument("--data", type=Path, default=Race.data)
    parser.add_argument("--model", choices=MODELS, default=Race.model)
    parser.add_argument("--pulses", type=Path, required=True, metavar="FOLDER", help="where it tells how far it is")
    options = parser.parse_args()
    race = Race(options.lanes, options.data, options.model)
    CONTENDERS[options.contender].train(race, Pulse(options.pulses))
    sys.exit("it ended")


if __name__ == "__main__":
    main()
