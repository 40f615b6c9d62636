"""transformers' trainer_state.json, read as a history, held against what lrkit recorded of the same training."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from record_cases import BATCH, EPOCHS, STEPS, X, Y, make_model


@pytest.fixture
def fit(tmp_path):
    """Train with transformers' Trainer and lrkit's recorder; returns the output folder and the history."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = make_model()

        def forward(self, x, labels):
            output = self.net(x)
            return {"loss": nn.functional.mse_loss(output, labels), "logits": output}

    class Told(Trainer):
        recorder = None

        def training_step(self, *arguments, **more):
            loss = super().training_step(*arguments, **more)
            if self.recorder is None:
                self.recorder = lrkit.Recorder(getattr(self.optimizer, "optimizer", self.optimizer))
            self.recorder.loss(loss, BATCH)
            return loss

    class Measured(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, **_):
            self.trainer.recorder.epoch(metrics["eval_loss"], {"accuracy": metrics["eval_accuracy"]})

    def call(schedule=None, **options):
        model = Model()
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "out"),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=len(X),
            learning_rate=0.05,
            lr_scheduler_type="cosine",
            eval_strategy="epoch",
            save_strategy="epoch",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            logging_nan_inf_filter=False,
            **{"logging_steps": 1, **options},
        )
        data = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]
        told = Measured()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        scheduler = None if schedule is None else lrkit.parse(schedule).bind(optimizer, steps=STEPS)
        trainer = Told(
            model,
            arguments,
            train_dataset=data,
            eval_dataset=data,
            callbacks=[told],
            compute_metrics=lambda found: {"accuracy": 1 - float(np.abs(found.predictions - found.label_ids).mean())},
            optimizers=(optimizer, scheduler),
        )
        told.trainer = trainer
        trainer.train()
        return tmp_path / "out", trainer.recorder.history()

    return call


def test_where_everything_was_logged_it_is_what_lrkit_recorded(fit):
    folder, truth = fit()
    found = lrkit.read_history(folder)
    assert found.made["imported"]["from"].endswith("checkpoint-30/trainer_state.json")
    assert np.array_equal(found.lrs, truth.lrs)
    assert np.allclose(found.losses, truth.losses, rtol=1e-5)
    assert [each.step for each in found.epochs] == [10, 20, 30]
    for one, other in zip(found.epochs, truth.epochs, strict=True):
        assert one.valid_loss == pytest.approx(other.valid_loss)
        assert one.metrics == pytest.approx(other.metrics)
        assert one.lr == other.lr
    assert found == lrkit.read_history(folder / "checkpoint-30")
    assert len(lrkit.read_history(folder / "checkpoint-10" / "trainer_state.json").lr) == 10


def test_a_logged_loss_is_the_mean_of_its_window(fit):
    folder, truth = fit(logging_steps=5)
    found = lrkit.read_history(folder)
    windows = truth.losses.astype(np.float64).reshape(-1, 5).mean(axis=1)
    assert np.allclose(found.losses, np.repeat(windows, 5), rtol=1e-5)
    assert np.array_equal(found.lr[4::5], truth.lr[4::5])
    assert found.epochs[1].train_loss == pytest.approx(truth.epochs[1].train_loss, rel=1e-5)


def test_with_accumulation_steps_are_updates(fit):
    folder, truth = fit(gradient_accumulation_steps=2)
    assert np.array_equal(lrkit.read_history(folder).lrs, truth.lrs)
    assert len(truth.lr) == STEPS // 2


def test_rates_of_the_next_update_are_moved_to_it(fit):
    """A scheduler whose clock is the optimizer has moved on when Trainer reads the rate; at its end it is at zero."""
    folder, truth = fit("linear(to=0)")
    state = json.loads((folder / "checkpoint-30" / "trainer_state.json").read_text())
    logged = [each["learning_rate"] for each in state["log_history"] if "learning_rate" in each]
    assert logged[:-1] == pytest.approx(truth.lr[1:].tolist())
    found = lrkit.read_history(folder)
    assert found.made["imported"]["lr_ahead"] is True
    assert np.array_equal(found.lr[1:], truth.lr[1:])
    assert found.made["imported"]["filled_in"]["learning_rate"] == 1
    assert lrkit.read_history(folder, lr_ahead=False).lr[0] == logged[0]
