"""A small training that real loggers record, and lrkit beside them, for the tests of records."""

import torch
from torch import nn

import lrkit

X = torch.linspace(-1, 1, 80)[:, None]
Y = torch.sin(3 * X)
BATCH, EPOCHS = 8, 3  # ten updates in an epoch
STEPS = EPOCHS * len(X) // BATCH


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))


def make_optimizer(model, groups=1):
    parameters = list(model.parameters())
    if groups == 1:
        return torch.optim.SGD(parameters, lr=0.2)
    return torch.optim.SGD([{"params": parameters[:2]}, {"params": parameters[2:], "lr": 0.02}], lr=0.2)


def task(**options):
    return lrkit.Task(
        model=make_model,
        train=(X, Y),
        valid=(X, Y),
        loss=nn.functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.2),
        batch_size=BATCH,
        epochs=EPOCHS,
        metrics={"error": lambda output, target: (output - target).abs().mean()},
        **options,
    )


def train(observe, *, groups=1, valid=lambda *_: None):
    """A plain loop with torch's scheduler: `observe(step, loss, rates)` after each update, and what lrkit recorded."""
    model = make_model()
    optimizer = make_optimizer(model, groups)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    with lrkit.Recorder(optimizer) as recorder:
        step = 0
        for _ in range(EPOCHS):
            for x, y in zip(X.split(BATCH), Y.split(BATCH), strict=True):
                loss = nn.functional.mse_loss(model(x), y)
                recorder.loss(loss, len(x))
                optimizer.zero_grad()
                loss.backward()
                rates = [group["lr"] for group in optimizer.param_groups]
                optimizer.step()
                scheduler.step()
                observe(step, loss.item(), rates)
                step += 1
            with torch.no_grad():
                measured = nn.functional.mse_loss(model(X), Y).item()
            valid(step, measured)
            recorder.epoch(valid_loss=measured)
        return recorder.history()
