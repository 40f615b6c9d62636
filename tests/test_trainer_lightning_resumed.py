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
    return pytest.approx([base * max(1 - t / length, 0) for t in range(start, end)], abs=1e-12)


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
        "keep": falling(10, 10 + left, 20),
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


def saved_within(made, folder, updates=7, *, data=None, module=None, name="within.ckpt", path=None, **options):
    """A checkpoint within an epoch, and the rates up to there."""
    stop = made.StopAt(
        str(folder / name), "on_train_batch_end", lambda fit: fit.fit_loop.epoch_loop.total_batch_idx == updates - 1
    )
    module = made.Line(configured(made)) if module is None else module
    with pytest.raises(BrokenOffError):
        made.trainer(stop, max_epochs=4, **options).fit(module, data or Resumable(), ckpt_path=path)
    return str(folder / name), module.rates


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("batches", [6, 8, 10])  # the last is that of an epoch
def test_within_an_epoch(made, tmp_path, accumulate, policy, batches):
    options = {"accumulate_grad_batches": accumulate}
    each = {1: 5, 2: 3}[accumulate]
    done = each + (batches - 5) // accumulate if batches < 10 else 2 * each
    path, _ = saved_within(made, tmp_path, batches, **options)
    right = falling(0, 4 * each - done) if policy == "restart" else falling(done, 4 * each)
    assert go_on(made, path, data=Resumable(), policy=policy, **options) == right


def test_within_an_epoch_it_ends_as_if_it_was_never_interrupted(made, tmp_path):
    whole = made.Line(configured(made, "warmup(25%) >> cosine(to=0)"))
    made.trainer(max_epochs=4).fit(whole, Resumable())
    path, used = saved_within(made, tmp_path, module=made.Line(configured(made, "warmup(25%) >> cosine(to=0)")))
    rest = made.Line(configured(made, "warmup(25%) >> cosine(to=0)"))
    made.trainer(max_epochs=4).fit(rest, Resumable(), ckpt_path=path)
    assert used + rest.rates == whole.rates
    assert made.weights(rest) == made.weights(whole)


@pytest.mark.parametrize(
    "change",
    [
        ({"batch_size": 8}, 7 + 18),
        ({"batch_size": 18}, 2 + 8),
        ({"accumulate_grad_batches": 2}, 2 + 6),
        ({"limit_train_batches": 3}, 1 + 6),
        ({"max_epochs": 6}, 3 + 20),
        ({"max_epochs": 3}, 3 + 5),
        ({"max_steps": 12}, 5),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("loader", [Resumable, train_data])
def test_within_an_epoch_the_length_is_what_is_done_and_what_is_left(made, tmp_path, change, policy, loader):
    path, _ = saved_within(made, tmp_path, data=loader())
    options, left = dict(change[0]), change[1]
    options["data"] = loader(options.pop("batch_size", 16))
    if policy is None:
        with pytest.raises(InputError, match=rf"over 20 steps.* over {7 + left} steps.* name the policy"):
            go_on(made, path, **options)
        return
    right = {
        "keep": falling(7, 7 + left, 20),
        "restart": falling(0, left),
    }
    assert go_on(made, path, policy=policy, **options) == right.get(policy, falling(7, 7 + left))


@pytest.mark.parametrize("loader", [Resumable, train_data])
@pytest.mark.parametrize(
    "change",
    [  # epochs have fewer batches now than were made of the one under way, or more than there were when it was over
        (7, {"batch_size": 36}, {Resumable: 4, train_data: 6}),
        (9, {"batch_size": 18}, {Resumable: 8, train_data: 12}),
        (9, {"limit_train_batches": 3}, {Resumable: 7, train_data: 9}),
        (7, {"limit_train_batches": 1}, {Resumable: 3, train_data: 3}),
        (10, {"batch_size": 8}, {Resumable: 13, train_data: 13}),
        (10, {"batch_size": 36}, {Resumable: 4, train_data: 4}),
    ],
)
def test_past_the_end_of_an_epoch_that_is_another_now(made, tmp_path, loader, change):
    """Lightning goes through the epoch under way once more, where the data doesn't go on by itself."""
    batches, options, left = change
    path, _ = saved_within(made, tmp_path, batches, data=loader())
    options = dict(options)
    data = loader(options.pop("batch_size", 16))
    rates = go_on(made, path, policy="stretch", data=data, **options)
    assert rates == falling(batches, batches + left[loader])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_within_an_epoch_a_checkpoint_without_lrkit(made, tmp_path, policy, accumulate):
    path, _ = saved_within(made, tmp_path, module=made.Line(lambda module, optimizer: optimizer))
    left = {1: 13, 2: 8}[accumulate]
    if policy in ("replace", "restart"):
        right = falling(0, left) if policy == "restart" else falling(7, 7 + left)
        rates = go_on(made, path, data=Resumable(), policy=policy, accumulate_grad_batches=accumulate)
        assert rates == right
        return
    with pytest.raises(InputError, match="this checkpoint, after 7 updates, is of a training without lrkit"):
        go_on(made, path, data=Resumable(), policy=policy, accumulate_grad_batches=accumulate)


def test_within_an_epoch_what_has_begun_anew_goes_on_without_a_policy_and_may_begin_anew_once_more(made, tmp_path):
    plan = "warmup(2) >> linear(to=0)"

    def anew():
        return made.Line(configured(made, plan, policy="restart"))

    path, _ = saved_within(made, tmp_path)
    second, used = saved_within(made, tmp_path, 12, module=anew(), name="second.ckpt", path=path)
    right = [0.05, 0.1, *(0.1 * (1 - t / 11) for t in range(11))]
    assert used == pytest.approx(right[:5])
    assert go_on(made, second, schedule=plan, data=Resumable()) == pytest.approx(right[5:])
    longer = go_on(made, second, schedule=plan, data=Resumable(), policy="stretch", accumulate_grad_batches=2)
    assert longer == pytest.approx([0.1 * (1 - t / 8) for t in range(3, 8)])
    third, used = saved_within(made, tmp_path, 17, module=anew(), name="third.ckpt", path=second)
    right = [0.05, 0.1, *(0.1 * (1 - t / 6) for t in range(6))]
    assert used == pytest.approx(right[:5])
    assert go_on(made, third, schedule=plan, data=Resumable()) == pytest.approx(right[5:])


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


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("named", [0.1, 0.05, None])
def test_the_class_for_the_command_line_refuses_another_rate(made, tmp_path, named, policy):
    from lightning.pytorch.cli import LightningCLI, instantiate_class

    def with_class(**arguments):
        def configure(module, optimizer):
            arguments["steps"] = 20
            given = {
                "class_path": "lrkit.trainers.lightning.PlanScheduler",
                "init_args": {"schedule": LINEAR, **arguments},
            }
            return LightningCLI.configure_optimizers(module, optimizer, instantiate_class(optimizer, given))

        return made.Line(configure)

    path = saved(made, tmp_path, module=with_class(lr=0.1))
    module = with_class(lr=named, policy=policy)

    def train():
        made.trainer(max_epochs=4).fit(module, train_data(), ckpt_path=path)
        return module.rates

    if named == 0.05 and policy is None:
        with pytest.raises(InputError, match=r"made with lr 0\.1, and lr 0\.05 is named now; name the policy"):
            train()
        return
    base = 0.05 if named == 0.05 and policy != "keep" else 0.1
    assert train() == (falling(0, 10, 20, base) if policy == "restart" else falling(10, 20, base=base))


def two_by_hand(made, make=None):
    """A module whose two optimizers are stepped by hand, and the rates that both have used."""

    class Two(made.Manual):
        def __init__(self):
            super().__init__(None)
            self.other, self.used = nn.Linear(1, 1), ([], [])

        def training_step(self, batch, batch_idx):
            for optimizer, layer, used in zip(self.optimizers(), (self.layer, self.other), self.used, strict=True):
                loss = nn.functional.mse_loss(layer(batch[0]), batch[1])
                optimizer.zero_grad()
                self.manual_backward(loss)
                used.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
            return loss

        def configure_optimizers(self):
            kinds = zip((self.layer, self.other), (0.1, 0.2), strict=True)
            optimizers = [torch.optim.SGD(layer.parameters(), lr=lr, momentum=0.9) for layer, lr in kinds]
            return [make(self, each) for each in optimizers] if make else optimizers

    return Two()


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("batch_size", [16, 8])
@pytest.mark.parametrize("change", [(False, False), (True, False), (False, True)])  # within an epoch, without lrkit
def test_two_optimizers_by_hand(made, tmp_path, batch_size, policy, change):
    within, theirs = change
    first = two_by_hand(made, None if theirs else configured(made))
    path = saved_within(made, tmp_path, module=first)[0] if within else saved(made, tmp_path, module=first)
    module = two_by_hand(made, configured(made, policy=policy))
    done = 7 if within else 10
    left = {16: 20 - done, 8: 25 if within else 18}[batch_size]

    def train():
        made.trainer(max_epochs=4).fit(module, (Resumable if within else train_data)(batch_size), ckpt_path=path)

    if theirs and policy not in ("replace", "restart"):
        with pytest.raises(InputError, match=f"after {done} updates, is of a training without lrkit"):
            train()
    elif policy is None and batch_size == 8:
        with pytest.raises(InputError, match=f"over 20 steps.* over {done + left} steps.* name the policy"):
            train()
    else:
        train()
        for used, base in zip(module.used, (0.1, 0.2), strict=True):
            right = {"restart": falling(0, left, base=base), "keep": falling(done, done + left, 20, base)}
            assert used == right.get(policy, falling(done, done + left, base=base))


@pytest.mark.parametrize("resumed", [False, *POLICIES])
def test_a_callback_that_finds_a_batch_size_comes_first(made, tmp_path, resumed, monkeypatch):
    from lightning.pytorch.callbacks import BatchSizeFinder

    monkeypatch.chdir(tmp_path)

    class Sized(made.Line):
        batch_size = 2

        def train_dataloader(self):
            return train_data(self.batch_size)

        def val_dataloader(self):
            return valid_data()

    path = None if resumed is False else saved(made, tmp_path)
    module = Sized(configured(made, policy=resumed or None))
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
