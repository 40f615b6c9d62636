"""Callbacks in Lightning: the finder, the recorder, and schedule-free weights."""

import random

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

import lrkit
from lightning_cases import BrokenOffError, Resumable, X, cases, train_data, valid_data
from lrkit import InputError, InputTypeError

pytestmark = [
    pytest.mark.usefixtures("quick_intervals"),
    pytest.mark.filterwarnings(
        "ignore:You defined a .validation_step. but have no",  # Lightning's advice: the same module serves all tests
        "ignore:You're resuming from a checkpoint that ended before",  # though the loader can go on, it says so at ends
    ),
]

WAVE = "warmup(3) >> cosine(to=0)"
QUICK = {"seeds": 1, "steps": 40, "low": 1e-4, "high": 10.0}


@pytest.fixture
def case():
    return cases()


# --- the finder -----------------------------------------------------------------------------------


def fitted(case, module, *callbacks, shuffle=True, **options):
    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)
    trainer = case.trainer(*callbacks, **options)
    trainer.fit(module, train_data(shuffle=shuffle), valid_data())
    return trainer


def test_it_finds_what_find_finds_and_training_begins_as_with_that_rate(case):
    options = {"accumulate_grad_batches": 2, "gradient_clip_val": 5.0}
    finder = case.Finder(**QUICK)
    module = case.Line(case.scheduled(WAVE), lr=0.003)
    model = torch.nn.Linear(1, 1)
    model.load_state_dict(module.layer.state_dict())
    fitted(case, module, finder, **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.003, momentum=0.9)
    loss = torch.nn.functional.mse_loss
    found = lrkit.find(model, optimizer, train_data(shuffle=True), loss, accumulate=2, clip_norm=5.0, **QUICK)
    assert finder.finding == found
    other = case.Line(case.scheduled(WAVE), lr=found.suggestion)
    fitted(case, other, **options)
    assert module.rates == other.rates
    assert case.weights(module) == case.weights(other)  # and so neither the data's order nor the weights have changed
    assert module.losses == other.losses


def groups(parameters):
    weight, bias = parameters
    return torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.02}], lr=0.01, momentum=0.9)


def test_groups_keep_their_ratios_and_torch_s_schedulers_their_shape(case):
    def chain(optimizer):
        warmup = lr_scheduler.LinearLR(optimizer, 0.1, 1, 5)
        return lr_scheduler.SequentialLR(optimizer, [warmup, lr_scheduler.CosineAnnealingLR(optimizer, 10)], [5])

    def bases(configured):
        finder = case.Finder(**QUICK)
        module = case.Line(configured, make=groups)
        trainer = fitted(case, module, finder)
        rate = finder.finding.suggestion
        assert [group["initial_lr"] for group in trainer.optimizers[0].param_groups] == pytest.approx([rate, 2 * rate])
        return rate, module.rates

    rate, rates = bases(case.scheduled("warmup(5) >> cosine(to=0)"))
    assert max(rates) == pytest.approx(rate)
    other, rates = bases(case.of_torch(chain, interval="step"))
    assert other == rate
    torch_alone = case.Line(case.of_torch(chain, interval="step"), lr=rate)
    fitted(case, torch_alone)
    assert rates == pytest.approx(torch_alone.rates)


def test_wrong_without_a_schedule_forgets_what_lightning_s_finder_found(case, tmp_path):
    from lightning.pytorch.callbacks import LearningRateFinder

    class Watched(case.Line):
        def on_before_optimizer_step(self, optimizer):
            self.rates.append([float(group["lr"]) for group in optimizer.param_groups])

    def falling(optimizer):
        return lr_scheduler.LambdaLR(optimizer, lambda t: 0.9**t)

    def fit(finder):
        module = Watched(case.of_torch(falling, interval="step"), make=groups)
        options = {"enable_checkpointing": True, "default_root_dir": tmp_path / type(finder).__name__, "max_epochs": 6}
        fitted(case, module, finder, **options)
        return module.rates[-30:][:5]

    finder = LearningRateFinder(min_lr=1e-4, max_lr=10, num_training_steps=30, early_stop_threshold=None)
    rates = fit(finder)
    found = finder.optimal_lr.suggestion()
    assert found > 0.011
    assert rates[0] == pytest.approx([found, found])  # where the second group's was twice the first's
    assert rates[1:] == [pytest.approx([0.01 * 0.9**t, 0.02 * 0.9**t]) for t in range(1, 5)]  # as if none were found
    finder = case.Finder(**QUICK)
    rates = fit(finder)
    found = finder.finding.suggestion
    assert rates == [pytest.approx([found * 0.9**t, 2 * found * 0.9**t]) for t in range(5)]


def test_where_the_losses_support_no_rate(case):
    class Noise(case.Line):
        def training_step(self, batch, batch_idx):
            return {"loss": 0 * self.layer(batch[0]).mean() + 1.0}

    with pytest.raises(InputError, match=r"the losses support no learning rate: .*; give one, or otherwise='keep'"):
        fitted(case, Noise(case.scheduled(WAVE)), case.Finder(**QUICK))
    module = Noise(case.scheduled(WAVE))
    fitted(case, module, case.Finder(otherwise="keep", **QUICK))
    assert max(module.rates) == pytest.approx(0.1)


def test_it_does_nothing_when_training_goes_on(case, tmp_path):
    trainer = fitted(case, case.Line(case.scheduled(WAVE)))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    finder = case.Finder(**QUICK)
    case.trainer(finder).fit(case.Line(case.scheduled(WAVE)), train_data(), ckpt_path=tmp_path / "one.ckpt")
    assert finder.finding is None


def test_what_the_finder_cannot_do_is_said(case):
    with pytest.raises(InputError, match=r"otherwise.*'stop'"):
        case.Finder(otherwise="stop")
    with pytest.raises(InputError, match=r"option.*'sed'.*seeds"):
        case.Finder(sed=3)
    with pytest.raises(InputError, match="automatic optimization with one optimizer"):
        fitted(case, case.Manual(case.scheduled(WAVE)), case.Finder(**QUICK))
    value = {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"}
    with pytest.raises(InputError, match="by norm only"):
        fitted(case, case.Line(case.scheduled(WAVE)), case.Finder(**QUICK), **value)
    one_cycle = case.of_torch(lambda o: lr_scheduler.OneCycleLR(o, 0.1, 15), interval="step")
    with pytest.raises(InputError, match=r"OneCycleLR has a rate of its own; use lrkit\.one_cycle"):
        fitted(case, case.Line(one_cycle), case.Finder(**QUICK))
    with pytest.raises(InputError, match="bound with lr="):
        fitted(case, case.Line(case.of_torch(lambda o: lrkit.linear(15, to=0).bind(o, lr=0.2))), case.Finder(**QUICK))
    with pytest.raises(InputTypeError, match="must return a loss, or a dict with 'loss', not str"):
        fitted(case, case.Line(case.scheduled(WAVE)), case.Finder(forward=lambda module, batch: "loss", **QUICK))


# --- the recorder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_history_is_that_of_the_training(case, tmp_path, accumulate):
    recorder = case.Recorder(tmp_path / "mine", seed=7)
    module = case.Line(case.scheduled(WAVE))
    case.trainer(recorder, accumulate_grad_batches=accumulate).fit(module, train_data(), valid_data())
    history = recorder.history()
    sizes = [16, 16, 16, 16, 8]
    batches = np.array(module.losses).reshape(3, 5)
    cuts = [range(begin, min(begin + accumulate, 5)) for begin in range(0, 5, accumulate)]
    updates = [[np.average(e[list(c)], weights=[sizes[i] for i in c]) for c in cuts] for e in batches]
    assert history.losses.tolist() == pytest.approx(np.ravel(updates).tolist(), rel=1e-5)
    assert history.lr.tolist() == module.rates
    assert [each.train_loss for each in history.epochs] == pytest.approx(
        [np.average(e, weights=sizes) for e in batches]
    )
    assert len(history.epochs) == 3
    final = torch.nn.functional.mse_loss(module.layer(X[::3]), 2 * X[::3])
    assert history.epochs[-1].valid_loss == pytest.approx(final.item(), rel=1e-5)
    made = history.made
    assert (made["seed"], made["task"], made["epochs"], made["batch_size"]) == (7, "Line", 3, 16)
    assert made["trainer"].startswith("Lightning 2.")
    assert made["schedule"] == WAVE
    assert lrkit.RunFolder.load(tmp_path / "mine") == history
    with pytest.raises(InputError, match="isn't empty"):
        case.trainer(case.Recorder(tmp_path / "mine")).fit(case.Line(case.scheduled(WAVE)), train_data())


def test_metrics_are_those_of_the_epoch_s_validation(case):
    class Two(case.Line):
        def validation_step(self, batch, batch_idx):
            self.log_dict({"loss/valid": 0.5, "accuracy": 0.75})

    recorder = case.Recorder(valid_loss="loss/valid")
    case.trainer(recorder, check_val_every_n_epoch=2).fit(Two(case.scheduled(WAVE)), train_data(), valid_data())
    assert [each.valid_loss for each in recorder.history().epochs] == [None, 0.5, None]
    assert [dict(each.metrics) for each in recorder.history().epochs] == [{}, {"accuracy": 0.75}, {}]


@pytest.mark.parametrize("place", ["on_train_batch_end", "on_validation_end", "on_train_epoch_end"])
def test_a_resumed_run_has_the_whole_history(case, tmp_path, place):
    path = tmp_path / "one.ckpt"

    def when(trainer):
        return trainer.global_step == 7 if place == "on_train_batch_end" else trainer.current_epoch == 1

    whole, broken, resumed = (case.Recorder(tmp_path / "mine", overwrite=first) for first in (True, True, False))
    case.trainer(whole).fit(case.Line(case.scheduled(WAVE)), Resumable(), valid_data())
    with pytest.raises(BrokenOffError):
        case.trainer(broken, case.StopAt(path, place, when)).fit(
            case.Line(case.scheduled(WAVE)), Resumable(), valid_data()
        )
    case.trainer(resumed).fit(case.Line(case.scheduled(WAVE)), Resumable(), valid_data(), ckpt_path=path)
    assert resumed.history() == whole.history() == lrkit.RunFolder.load(tmp_path / "mine")
    assert len(whole.history().epochs) == 3


def test_manual_optimization_is_recorded(case):
    class Told(case.Manual):
        def training_step(self, batch, batch_idx):
            return {"loss": super().training_step(batch, batch_idx)}

    recorder = case.Recorder()
    module = Told(case.scheduled(WAVE))
    case.trainer(recorder).fit(module, train_data())
    assert recorder.history().lr.tolist() == module.rates
    assert len(recorder.history().losses) == 15


def test_there_is_no_history_before_training(case):
    with pytest.raises(InputError, match="no history before training begins"):
        case.Recorder().history()
    with pytest.raises(InputError, match="optimizer must be at least 0 and less than 1, not 3"):
        case.trainer(case.Recorder(optimizer=3)).fit(case.Line(case.scheduled(WAVE)), train_data())


def test_another_training_begins_another_history(case, tmp_path):
    path = tmp_path / "one.ckpt"
    first = case.trainer(case.Recorder(), max_epochs=2)
    first.fit(case.Line(case.scheduled(WAVE)), train_data(), valid_data())
    first.save_checkpoint(path)
    recorder = case.Recorder(tmp_path / "mine")
    module, trainer = case.Line(case.scheduled(WAVE)), case.trainer(recorder, max_epochs=2)
    trainer.validate(module, valid_data(), ckpt_path=path, verbose=False)  # which loads the state of callbacks too
    trainer.fit(module, train_data(), valid_data())
    assert len(recorder.history().losses) == 10
    trainer.fit_loop.max_epochs = 3
    with pytest.raises(InputError, match=r"isn't empty; choose another, or give overwrite=True"):
        trainer.fit(module, train_data(), valid_data())
    again = case.Recorder(tmp_path / "mine", overwrite=True)
    with pytest.raises(BrokenOffError):
        case.trainer(again, case.StopAt(path, "on_train_batch_end", lambda trainer: True)).fit(module, train_data())
    assert len(lrkit.RunFolder.load(tmp_path / "mine").losses) == 10  # what broke off at once has replaced nothing


def test_validations_within_an_epoch(case):
    recorder = case.Recorder()
    trainer = case.trainer(recorder, val_check_interval=2)
    trainer.fit(case.Line(case.scheduled(WAVE)), train_data(), valid_data())
    losses = [each.valid_loss for each in recorder.history().epochs]
    assert len(losses) == 3
    assert None not in losses
    assert losses[-1] == trainer.callback_metrics["val_loss"].item()


@pytest.mark.filterwarnings("ignore:.*training_step. returned .None.")  # which is what is tried
def test_a_batch_without_a_loss(case):
    class Silent(case.Line):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx == 1 else loss

    recorder = case.Recorder()
    module = Silent(case.scheduled(WAVE))
    case.trainer(recorder, max_epochs=1).fit(module, train_data())
    assert recorder.history().losses.tolist() == pytest.approx([module.losses[i] for i in (0, 2, 3, 4)])
    assert recorder.history().lr.tolist() == [module.rates[i] for i in (0, 2, 3, 4)]
    recorder, module = case.Recorder(), Silent(case.scheduled("linear(to=0)"))
    case.trainer(recorder, max_epochs=1, accumulate_grad_batches=2).fit(module, train_data())
    a, _, c, d, e = module.losses
    assert recorder.history().losses.tolist() == pytest.approx([a, (c + d) / 2, e])
    assert recorder.history().lr.tolist() == module.rates


def test_a_checkpoint_of_a_callback_before_it_has_the_update(case, tmp_path):
    class Plain(case.pl.Callback):  # those that are for checkpoints are moved to the end
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7:
                trainer.save_checkpoint(tmp_path / "one.ckpt")
                raise BrokenOffError

    with pytest.raises(BrokenOffError):
        case.trainer(Plain(), case.Recorder()).fit(case.Line(case.scheduled(WAVE)), Resumable())
    recorder = case.Recorder()
    case.trainer(recorder).fit(case.Line(case.scheduled(WAVE)), Resumable(), ckpt_path=tmp_path / "one.ckpt")
    assert len(recorder.history().losses) == 15


def test_two_optimizers_are_recorded_by_two(case, tmp_path):
    class Two(case.Manual):
        def training_step(self, batch, batch_idx):
            loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
                optimizer.zero_grad()
            return loss

        def configure_optimizers(self):
            rates = zip(self.layer.parameters(), (0.1, 0.2), strict=True)
            return [case.configure(self, torch.optim.SGD([each], lr=lr), WAVE) for each, lr in rates]

    def fit(*callbacks, **resumed):
        recorders = [case.Recorder(optimizer=0), case.Recorder(optimizer=1)]
        case.trainer(*recorders, *callbacks).fit(Two(case.scheduled(WAVE)), train_data(), **resumed)
        return [each.history() for each in recorders]

    one, two = fit()
    assert two.lr.tolist() == pytest.approx((2 * one.lr).tolist())
    path = tmp_path / "one.ckpt"
    with pytest.raises(BrokenOffError):
        fit(case.StopAt(path, "on_train_epoch_end", lambda trainer: trainer.current_epoch == 1))
    assert fit(ckpt_path=path) == [one, two]


def test_an_accumulation_by_epochs_is_that_of_finder_and_record(case):
    grows = case.pl.callbacks.GradientAccumulationScheduler
    finder, recorder = case.Finder(**QUICK), case.Recorder()
    fitted(case, case.Line(case.scheduled(WAVE)), grows({0: 4}), finder, recorder)
    other = case.Finder(**QUICK)
    fitted(case, case.Line(case.scheduled(WAVE)), other, accumulate_grad_batches=4)
    assert finder.finding == other.finding
    assert recorder.history().made["accumulate"] == 4


def test_a_step_that_needs_its_trainer_is_said(case):
    class Asks(case.Line):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) + 0 * self.trainer.global_step

    with pytest.raises(InputError, match=r"needs its trainer.*forward="):
        fitted(case, Asks(case.scheduled(WAVE)), case.Finder(**QUICK))


def test_bfloat16(case):
    finder, recorder, module = case.Finder(**QUICK), case.Recorder(), case.Line(case.scheduled(WAVE))
    fitted(case, module, finder, recorder, precision="bf16-mixed")
    assert max(module.rates) == pytest.approx(finder.finding.suggestion)
    history = recorder.history()
    assert history.lr.tolist() == module.rates
    assert history.made["precision"] == "bf16-mixed"


# --- schedule-free weights ------------------------------------------------------------------------


def schedule_free(parameters):
    import schedulefree

    return schedulefree.SGDScheduleFree(parameters, lr=0.1)


def by_hand(epochs=3):
    """The same training in a loop: validation losses of the average, the average, and the trained weights."""
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    optimizer = schedule_free(model.parameters())
    lrkit.warmup(5).bind(optimizer)
    loss, found = torch.nn.functional.mse_loss, []
    for _ in range(epochs):
        for x, y in train_data():
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.train()
            optimizer.step()
        trained = [each.detach().clone() for each in model.parameters()]
        optimizer.eval()
        found.append(float(loss(model(X[::3]), 2 * X[::3]).detach()))
        average = [each.detach().clone() for each in model.parameters()]
        optimizer.train()
        with torch.no_grad():
            for each, value in zip(model.parameters(), trained, strict=True):
                each.copy_(value)
    return found, average, trained


def of_schedule_free(case):
    return case.Line(case.scheduled("warmup(5)"), make=schedule_free)


def test_validation_and_checkpoints_have_the_average(case, tmp_path):
    recorder = case.Recorder()
    module = of_schedule_free(case)
    saved = case.pl.callbacks.ModelCheckpoint(tmp_path, filename="one", save_weights_only=True)
    trainer = case.trainer(case.ScheduleFree(), recorder, saved)
    trainer.fit(module, train_data(), valid_data())
    losses, average, _ = by_hand()
    assert [each.valid_loss for each in recorder.history().epochs] == pytest.approx(losses, rel=1e-5)
    assert all(torch.equal(one, two) for one, two in zip(module.parameters(), average, strict=True))
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    for name in ("one", "two"):
        state = torch.load(tmp_path / f"{name}.ckpt", weights_only=True)["state_dict"]
        assert torch.equal(state["layer.weight"], average[0])


@pytest.mark.parametrize("place", ["on_train_batch_end", "on_validation_end", "on_train_epoch_end", "after"])
def test_schedule_free_weights_resumed_are_never_interrupted(case, tmp_path, place):
    path = tmp_path / "one.ckpt"

    def when(trainer):
        return trainer.global_step == 7 if place == "on_train_batch_end" else trainer.current_epoch == 1

    whole = of_schedule_free(case)
    case.trainer(case.ScheduleFree()).fit(whole, Resumable(), valid_data())
    if place == "after":
        broken = case.trainer(case.ScheduleFree(), max_epochs=2)
        broken.fit(of_schedule_free(case), Resumable(), valid_data())
        broken.save_checkpoint(path)
    else:
        with pytest.raises(BrokenOffError):
            case.trainer(case.ScheduleFree(), case.StopAt(path, place, when)).fit(
                of_schedule_free(case), Resumable(), valid_data()
            )
    module = case.Line(case.scheduled("warmup(5)", policy="replace"), make=schedule_free)
    case.trainer(case.ScheduleFree()).fit(module, Resumable(), valid_data(), ckpt_path=path)
    assert case.weights(module) == case.weights(whole)


def test_other_optimizers_are_refused(case):
    with pytest.raises(InputError, match="of the package schedulefree, not for SGD"):
        case.trainer(case.ScheduleFree()).fit(case.Line(case.scheduled(WAVE)), train_data())
