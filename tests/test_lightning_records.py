"""What Lightning's loggers write, read as histories, held against what lrkit recorded of the same training."""

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from record_cases import BATCH, EPOCHS, STEPS, X, Y, make_model, make_optimizer


@pytest.fixture
def fit(tmp_path):
    """Train with Lightning, with its CSV and TensorBoard loggers and lrkit's recorder; returns folders and history."""
    import lightning
    from lightning.pytorch.callbacks import LearningRateMonitor
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    class Module(lightning.LightningModule):
        def __init__(self, groups=1, seed=7):
            super().__init__()
            self.save_hyperparameters()
            self.net = make_model()

        def configure_optimizers(self):
            optimizer = make_optimizer(self.net, self.hparams.groups)
            self.recorder = lrkit.Recorder(optimizer)
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.trainer.estimated_stepping_batches)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

        def training_step(self, batch, _):
            loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.recorder.loss(loss, len(batch[0]))
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch, _):
            loss = nn.functional.mse_loss(self.net(batch[0]), batch[1])
            self.log_dict({"val_loss": loss, "val_acc": 1 - loss})
            self.measured = loss.item()

        def on_train_epoch_end(self):
            if self.recorder.updates_in_epoch:
                self.recorder.epoch(self.measured, {"accuracy": 1 - self.measured})

    def call(every=1, groups=1, **options):
        module = Module(groups)
        loggers = [CSVLogger(tmp_path, "table"), TensorBoardLogger(tmp_path, "events")]
        data = torch.utils.data.TensorDataset(X, Y)
        trainer = lightning.Trainer(
            max_epochs=EPOCHS,
            logger=loggers,
            log_every_n_steps=every,
            callbacks=[LearningRateMonitor("step")],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
            default_root_dir=tmp_path,
            **options,
        )
        trainer.fit(
            module,
            torch.utils.data.DataLoader(data, BATCH),
            torch.utils.data.DataLoader(data, len(data)),
        )
        return tmp_path / "table", tmp_path / "events", module.recorder.history()

    return call


def same_epochs(found, truth, tolerance):
    assert [each.step for each in found.epochs] == [each.step for each in truth.epochs]
    for one, other in zip(found.epochs, truth.epochs, strict=True):
        assert one.valid_loss == pytest.approx(other.valid_loss, rel=tolerance)
        assert one.metrics == pytest.approx(other.metrics, rel=tolerance)
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)


def test_where_everything_was_logged_it_is_what_lrkit_recorded(fit):
    table, events, truth = fit(groups=2)
    found = lrkit.read_history(table)
    assert np.array_equal(found.lrs, truth.lrs)
    assert np.array_equal(found.losses, truth.losses)
    same_epochs(found, truth, 1e-6)
    assert found.made["seed"] == 7
    assert found.made["imported"]["format"] == "Lightning CSVLogger"
    assert found.made["imported"]["names"]["lr"] == ["lr-SGD/pg1", "lr-SGD/pg2"]
    assert set(found.made["imported"]["filled_in"].values()) == {0}
    single = lrkit.read_history(events)
    assert np.array_equal(single.lrs, truth.lrs.astype(np.float32))
    assert np.array_equal(single.losses, truth.losses)
    same_epochs(single, truth, 1e-6)


def test_between_what_was_logged_rates_are_drawn_and_windows_have_their_loss(fit):
    table, _, truth = fit(every=4)
    found = lrkit.read_history(table)
    logged = np.arange(3, STEPS, 4)
    assert np.array_equal(found.lr[logged], truth.lr[logged])
    assert np.allclose(found.lr[3:28], truth.lr[3:28], atol=2e-3)
    assert np.array_equal(found.losses[:28], np.repeat(truth.losses[logged], 4))
    assert len(found.lr) == STEPS
    assert [each.valid_loss for each in found.epochs] == pytest.approx([each.valid_loss for each in truth.epochs])
    assert found.made["imported"]["filled_in"] == {"loss": STEPS - 7, "lr-SGD": STEPS - 7}


def test_with_accumulation_steps_are_updates(fit):
    table, _, truth = fit(accumulate_grad_batches=2)
    found = lrkit.read_history(table)
    assert len(truth.lr) == STEPS // 2
    assert np.array_equal(found.lrs, truth.lrs)
    assert [each.step for each in found.epochs] == [5, 10, 15]
