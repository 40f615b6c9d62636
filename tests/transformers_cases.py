"""A model, data and Trainer for the tests of lrkit in transformers; imported within a test, since it loads it."""

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

RATE = 0.1


class Data(torch.utils.data.Dataset):
    """Points on a line: 36 of them make 5 batches of 8, the last one short."""

    def __init__(self, count=36):
        self.x = torch.linspace(-1, 1, count)[:, None]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "labels": 2 * self.x[index] + 1}


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.hidden = nn.Linear(1, 4)
        self.out = nn.Linear(4, 1)

    def forward(self, x, labels=None):
        found = self.out(torch.tanh(self.hidden(x)))
        return {"loss": nn.functional.mse_loss(found, labels), "logits": found}


class Look(TrainerCallback):
    """The rates that updates use, and the weights after them; stops after an update, once it is saved."""

    def __init__(self, stop=None):
        self.rates, self.weights, self.stop = [], [], stop

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self.rates.append([group["lr"] for group in optimizer.param_groups])

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.weights.append(torch.cat([each.detach().flatten() for each in model.parameters()]))
        if state.global_step == self.stop:
            control.should_save = control.should_training_stop = True

    @property
    def lr(self):
        return [rates[0] for rates in self.rates]


def make_trainer(
    folder, *callbacks, stop=None, optimizers=(None, None), model=None, valid=None, measure=None, **options
):
    given = {
        "num_train_epochs": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": RATE,
        "per_device_train_batch_size": 8,
        "optim": "adamw_torch",
        "save_strategy": "no",
        "logging_steps": 1,
    }
    trainer = Trainer(
        model=Line() if model is None else model,
        args=TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            **{**given, **options},
        ),
        train_dataset=Data(),
        eval_dataset=Data(12) if valid is None else valid,
        callbacks=[*callbacks, look := Look(stop)],
        optimizers=optimizers,
        compute_metrics=measure,
    )
    trainer.look = look
    return trainer


def logged(trainer):
    return [each["learning_rate"] for each in trainer.state.log_history if "learning_rate" in each]
