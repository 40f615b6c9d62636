"""The contender of compare.py that is Ray Tune over Lightning; grid_runs.py runs it.

It is a module of its own, since Ray brings functions of a script to its workers without what their annotations name.
"""

import logging
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import ray
import torch
from ray import tune
from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from grid_runs import PROCESSES, SCHEDULERS, Data, Run, runs_to_select
from job import BATCH, VALID_BATCH
from torch_loops import network

__all__ = ["ray_tune"]


def ray_tune(folder: Path, epochs: int, sample: int) -> dict[str, Any]:
    """Some runs of the search: seconds to start, seconds for the runs, and how many they were."""
    runs = list(_spread(runs_to_select(epochs), sample))
    began = time.perf_counter()
    # its logs and tables are silenced: the last line is to be JSON, and what fails is raised below
    ray.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    data = Data.of(folder)
    train = tune.with_resources(tune.with_parameters(_train_with_lightning, data=data), {"cpu": 1})
    started = time.perf_counter()
    space = {"run": tune.grid_search([vars(run) for run in runs])}
    with tempfile.TemporaryDirectory() as results:
        config = tune.RunConfig(verbose=0, storage_path=results)
        found = tune.Tuner(train, param_space=space, run_config=config).fit()
    ended = time.perf_counter()
    failed = [str(result.error) for result in found if result.error is not None]
    ray.shutdown()
    if failed:
        raise RuntimeError(f"{len(failed)} runs failed, the first with {failed[0]}")
    return {"start": started - began, "seconds": ended - started, "runs": len(runs)}


def _spread(runs: Sequence[Run], count: int) -> Iterator[Run]:
    """So many of them, evenly."""
    for number in range(count):
        yield runs[number * len(runs) // count]


def _train_with_lightning(config: Mapping[str, Any], data: Data) -> None:
    run = Run(**config["run"])

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def training_step(self, batch: Any, index: int) -> Any:
            images, labels = batch
            loss = nn.functional.cross_entropy(self.network(images), labels)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            images, labels = batch
            self.log("valid_loss", nn.functional.cross_entropy(self.network(images), labels))

        def configure_optimizers(self) -> Any:
            optimizer = SGD(self.parameters(), lr=run.rate)
            scheduler = SCHEDULERS[run.schedule](optimizer, run.epochs)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "valid_loss"}}

    warnings.filterwarnings("ignore", module="lightning")  # that a DataLoader without workers may be slow
    torch.set_num_threads(1)
    lightning.seed_everything(run.seed, verbose=False)
    train = DataLoader(TensorDataset(*data.train), batch_size=BATCH, shuffle=True)
    held_out = DataLoader(TensorDataset(*data.held_out), batch_size=VALID_BATCH)
    report = TuneReportCheckpointCallback({"loss": "valid_loss"}, on="validation_end", save_checkpoints=False)
    trainer = lightning.Trainer(
        max_epochs=run.epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[report],
    )
    trainer.fit(Classifier(), train, held_out)
