"""Trainings of Lightning that go on, where nothing has changed, or the length, the rate, or their maker."""

import pytest
import torch
from torch import nn

import lrkit
from lightning_cases import BrokenOffError, Resumable, cases, train_data, valid_data
from lrkit import InputError

pytestmark = pytest.mark.filterwarnings(
    "ignore:You defined a .validation_step. but have no",
    "ignore:You're resuming from a checkpoint that ended before",
)

POLICIES = [None, "keep", "stretch", "replace", "restart"]
LINEAR = "linear(to=0)"


@pytest.fixture
def made():
    return cases()


def configured(made, schedule=LINEAR, **options):
    return lambda module, optimizer: made.configure(module, optimizer, schedule, **options)


def falling(start, end, length=None, base=0.1):
    length = end if length is None else length
    return pytest.approx([base * (1 - t / length) for t in range(start, end)], abs=1e-12)


def saved(made, folder, *, epochs=2, module=None, **options):
    """A checkpoint after so many of 4 epochs of 5 updates."""
    module = made.Line(configured(made)) if module is None else module
    stop = made.StopAt(str(folder / "a.ckpt"), "on_train_epoch_end", lambda fit: fit.current_epoch == epochs - 1)
    with pytest.raises(BrokenOffError):
        made.trainer(stop, max_epochs=4, **options).fit(module, train_data())
    return str(folder / "a.ckpt")


def go_on(made, path, *, policy=None, lr=0.1, schedule=LINEAR, batch_size=16, data=None, **options):
    module = made.Line(configured(made, schedule, policy=policy), lr=lr)
    fit = made.trainer(**{"max_epochs": 4, **options})
    fit.fit(module, data or train_data(batch_size), ckpt_path=path)
    scheduler = fit.lr_scheduler_configs[0].scheduler
    assert scheduler.steps == scheduler.horizon.steps or policy in ("keep",)
    return module.rates


@pytest.mark.parametrize("policy", POLICIES)
def test_where_nothing_has_changed_no_policy_is_needed(made, tmp_path, policy):
    rates = go_on(made, saved(made, tmp_path), policy=policy)
    assert rates == (falling(0, 10) if policy == "restart" else falling(10, 20))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"batch_size": 8}, 18),  # 9 updates an epoch
        ({"batch_size": 36}, 4),
        ({"accumulate_grad_batches": 2}, 6),
        ({"limit_train_batches": 3}, 6),
        ({"max_epochs": 6}, 20),
        ({"max_epochs": 3}, 5),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_length_is_what_is_done_and_what_is_left(made, tmp_path, options, left, policy):
    path = saved(made, tmp_path)
    if policy is None:
        with pytest.raises(InputError, match=rf"over 20 steps.* over {10 + left} steps.* name the policy"):
            go_on(made, path, **options)
        return
    right = {
        "keep": pytest.approx([max(0.1 * (1 - t / 20), 0) for t in range(10, 10 + left)], abs=1e-12),
        "stretch": falling(10, 10 + left),
        "replace": falling(10, 10 + left),
        "restart": falling(0, left),
    }
    assert go_on(made, path, policy=policy, **options) == right[policy]


def test_resumed_with_another_batch_size_twice(made, tmp_path):
    path, again = saved(made, tmp_path), str(tmp_path / "b.ckpt")
    module = made.Line(configured(made, policy="stretch"))
    stop = made.StopAt(again, "on_train_epoch_end", lambda fit: fit.current_epoch == 2)
    with pytest.raises(BrokenOffError):
        made.trainer(stop, max_epochs=4).fit(module, train_data(8), ckpt_path=path)
    assert go_on(made, again, batch_size=8) == falling(19, 28)  # the same as before needs no word
    with pytest.raises(InputError, match=r"over 28 steps.* over 24 steps"):
        go_on(made, again, batch_size=16)


def test_a_training_that_has_begun_anew_goes_on_without_a_policy(made, tmp_path):
    path, again = saved(made, tmp_path), str(tmp_path / "b.ckpt")
    module = made.Line(configured(made, "warmup(2) >> linear(to=0)", policy="restart"))
    stop = made.StopAt(again, "on_train_epoch_end", lambda fit: fit.current_epoch == 2)
    with pytest.raises(BrokenOffError):
        made.trainer(stop, max_epochs=4).fit(module, train_data(), ckpt_path=path)
    right = [0.05, 0.1, *(0.1 * (1 - t / 8) for t in range(8))]
    assert module.rates == pytest.approx(right[:5])
    assert go_on(made, again, schedule="warmup(2) >> linear(to=0)") == pytest.approx(right[5:])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_within_an_epoch(made, tmp_path, accumulate):
    path, data = str(tmp_path / "a.ckpt"), Resumable()
    stop = made.StopAt(path, "on_train_batch_end", lambda fit: fit.fit_loop.epoch_loop.total_batch_idx == 6)
    module = made.Line(configured(made))
    each = {1: 5, 2: 3}[accumulate]
    with pytest.raises(BrokenOffError):
        made.trainer(stop, max_epochs=4, accumulate_grad_batches=accumulate).fit(module, data)
    rates = go_on(made, path, data=Resumable(), accumulate_grad_batches=accumulate)
    assert rates == falling(each + 2 // accumulate, 4 * each)
    rates = go_on(made, path, data=Resumable(), accumulate_grad_batches=accumulate, max_epochs=5, policy="stretch")
    assert rates == falling(each + 2 // accumulate, 5 * each)


@pytest.mark.parametrize("theirs", [None, "LinearLR", "CosineAnnealingLR"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_checkpoint_without_lrkit(made, tmp_path, theirs, policy):
    def plain(module, optimizer):
        if theirs is None:
            return optimizer
        options = {"LinearLR": (1.0, 0.0, 20), "CosineAnnealingLR": (20,)}[theirs]
        scheduler = getattr(torch.optim.lr_scheduler, theirs)(optimizer, *options)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    path = saved(made, tmp_path, module=made.Line(plain))
    if policy in ("replace", "restart"):
        right = falling(0, 10) if policy == "restart" else falling(10, 20)
        assert go_on(made, path, policy=policy) == right
        return
    named = "" if policy is None else f", so there is no schedule to {policy}"
    with pytest.raises(
        InputError, match=f"this checkpoint, after 10 updates, is of a training without lrkit{named}; name"
    ):
        go_on(made, path, policy=policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_an_optimizer_that_was_made_with_another_rate(made, tmp_path, policy):
    path = saved(made, tmp_path)
    if policy in ("replace", "restart"):
        right = falling(0, 10, base=0.05) if policy == "restart" else falling(10, 20, base=0.05)
        assert go_on(made, path, policy=policy, lr=0.05) == right
    elif policy == "keep":
        assert go_on(made, path, policy=policy, lr=0.05) == falling(10, 20)
    else:
        with pytest.warns(lrkit.ScheduleWarning, match=r"made with lr 0\.05 and its state with lr 0\.1") as said:
            assert go_on(made, path, policy=policy, lr=0.05) == falling(10, 20)
        assert len([each for each in said if each.category is lrkit.ScheduleWarning]) == 1


@pytest.mark.parametrize("named", [0.1, 0.05])
def test_the_class_for_the_command_line_refuses_another_rate(made, tmp_path, named):
    from lrkit.trainers.lightning import PlanScheduler

    def with_class(**options):
        def configure(module, optimizer):
            scheduler = PlanScheduler(optimizer, LINEAR, steps=20, **options)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

        return made.Line(configure)

    path = saved(made, tmp_path, module=with_class(lr=0.1))
    module = with_class(lr=named)
    if named == 0.1:
        made.trainer(max_epochs=4).fit(module, train_data(), ckpt_path=path)
        assert module.rates == falling(10, 20)
    else:
        with pytest.raises(InputError, match=r"made with lr 0\.1, and lr 0\.05 is named now"):
            made.trainer(max_epochs=4).fit(module, train_data(), ckpt_path=path)


def test_two_optimizers_by_hand_with_another_batch_size(made, tmp_path):
    class Two(made.Manual):
        def __init__(self, policy=None):
            super().__init__(None)
            self.other, self.policy, self.used = nn.Linear(1, 1), policy, []

        def training_step(self, batch, batch_idx):
            for optimizer, layer in zip(self.optimizers(), (self.layer, self.other), strict=True):
                loss = nn.functional.mse_loss(layer(batch[0]), batch[1])
                optimizer.zero_grad()
                self.manual_backward(loss)
                self.used.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
            return loss

        def configure_optimizers(self):
            kinds = zip((self.layer, self.other), (0.1, 0.2), strict=True)
            optimizers = [torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.9) for layer, lr in kinds]
            return [made.configure(self, each, LINEAR, policy=self.policy) for each in optimizers]

    path = saved(made, tmp_path, module=Two())
    module = Two("stretch")
    made.trainer(max_epochs=4).fit(module, train_data(8), ckpt_path=path)
    assert module.used[::2] == falling(10, 28)
    assert module.used[1::2] == falling(10, 28, base=0.2)


@pytest.mark.parametrize("resumed", [False, True])
def test_a_callback_that_finds_a_batch_size_comes_first(made, tmp_path, resumed, monkeypatch):
    from lightning.pytorch.callbacks import BatchSizeFinder

    monkeypatch.chdir(tmp_path)

    class Sized(made.Line):
        batch_size = 2

        def train_dataloader(self):
            return train_data(self.batch_size)

        def val_dataloader(self):
            return valid_data()

    path = saved(made, tmp_path) if resumed else None
    module = Sized(configured(made, policy="stretch" if resumed else None))
    finder = BatchSizeFinder(mode="power", init_val=2, max_trials=3, steps_per_trial=2)  # 2, 4, 8
    fit = made.trainer(finder, max_epochs=4, default_root_dir=str(tmp_path))
    fit.fit(module, ckpt_path=path)
    each = -(-72 // module.batch_size)
    scheduler = fit.lr_scheduler_configs[0].scheduler
    # Lightning forgets the checkpoint, once the callback has restored what it had saved itself.
    done, left = 0, 4 * each
    assert module.batch_size == 8
    assert scheduler.steps == scheduler.horizon.steps == done + left
    assert module.rates[-left:] == falling(done, done + left)
