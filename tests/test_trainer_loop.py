"""Everything at once in a loop of one's own, and what goes wrong there without lrkit."""

import pytest
import torch
from torch import nn

import lrkit
from lrkit.training.averaging import begin_training, measuring

X = torch.linspace(-1, 1, 64)[:, None]
BATCHES = list(X.split(8))


class Loop:
    """Two networks that train against each other, each with an optimizer and a schedule of its own; all is saved."""

    def __init__(self):
        torch.manual_seed(0)
        self.generator = nn.Linear(1, 1)
        self.critic = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        self.first = torch.optim.AdamW(self.generator.parameters(), lr=0.02)
        self.second = torch.optim.SGD(self.critic.parameters(), lr=0.1, momentum=0.9)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        self.warm = lrkit.parse("warmup(25%) >> cosine(to=0)").bind(self.first, steps=16, epoch_steps=4)
        self.careful = lrkit.parse("plateau(factor=0.5, patience=0, threshold=0.9)").bind(self.second)
        self.recorder = lrkit.Recorder(self.second)
        self.rates = []
        self.first.register_step_pre_hook(lambda *_: self.rates.append(self.first.param_groups[0]["lr"]))

    @property
    def parts(self):
        names = ("generator", "critic", "first", "second", "scaler", "warm", "careful", "recorder")
        return {name: getattr(self, name) for name in names}

    def epoch(self, broken=None):
        for number, batch in enumerate(BATCHES):
            fake = self.generator(batch)
            loss = (self.critic(fake.detach()).square() + (self.critic(batch**2) - 1).square()).mean()
            self.recorder.loss(loss, len(batch))
            self.scaler.scale(loss / 2).backward()
            opposed = (self.critic(fake) - 1).square().mean()
            weights = list(self.generator.parameters())
            gradients = torch.autograd.grad(self.scaler.scale(opposed / 2), weights)
            for each, gradient in zip(weights, gradients, strict=True):
                each.grad = gradient if each.grad is None else each.grad + gradient
            if number == broken:
                weights[0].grad.fill_(torch.inf)  # the scaler skips this update of the generator
            if number % 2:
                for optimizer in (self.first, self.second):
                    self.scaler.step(optimizer)
                    optimizer.zero_grad()
                self.scaler.update()
        self.careful.step(loss.item())
        self.recorder.epoch(valid_loss=loss.item())

    def weights(self):
        parameters = [*self.generator.parameters(), *self.critic.parameters()]
        return torch.cat([each.detach().reshape(-1) for each in parameters])


def test_all_at_once_resumed_is_never_interrupted(tmp_path):
    whole = Loop()
    for epoch in range(4):
        whole.epoch(broken=3 if epoch == 1 else None)
    assert whole.warm.steps == 15  # one of 16 was skipped
    assert whole.rates == [whole.warm.plan.over(16)(t, 0.02) for t in range(15)]
    assert whole.careful.get_last_lr()[0] < 0.1
    broken = Loop()
    for epoch in range(2):
        broken.epoch(broken=3 if epoch == 1 else None)
    torch.save({name: part.state_dict() for name, part in broken.parts.items()}, tmp_path / "saved.pt")
    resumed, state = Loop(), torch.load(tmp_path / "saved.pt", weights_only=True)
    for name, part in resumed.parts.items():
        part.load_state_dict(state[name])
    for _ in range(2):
        resumed.epoch()
    assert torch.equal(resumed.weights(), whole.weights())
    assert broken.rates + resumed.rates == whole.rates
    assert resumed.recorder.history() == whole.recorder.history()


def test_defect_an_update_that_was_skipped_moves_the_schedule():
    def rates(bind):
        weight = nn.Parameter(torch.ones(1))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        scheduler, scaler = bind(optimizer), torch.amp.GradScaler("cpu", init_scale=2.0)
        found = []
        optimizer.register_step_pre_hook(lambda *_: found.append(optimizer.param_groups[0]["lr"]))
        for factor in (torch.inf, torch.inf, 1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale(weight * factor).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
        return found

    linear = torch.optim.lr_scheduler.LinearLR
    with pytest.warns(UserWarning, match="before `optimizer.step"):  # and yet the order is right
        theirs = rates(lambda optimizer: linear(optimizer, 0.25, 1.0, total_iters=3))
    assert theirs == pytest.approx([0.075, 0.1])  # the first update is nearly at the end of the warm-up
    ours = rates(lambda optimizer: lrkit.linear(3, start=0.25, to=1).bind(optimizer))
    assert ours == pytest.approx([0.025, 0.05])


def test_defect_no_plateau_after_a_warm_up():
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    schedulers = torch.optim.lr_scheduler
    warm, plateau = schedulers.LinearLR(optimizer, 0.1), schedulers.ReduceLROnPlateau(optimizer)
    with pytest.raises(ValueError, match="SequentialLR does not support `ReduceLROnPlateau`"):
        schedulers.SequentialLR(optimizer, [warm, plateau], [4])
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    scheduler = (lrkit.warmup(4) >> lrkit.plateau(factor=0.5, patience=0)).bind(optimizer)
    found = []
    for _ in range(8):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step(1.0)
    assert found == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.05, 0.025])


@pytest.mark.parametrize("name", ["SGDScheduleFree", "AdamWScheduleFree"])
def test_defect_switching_back_and_forth_changes_schedule_free_training(name):
    def train(measure):
        import schedulefree

        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = getattr(schedulefree, name)(model.parameters(), lr=0.05)
        scheduler = lrkit.warmup("25%").bind(optimizer, steps=80)
        begin_training(optimizer, {"lr"})
        for _ in range(10):
            for batch in BATCHES:
                optimizer.zero_grad()
                nn.functional.mse_loss(model(batch), batch**2).backward()
                optimizer.step()
            measure(optimizer)
        assert scheduler.steps == 80
        return torch.cat([each.detach().reshape(-1) for each in model.parameters()])

    def theirs(optimizer):
        optimizer.eval()
        optimizer.train()

    def ours(optimizer):
        with measuring(optimizer):
            pass

    never = train(lambda optimizer: None)
    assert not torch.equal(train(theirs), never)
    assert torch.equal(train(ours), never)
