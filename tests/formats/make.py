"""Make the fixtures of the formats that have changed: `python tests/formats/make.py`, in the project's environment.

Run it only when a format changes, after its number was raised. Each kind has a folder for each format, such as
`run_1`; what is there is frozen, and is never made anew: the code that wrote it is gone, and whoever has such files
must be able to go on with them. A kind whose newest folder has the present numbers is left alone. Where its own number
is as before, and that of a file in it has changed, the new folder gets a letter: `run_1b`.

Clock and seeds are set, so that the same versions of all libraries give the same files.
"""

import hashlib
import itertools
import json
import re
import runpy
import shutil
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock, patch

import numpy as np
import torch
from torch import nn

import lrkit
from lrkit import Lane, LanesFolder, RunFolder
from lrkit.analysis import comparison_folder
from lrkit.analysis.entrant import Entrant
from lrkit.schedules import Plans, Target, json_form
from lrkit.training import checkpoint, history, record_folder, recorder_state, scheduler_state
from lrkit.training.lanes import folder as lanes_folder
from lrkit.training.records import own_csv, tensorboard_events

HERE = Path(__file__).parent

# The numbers that stand in files, by what they stand under.
CURRENT = {
    "format": scheduler_state.FORMAT,
    "lrkit": json_form.VERSION,
    "lrkit_run": record_folder.FORMAT,
    "lrkit_checkpoint": checkpoint.FORMAT,
    "lrkit_history": history.FORMAT,
    "lrkit_recorder": recorder_state.FORMAT,
    "lrkit_lanes": lanes_folder.FORMAT,
    "lrkit_comparison_folder": comparison_folder.FORMAT,
    "lrkit_csv": own_csv.FORMAT,
    "lrkit_tensorboard": tensorboard_events.FORMAT,
}
# What the folders of a kind are named by.
KINDS = {
    "plan": "lrkit",
    "scheduler": "format",
    "recorder": "lrkit_recorder",
    "run": "lrkit_run",
    "lanes": "lrkit_lanes",
    "comparison": "lrkit_comparison_folder",
    "table": "lrkit_csv",
    "events": "lrkit_tensorboard",
}


def folders(kind):
    """Those of a kind, the oldest first."""
    found = (path for path in HERE.glob(f"{kind}_*") if path.is_dir())
    return sorted(found, key=lambda path: (int(re.sub(r"\D", "", path.name)), path.name))


def numbers(folder):
    """The formats that stand in the files of a folder, each with what it stands under."""
    return set(itertools.chain.from_iterable(_in_file(path) for path in folder.rglob("*") if path.is_file()))


def _in_file(path):
    if path.suffix == ".pt":
        return _in_data(torch.load(path, weights_only=True))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return _in_data(arrays["history"].tobytes().decode()) if "history" in arrays else ()
    found = re.search(rb'\{"lrkit_(?:csv|tensorboard)": \d+', path.read_bytes())
    return _in_data(path.read_text() if found is None else f"{found[0].decode()}}}")


def _in_data(data):
    """In plain data, and in the JSON that is text in it."""
    if isinstance(data, str) and data.startswith("{"):
        data = json.loads(data)
    if isinstance(data, dict):
        for name, value in data.items():
            if name in CURRENT and type(value) is int:
                yield name, value
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list | tuple) else ()
    yield from itertools.chain.from_iterable(map(_in_data, inner))


# --- what is in them -----------------------------------------------------------------------------------

SCHEDULE = "lr: warmup(3) >> plateau(factor=0.5, patience=0, threshold=0.8); momentum: linear(start=1, to=0.5)"
TABLE = lrkit.schedules.table([1.0, 0.8, 0.6, 0.4, 0.2, 0.1])
PLANS = Plans.of(
    {
        Target("lr"): lrkit.parse("warmup(8ktok) >> plateau(patience=0, factor=0.5)"),
        Target("momentum"): TABLE,
        Target("weight_decay"): lrkit.parse("linear(40ktok, to=0)"),
    }
)
ALONE = [
    Lane(TABLE, lr=0.1, seed=1),
    Lane("warmup(3) >> plateau(patience=0, threshold=0.8)", lr=0.3, seed=2, momentum=0.25),
]
TOGETHER = [Lane("linear(to=0)", lr=0.1), Lane("constant()", lr=1e30), Lane(SCHEDULE, lr=0.2)]
COMPARED = {
    "schedules": {
        "flat": "constant()",
        "down": "linear(to=0)",
        "averaged": Entrant(lrkit.parse("warmup(10%)"), "schedule_free"),
    },
    "rates": [0.05, 0.1],
    "seeds": 2,
    "selection_seeds": 1,
    "reference": "flat",
    "backend": "sequential",
}


def make_optimizer(*, rates=(0.1, 0.05)):
    """One with two param groups."""
    torch.manual_seed(0)
    first, second = (nn.Parameter(torch.ones(2)) for _ in rates)
    groups = [{"params": [first]}, {"params": [second], "lr": rates[1]}]
    return torch.optim.SGD(groups, lr=rates[0], momentum=0.9, weight_decay=0.01)


def update(optimizer, count=1):
    """Some updates, with gradients that are always the same."""
    for _ in range(count):
        for number, group in enumerate(optimizer.param_groups):
            for each in group["params"]:
                each.grad = torch.full_like(each, 0.5 - number)
        optimizer.step()


def bind_anew(optimizer, step_tokens=2000):
    """What the fixture of a scheduler was bound as, in the end."""
    return PLANS.bind(
        optimizer, steps=50_000 // step_tokens, epoch_steps=4, step_tokens=step_tokens, on_conflict="yield"
    )


def record_loop(recorder, updates):
    """Updates whose losses follow from how many were made."""
    for _ in range(updates):
        recorder.loss(1 / (1 + recorder.steps), samples=4 + recorder.steps)
        update(recorder.optimizer)


def make_plan(folder):
    (folder / "plan.json").write_text(lrkit.to_json(PLANS))


def make_scheduler(folder):
    """After 9 updates, whose steps became larger after 6; a momentum is somebody else's."""
    before = make_optimizer()
    scheduler = bind_anew(before, step_tokens=1000)
    update(before, 6)
    optimizer = make_optimizer()
    optimizer.load_state_dict(before.state_dict())
    later = bind_anew(optimizer)
    update(optimizer, 2)
    later.step({"loss": 1.0})
    later.step({"loss": 2.0})
    optimizer.param_groups[1]["momentum"] = 0.3
    update(optimizer)
    (folder / "scheduler.json").write_text(json.dumps(later.state_dict(), indent=1))
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    scheduler.release()


def make_recorder(folder):
    """After an epoch of 3 updates, and one update more."""
    optimizer = make_optimizer()
    lrkit.linear(to=0).bind(optimizer, steps=8)
    with lrkit.Recorder(optimizer, task="a loop", seed=7, made={"mine": [1, None]}) as recorder:
        record_loop(recorder, 3)
        recorder.epoch(valid_loss=0.5, metrics={"distance": 0.25}, test_loss=0.75, test_metrics={"distance": 0.125})
        record_loop(recorder, 1)
        torch.save(recorder.state_dict(), folder / "recorder.pt")


def make_run(folder):
    """Stopped in the second of three epochs."""
    with suppress(lrkit.StoppedError):
        lrkit.run(load_task(), SCHEDULE, seed=5, observers=[RunFolder(folder)], stop=after(6))


def make_lanes(folder):
    """In each of two folders a lane has ended, and others are under way."""
    for name, lanes, backend, updates in (("alone", ALONE, "sequential", 18), ("together", TOGETHER, "eager", 6)):
        keep = LanesFolder(folder / name)
        with suppress(lrkit.StoppedError):
            lrkit.run_lanes(load_task(), lanes, backend=backend, folder=keep, stop=after(updates))


def make_comparison(folder):
    """The search for rates is over, and of the final runs one has ended."""
    final = []
    stop = after(18)
    with suppress(lrkit.StoppedError):
        lrkit.compare(
            load_task(),
            **COMPARED,
            folder=folder,
            on_stage=lambda stage: final.append(stage.name == "final"),
            stop=lambda: final[-1] and stop(),
        )


def make_table(folder):
    lrkit.write_csv(recorded(), folder / "run.csv")


def make_events(folder):
    lrkit.write_tensorboard(recorded(), folder)
    [path] = folder.iterdir()  # its name has that of the machine
    path.rename(folder / "events.out.tfevents.1700000000.fixture")


def recorded():
    """A run whose task is measured on test data too, and that has two param groups."""
    task = load_task()

    def two_groups(parameters):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.05}], lr=0.1)

    return lrkit.run(replace(task, optimizer=two_groups, test=task.valid, epochs=2), "linear(to=0)", seed=3)


def after(updates):
    """Says stop when it was asked so often."""
    asked = itertools.count(1)
    return lambda: next(asked) >= updates


def load_task():
    """The task; where it came from is said by a path that holds anywhere."""
    task = runpy.run_path(str(HERE / "task.py"))["task"]
    digest = hashlib.sha256((HERE / "task.py").read_bytes()).hexdigest()
    changed = dict.fromkeys(("data", "epochs", "steps", "batch_size", "folder"))
    return replace(task, source={"task": "task.py:task", **changed, "sha256": digest})


def main():
    """Make what isn't there."""
    for kind, key in KINDS.items():
        there = folders(kind)
        if there and numbers(there[-1]) <= CURRENT.items():
            continue
        count = sum(path.name.rstrip("abcdefgh") == f"{kind}_{CURRENT[key]}" for path in there)
        folder = HERE / f"{kind}_{CURRENT[key]}{' bcdefgh'[count].strip()}"
        with tempfile.TemporaryDirectory() as place, steady():
            globals()[f"make_{kind}"](Path(place))
            shutil.copytree(place, folder, ignore=shutil.ignore_patterns(".lock"))
        print(folder.relative_to(HERE), sorted(numbers(folder)))


def steady():
    """Where no file says when and how fast it was made."""
    torch.set_num_threads(1)
    clock = Mock(wraps=datetime)
    clock.now.return_value = datetime(2025, 1, 1, tzinfo=UTC)
    patches = ExitStack()
    for name, value in (
        ("lrkit.training.preparation.datetime", clock),
        ("time.perf_counter", Mock(side_effect=itertools.count(0.0, 0.25))),
        ("time.time", Mock(return_value=1.7e9)),
    ):
        patches.enter_context(patch(name, value))
    return patches


if __name__ == "__main__":
    main()
