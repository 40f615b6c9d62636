"""Small trainings in Lightning; it is imported when they are asked for."""

import functools
import logging
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

X = torch.linspace(-1, 1, 72)[:, None]


def train_data(batch_size=16, shuffle=False):
    """Five batches, the last of 8."""
    return DataLoader(TensorDataset(X, 2 * X), batch_size=batch_size, shuffle=shuffle)


def valid_data():
    return DataLoader(TensorDataset(X[::3], 2 * X[::3]), batch_size=12)


class Endless(IterableDataset):
    """Batches without a number."""

    def __iter__(self):
        while True:
            yield X[:16], 2 * X[:16]


class Resumable:
    """The same batches, from where it was: what Lightning needs to go on within an epoch."""

    def __init__(self, batch_size=16):
        self.batches, self.begin, self.next = list(train_data(batch_size)), 0, 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.next, self.begin = self.begin, 0
        while self.next < len(self.batches):
            self.next += 1
            yield self.batches[self.next - 1]

    def state_dict(self):
        return {"next": self.next % len(self.batches)}

    def load_state_dict(self, state):
        self.begin = state["next"]


class BrokenOffError(Exception):
    """What ends a training early."""


@functools.cache
def cases():  # noqa: C901 (a list of small things)
    """What is made of Lightning: modules, trainers, callbacks."""
    import lightning.pytorch as pl

    from lrkit.trainers import lightning as trainers

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Line(pl.LightningModule):
        """A line; `configured` makes what configure_optimizers returns of module and optimizer."""

        def __init__(self, configured, lr=0.1, make=None):
            super().__init__()
            torch.manual_seed(0)
            self.layer = nn.Linear(1, 1)
            self.configured, self.lr = configured, lr
            self.make = make or (lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=0.9))
            self.rates, self.losses = [], []

        def training_step(self, batch, batch_idx):
            loss = nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            self.losses.append(float(loss.detach()))
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val_loss", nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

        def configure_optimizers(self):
            return self.configured(self, self.make(self.parameters()))

        def on_before_optimizer_step(self, optimizer):
            self.rates.append(float(optimizer.param_groups[0]["lr"]))

    class Manual(Line):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.automatic_optimization = False

        def training_step(self, batch, batch_idx):
            optimizer = self.optimizers()
            loss = nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            return loss

    class StopAt(pl.callbacks.Checkpoint):
        """Saves a checkpoint when asked, as late as ModelCheckpoint would, and breaks off."""

        def __init__(self, path, hook, when):
            self.path, self.hook, self.when = path, hook, when

        def _look(self, hook, trainer):
            if hook == self.hook and not trainer.sanity_checking and self.when(trainer):
                trainer.save_checkpoint(self.path)
                raise BrokenOffError

        def on_train_batch_end(self, trainer, *_):
            self._look("on_train_batch_end", trainer)

        def on_validation_end(self, trainer, *_):
            self._look("on_validation_end", trainer)

        def on_train_epoch_end(self, trainer, *_):
            self._look("on_train_epoch_end", trainer)

    class EndAt(pl.Callback):
        """Ends a training that has no length."""

        def __init__(self, update):
            self.update = update

        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step >= self.update

    def trainer(*callbacks, **options):
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        quiet["enable_checkpointing"] = any(isinstance(each, pl.callbacks.Checkpoint) for each in callbacks)
        return pl.Trainer(**{"accelerator": "cpu", "max_epochs": 3, **quiet, "callbacks": list(callbacks), **options})

    def scheduled(schedule, **options):
        return lambda module, optimizer: trainers.configure(module, optimizer, schedule, **options)

    def of_torch(make, **options):
        return lambda module, optimizer: {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": make(optimizer), **options},
        }

    return SimpleNamespace(
        pl=pl,
        Line=Line,
        Manual=Manual,
        StopAt=StopAt,
        EndAt=EndAt,
        trainer=trainer,
        scheduled=scheduled,
        of_torch=of_torch,
        configure=trainers.configure,
        updates=trainers.updates,
        Finder=trainers.Finder,
        PlanScheduler=trainers.PlanScheduler,
        Recorder=trainers.Recorder,
        ScheduleFree=trainers.ScheduleFree,
        weights=lambda module: torch.cat([each.detach().reshape(-1) for each in module.parameters()]).tolist(),
    )
