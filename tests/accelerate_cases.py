"""Trainings with Accelerate, in one process or, run as a script, in each of several: what each saw goes into a file."""

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import GradientAccumulationPlugin
from torch import nn
from torch.optim.lr_scheduler import LinearLR, ReduceLROnPlateau

import lrkit
from lrkit.trainers.accelerate import bind

COUNT = 36  # in batches of 4: 9 of them
WAYS = {
    "whole batches": {"bound_first": True},
    "split batches": {"split": True, "bound_first": False},
    "whole batches, accumulated": {"accumulate": 2, "bound_first": False},
    "split batches, accumulated": {"split": True, "accumulate": 2, "adjust": False, "bound_first": True},
}


def make_accelerator(*, split=False, accumulate=1, adjust=True, sync=True, even=True):
    AcceleratorState._reset_state()
    GradientState._reset_state()
    return Accelerator(
        cpu=True,
        dataloader_config=DataLoaderConfiguration(split_batches=split, even_batches=even),
        gradient_accumulation_plugin=GradientAccumulationPlugin(
            num_steps=accumulate, adjust_scheduler=adjust, sync_with_dataloader=sync
        ),
    )


class Parts:
    """A model, its optimizer and data, prepared, and a scheduler made by `make(accelerator, optimizer, loader)`."""

    def __init__(self, accelerator, make, *, bound_first=False, prepared=True):
        torch.manual_seed(0)
        x = torch.linspace(-1, 1, COUNT)[:, None]
        model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2 * x), batch_size=4)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        self.accelerator = accelerator
        if bound_first:
            scheduler = make(accelerator, optimizer, loader)
        self.model, self.optimizer, self.loader = accelerator.prepare(model, optimizer, loader)
        if not bound_first:
            scheduler = make(accelerator, self.optimizer, self.loader)
        self.scheduler = accelerator.prepare(scheduler) if prepared else scheduler
        self.rates, self.losses = [], []
        optimizer.register_step_pre_hook(lambda *_: self.rates.append(optimizer.param_groups[0]["lr"]))

    def train(self, epochs, *, begin=0, report=None, save=None):
        for epoch in range(begin, epochs):
            for x, y in self.loader:
                with self.accelerator.accumulate(self.model):
                    loss = nn.functional.mse_loss(self.model(x), y)
                    self.accelerator.backward(loss)
                    self.optimizer.step()
                    if report is None:
                        self.scheduler.step()
                    self.optimizer.zero_grad()
            if report is not None:
                report(self, epoch)
            if save is not None and epoch == 0:
                self.accelerator.save_state(save)
        return self

    @property
    def weights(self):
        return torch.cat([each.detach().flatten() for each in self.model.parameters()]).tolist()


def ours(plan, epochs, **options):
    return lambda accelerator, optimizer, loader: bind(accelerator, plan, optimizer, loader, epochs=epochs, **options)


def their_linear(updates):
    return lambda accelerator, optimizer, loader: LinearLR(
        optimizer, start_factor=1, end_factor=0, total_iters=updates(loader)
    )


def their_plateau(accelerator, optimizer, loader):
    return ReduceLROnPlateau(optimizer, patience=3)


def own_loss(parts):
    """A loss that is another one in each process: in the first it gets better, in the others worse."""
    parts.losses.append(len(parts.losses) * (1.0 if parts.accelerator.process_index else -0.1))
    return torch.tensor(parts.losses[-1])


def report_mean(parts, epoch):
    parts.scheduler.step(parts.accelerator.reduce(own_loss(parts), reduction="mean"))


def report_one(parts, epoch):
    parts.scheduler.step(1.0)  # never better


def seen_in_processes(folder):
    """What one of several processes sees."""
    found = {}
    for name, options in WAYS.items():
        given = {key: value for key, value in options.items() if key != "bound_first"}
        plan = ours("warmup(1ep) >> linear(to=0)", 2)
        parts = Parts(make_accelerator(**given), plan, bound_first=options["bound_first"]).train(2)
        found[name] = [parts.rates, parts.scheduler.steps, parts.scheduler.horizon.steps, len(parts.loader)]

    found["linear"] = Parts(make_accelerator(), their_linear(lambda loader: 2 * len(loader))).train(2).rates
    found["plateau"] = Parts(make_accelerator(), their_plateau).train(6, report=report_one).rates
    our_plateau = ours("plateau(patience=3)", 6)
    found["our plateau"] = Parts(make_accelerator(), our_plateau).train(6, report=report_one).rates

    mean = ours("plateau(patience=0, factor=0.5)", 4)
    whole = Parts(make_accelerator(), mean).train(4, report=report_mean)
    Parts(make_accelerator(), mean).train(1, report=report_mean, save=str(folder / "state"))
    rest = Parts(make_accelerator(), mean)
    rest.accelerator.load_state(str(folder / "state"))
    rest.losses = whole.losses[:1]
    rest.train(4, begin=1, report=report_mean)
    found["whole"], found["rest"] = [whole.rates, whole.weights], [rest.rates, rest.weights]

    uneven = make_accelerator(even=False)
    try:
        Parts(uneven, ours("linear(to=0)", 2), bound_first=True)
    except lrkit.InputError as error:
        found["uneven"] = str(error)
    return found


def main(folder):
    from accelerate import PartialState

    found = seen_in_processes(folder)
    (folder / f"{PartialState().process_index}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
