"""Schedules in Lightning: the horizon, the clock, controllers, going on, and what goes wrong without lrkit."""

import csv
import doctest
import importlib

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

import lrkit
from lightning_cases import BrokenOffError, Endless, Resumable, cases, train_data, valid_data
from lrkit import InputError, InputTypeError

pytestmark = pytest.mark.filterwarnings(
    "ignore:You defined a .validation_step. but have no",  # Lightning's advice: the same module serves all tests
    "ignore:You're resuming from a checkpoint that ended before",  # though the loader can go on, it says so at ends
)

WAVE = "warmup(3) >> cosine(to=0)"
STEPPED = "warmup(2) >> plateau(patience=0, threshold=0.9, factor=0.5)"


@pytest.fixture
def case():
    return cases()


def expected(text, steps, base=0.1, **sizes):
    return (lrkit.parse(text).over(steps, **sizes).value(np.arange(steps), base)).tolist()


@pytest.mark.parametrize("name", [f"lightning{part}" for part in ("", "_finder", "_metrics", "_recorder", "_weights")])
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"lrkit.trainers.{name}"), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


# --- the horizon ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "steps", "epoch_steps"),
    [
        ({}, 15, 5),
        ({"accumulate_grad_batches": 2}, 9, 3),
        ({"accumulate_grad_batches": 2, "limit_train_batches": 3}, 6, 2),
        ({"limit_train_batches": 0.4}, 6, 2),
        ({"max_steps": 7}, 7, 5),
        ({"max_steps": 7, "max_epochs": -1}, 7, 5),
        ({"max_epochs": 1}, 5, 5),
        ({"data": "endless", "limit_train_batches": 4}, 12, 4),
        ({"data": "endless", "max_steps": 7}, 7, None),
        ({"data": "accumulation grows"}, 5 + 3 + 3, None),
    ],
)
def test_the_horizon_is_what_the_trainer_makes(case, options, steps, epoch_steps):
    options = dict(options)
    kind = options.pop("data", None)
    data = torch.utils.data.DataLoader(Endless(), batch_size=None) if kind == "endless" else train_data()
    grows = [case.pl.callbacks.GradientAccumulationScheduler({0: 1, 1: 2})] if kind == "accumulation grows" else []
    module = case.Line(case.scheduled("linear(to=0)"))
    trainer = case.trainer(*grows, **options)
    trainer.fit(module, data)
    scheduler = trainer.lr_scheduler_configs[0].scheduler
    assert (scheduler.horizon.steps, scheduler.horizon.epoch_steps) == (steps, epoch_steps)
    assert scheduler.steps == steps == len(module.rates)
    assert module.rates == pytest.approx(expected("linear(to=0)", steps))


def test_a_length_in_epochs(case):
    module = case.Line(case.scheduled("warmup(1ep) >> staircase(every=1ep, factor=0.5)"))
    case.trainer(accumulate_grad_batches=2).fit(module, train_data())
    assert module.rates == pytest.approx(expected("warmup(3) >> staircase(every=3, factor=0.5)", 9))


def test_what_has_no_length_is_said(case):
    endless = torch.utils.data.DataLoader(Endless(), batch_size=None)
    with pytest.raises(InputError, match="the trainer has no length with max_epochs=-1"):
        case.trainer(max_epochs=-1).fit(case.Line(case.scheduled(WAVE)), train_data())
    with pytest.raises(InputError, match="the training data has no length; give the trainer max_steps"):
        case.trainer().fit(case.Line(case.scheduled(WAVE)), endless)
    module = case.Line(case.scheduled(WAVE, steps=6))
    case.trainer(case.EndAt(6), max_epochs=-1).fit(module, endless)
    assert module.rates == pytest.approx(expected(WAVE, 6))


def test_bad_arguments_are_said(case):
    fit = lambda *args, **options: case.trainer().fit(case.Line(case.scheduled(*args, **options)), train_data())  # noqa: E731 (short)
    with pytest.raises(InputError, match=r"monitor must name the logged metric that 'plateau.*' goes by"):
        fit("plateau()")
    with pytest.raises(InputError, match=r"interval.*'batch'"):
        fit(WAVE, interval="batch")
    with pytest.raises(InputError, match=r"monitor.*'val_los'.*val_loss"):
        case.trainer().fit(case.Line(case.scheduled("plateau()", monitor="val_los")), train_data(), valid_data())
    with pytest.raises(InputTypeError, match="module must be a LightningModule, not Linear"):
        case.configure(torch.nn.Linear(1, 1), None, WAVE)


# --- the clock ------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_rates_are_the_plan_s(case, interval, accumulate):
    steps = 3 * -(-5 // accumulate)
    one = case.Line(case.scheduled(lrkit.parse(WAVE), interval=interval))
    two = case.Line(case.of_torch(lambda o: lrkit.parse(WAVE).bind(o, steps=steps), interval=interval))
    for module in (one, two):
        case.trainer(accumulate_grad_batches=accumulate).fit(module, train_data())
        assert module.rates == pytest.approx(expected(WAVE, steps))


def test_in_manual_optimization_the_clock_is_the_optimizer_s(case):
    module = case.Manual(case.scheduled(WAVE))
    case.trainer().fit(module, train_data())
    assert module.rates == pytest.approx(expected(WAVE, 15))
    controlled = case.Manual(case.scheduled("plateau(patience=0, threshold=0.99, factor=0.5)", monitor="val_loss"))
    case.trainer().fit(controlled, train_data(), valid_data())
    assert controlled.rates[::5] == pytest.approx([0.1, 0.1, 0.05])


def test_the_monitor_sees_the_rates(case, tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(tmp_path)
    module = case.Line(case.scheduled(WAVE))
    watch = case.pl.callbacks.LearningRateMonitor()
    case.trainer(watch, logger=logger, log_every_n_steps=1).fit(module, train_data())
    with open(f"{logger.log_dir}/metrics.csv") as file:  # noqa: PTH123 (its path is a text)
        seen = [float(row["lr-SGD"]) for row in csv.DictReader(file) if row["lr-SGD"]]
    assert seen == pytest.approx(module.rates)


def test_a_warm_up_before_a_plateau(case):
    module = case.Line(case.scheduled(STEPPED, monitor="val_loss"))
    case.trainer(max_epochs=4).fit(module, train_data(), valid_data())
    assert module.rates[:2] == pytest.approx([0.05, 0.1])
    assert module.rates[::5][1:] == pytest.approx([0.1, 0.05, 0.025])  # the first report is the best so far


def test_each_measurement_is_reported_once(case):
    def reports(monitor, schedule="plateau(patience=9, smoothing=0.5)", **options):
        module = case.Line(case.scheduled(schedule, monitor=monitor))
        trainer = case.trainer(max_epochs=4, **options)
        trainer.fit(module, train_data(), valid_data())
        [state] = trainer.lr_scheduler_configs[0].scheduler.state_dict()["controllers"].values()
        return state["reports"]

    assert reports("val_loss") == 4
    assert reports("train_loss") == 4
    assert reports("val_loss", check_val_every_n_epoch=2) == 2
    assert reports("val_loss", val_check_interval=2) == 8


def test_a_validation_by_itself_is_not_reported(case):
    module = case.Line(case.scheduled("plateau(patience=9, smoothing=0.5)", monitor="val_loss"))
    trainer = case.trainer()
    trainer.fit(module, train_data(), valid_data())
    scheduler = trainer.lr_scheduler_configs[0].scheduler
    before = scheduler.state_dict()
    trainer.validate(module, valid_data(), verbose=False)
    assert scheduler.state_dict() == before
    trainer.fit_loop.max_epochs = 5  # and a second training with the same trainer has its own reports
    trainer.fit(module, train_data(), valid_data())
    [state] = trainer.lr_scheduler_configs[0].scheduler.state_dict()["controllers"].values()
    assert state["reports"] == 2


def test_wrong_without_an_update_that_the_scaler_skips_counts(case):
    from lightning.pytorch.plugins import MixedPrecision

    def fit(configured):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**18, growth_interval=1000)
        recorder = case.Recorder()
        trainer = case.trainer(recorder, plugins=[MixedPrecision("16-mixed", "cpu", scaler)], max_epochs=4)
        trainer.fit(case.Line(configured), train_data())
        return trainer, recorder.history()

    trainer, history = fit(case.scheduled("linear(to=0)"))
    done = trainer.lr_scheduler_configs[0].scheduler.steps
    assert 0 < done < trainer.global_step == 20
    assert history.lr.tolist() == pytest.approx(expected("linear(to=0)", 20)[:done])
    assert np.isfinite(history.losses).all()
    # torch's scheduler counts what was skipped
    with pytest.warns(UserWarning, match="Detected call of"):
        _, history = fit(case.of_torch(lambda o: lr_scheduler.LinearLR(o, 1, 0, 20), interval="step"))
    assert len(history.lr) == done
    assert history.lr[0] < 0.099  # of its first update


# --- going on -------------------------------------------------------------------------------------


def whole_and_resumed(case, tmp_path, configured, stop, *, module=None, callbacks=list, data=Resumable, **options):
    """Weights, rates, trainers: of a run that was never interrupted, and of one that was broken off and resumed."""
    make = module or case.Line
    one = make(configured)
    whole = case.trainer(*callbacks(), **options)
    whole.fit(one, data(), valid_data())
    broken = make(configured)
    with pytest.raises(BrokenOffError):
        case.trainer(*callbacks(), stop, **options).fit(broken, data(), valid_data())
    two = make(configured)
    resumed = case.trainer(*callbacks(), **options)
    resumed.fit(two, data(), valid_data(), ckpt_path=stop.path)
    return (one, whole), (broken, two, resumed)


def at_end(case, path, hook, epoch=1):
    return case.StopAt(path, hook, lambda trainer: trainer.current_epoch == epoch)


def after(case, path, update):
    return case.StopAt(path, "on_train_batch_end", lambda trainer: trainer.global_step == update)


OF_VALIDATION, OF_TRAINING = {"monitor": "val_loss"}, {"monitor": "train_loss"}


@pytest.mark.parametrize(
    ("schedule", "options", "place"),
    [
        *((WAVE, {}, place) for place in ("within an epoch", "on_validation_end", "on_train_epoch_end")),
        *((STEPPED, OF_VALIDATION, place) for place in ("within an epoch", "on_validation_end", "on_train_epoch_end")),
        (STEPPED, OF_TRAINING, "on_train_epoch_end"),  # elsewhere Lightning doesn't save what training has summed up
    ],
)
def test_resumed_is_never_interrupted(case, tmp_path, schedule, options, place):
    path = tmp_path / "one.ckpt"
    stop = after(case, path, 7) if place == "within an epoch" else at_end(case, path, place)
    (one, whole), (broken, two, resumed) = whole_and_resumed(
        case, tmp_path, case.scheduled(schedule, **options), stop, max_epochs=4
    )
    assert case.weights(two) == case.weights(one)
    assert broken.rates + two.rates == one.rates
    states = [each.lr_scheduler_configs[0].scheduler.state_dict() for each in (whole, resumed)]
    assert states[0] == states[1]


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")  # it is resumed from
@pytest.mark.parametrize(
    ("schedule", "options", "steps"),
    # 6 is the end of an epoch, whose validation is never made up for, and so no controller can be told of it
    [(WAVE, {}, (2, 4, 6, 8)), (STEPPED, {"monitor": "val_loss"}, (2, 4, 8))],
)
def test_from_each_checkpoint_that_lightning_saves(case, tmp_path, schedule, options, steps):
    def fit(**resumed):
        module = case.Line(case.scheduled(schedule, **options))
        saved = case.pl.callbacks.ModelCheckpoint(tmp_path, every_n_train_steps=2, save_top_k=-1, filename="{step}")
        case.trainer(saved, accumulate_grad_batches=2, max_epochs=4).fit(module, Resumable(), valid_data(), **resumed)
        return case.weights(module), module.rates

    weights, rates = fit()
    for step in steps:
        assert fit(ckpt_path=tmp_path / f"step={step}.ckpt") == (weights, rates[step:])


# --- LightningCLI ---------------------------------------------------------------------------------


def as_the_cli_does(case, **arguments):
    """What LightningCLI's own `configure_optimizers` returns, for the path of a class and its arguments."""
    from lightning.pytorch.cli import LightningCLI, instantiate_class

    path = f"lrkit.trainers.lightning.{case.PlanScheduler.__name__}"

    def configured(module, optimizer):
        scheduler = instantiate_class(optimizer, {"class_path": path, "init_args": arguments})
        return LightningCLI.configure_optimizers(module, optimizer, scheduler)

    return configured


@pytest.mark.parametrize(
    ("arguments", "base"),
    [
        ({"schedule": "warmup(3) >> cosine(12, to=0)"}, 0.1),
        ({"schedule": "warmup(20%) >> cosine(to=0)", "steps": 15}, 0.1),
        ({"schedule": "warmup(1ep) >> cosine(to=0)", "steps": 15, "epoch_steps": 5, "lr": 0.2}, 0.2),
    ],
)
def test_a_schedule_from_lightnings_command_line_follows_the_updates(case, arguments, base):
    module = case.Line(as_the_cli_does(case, **arguments))
    case.trainer().fit(module, train_data())
    assert module.rates == pytest.approx(expected(arguments["schedule"], 15, base, epoch_steps=5), abs=1e-12)


def test_a_schedule_from_lightnings_command_line_goes_on_from_a_checkpoint(case, tmp_path):
    stop = after(case, tmp_path / "one.ckpt", 7)
    configured = as_the_cli_does(case, schedule="lr: warmup(3) >> cosine(to=0); momentum: linear(to=0.5)", steps=15)
    (whole, _), (broken, resumed, _) = whole_and_resumed(case, tmp_path, configured, stop)
    assert case.weights(resumed) == case.weights(whole)
    assert broken.rates + resumed.rates == whole.rates


def test_a_schedule_that_lightnings_command_line_cannot_make_is_refused(case):
    def make(**arguments):
        return case.PlanScheduler(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1), **arguments)

    sentence = (
        r"'cosine\(to=0\)' needs the length of the training, which LightningCLI can't know yet; write all lengths"
    )
    with pytest.raises(InputError, match=sentence):
        make(schedule="cosine(to=0)")
    with pytest.raises(
        InputError, match=r"'warmup\(3\) >> plateau\(\)' goes by a metric, .* configure\(.*monitor=...\)"
    ):
        make(schedule="warmup(3) >> plateau()", steps=10)
    with pytest.raises(InputError, match=r"epoch_steps is given without steps, the updates of the whole training"):
        make(schedule="warmup(3)", epoch_steps=10)
    with pytest.raises(InputTypeError, match=r"schedule must be a plan of lrkit or its text, not 0\.1"):
        make(schedule=0.1)


def made_longer(case, path, configured):
    """Rates of the second half of a training that was planned for the first alone."""
    trainer = case.trainer(max_epochs=2)
    trainer.fit(case.Line(configured), train_data())
    trainer.save_checkpoint(path)
    module = case.Line(configured)
    case.trainer(max_epochs=4).fit(module, train_data(), ckpt_path=path)
    return module.rates


def test_another_length_needs_a_policy(case, tmp_path):
    path = tmp_path / "one.ckpt"
    with pytest.raises(InputError, match="policy"):
        made_longer(case, path, case.scheduled("linear(to=0)"))
    rates = {}
    for policy in ("keep", "stretch"):
        module = case.Line(case.scheduled("linear(to=0)", policy=policy))
        case.trainer(max_epochs=4).fit(module, train_data(), ckpt_path=path)
        rates[policy] = module.rates
    assert rates["keep"] == [0.0] * 10
    assert rates["stretch"] == pytest.approx(expected("linear(to=0)", 20)[10:])


def test_the_classes_of_pytorch_lightning(case):
    import pytorch_lightning

    class Other(pytorch_lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

        def configure_optimizers(self):
            return case.configure(self, torch.optim.SGD(self.parameters(), lr=0.1), WAVE)

    recorder = case.Recorder()
    options = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    pytorch_lightning.Trainer(accelerator="cpu", max_epochs=3, callbacks=[recorder], **options).fit(
        Other(), train_data()
    )
    assert recorder.history().lr.tolist() == pytest.approx(expected(WAVE, 15))


# --- what goes wrong without ----------------------------------------------------------------------


def fit(case, configured, data=None, valid=None, callbacks=(), **options):
    module = case.Line(configured)
    case.trainer(*callbacks, **options).fit(module, train_data() if data is None else data, valid)
    return module.rates


def test_wrong_without_a_warm_up_is_counted_in_epochs(case):
    rates = fit(case, case.of_torch(lambda o: lr_scheduler.LinearLR(o, 0.1, 1, 5)))
    assert rates[-1] == pytest.approx(0.1 * (0.1 + 0.9 * 2 / 5))  # after 15 updates, where 5 were asked for
    assert fit(case, case.scheduled("warmup(5) >> constant()"))[4:] == pytest.approx([0.1] * 11)


def test_wrong_without_data_of_no_length(case):
    endless = torch.utils.data.DataLoader(Endless(), batch_size=None)
    counts = []

    def configured(module, optimizer):
        counts.append(module.trainer.estimated_stepping_batches)
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, counts[0])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    rates = fit(case, configured, endless, max_epochs=1, callbacks=[case.EndAt(4)])
    assert counts == [-1]
    assert rates == pytest.approx([0.1, 0.0, 0.1, 0.0], abs=1e-9)  # from the full rate to none at each update
    with pytest.raises(InputError, match="the training data has no length"):
        fit(case, case.scheduled("cosine(to=0)"), endless, max_epochs=1)


def test_wrong_without_an_accumulation_that_grows(case):
    def grows():
        return case.pl.callbacks.GradientAccumulationScheduler({0: 1, 1: 5})

    def configured(module, optimizer):
        steps = module.trainer.estimated_stepping_batches
        scheduler = lr_scheduler.LinearLR(optimizer, 1, 0, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    rates = fit(case, configured, callbacks=[grows()])
    assert len(rates) == 7
    assert rates[-1] == pytest.approx(0.1 * (1 - 6 / 15))  # it counts 15 updates, and ends where most is still to come
    assert fit(case, case.scheduled("linear(to=0)"), callbacks=[grows()])[-1] == pytest.approx(0.1 * (1 - 6 / 7))


def test_wrong_without_a_longer_resumed_training_rises_again(case, tmp_path):
    path = tmp_path / "one.ckpt"

    def configured(module, optimizer):
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, module.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    rates = made_longer(case, path, configured)
    assert rates[0] == pytest.approx(0.0, abs=1e-9)
    assert rates[-1] > 0.09  # at its end it trains at the full rate, and nothing was said
    with pytest.raises(InputError, match="policy"):
        made_longer(case, path, case.scheduled("cosine(to=0)"))


def test_wrong_without_a_plateau_loses_a_report_when_it_is_resumed(case, tmp_path):
    def plateau(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.9)

    path = tmp_path / "one.ckpt"
    stop = at_end(case, path, "on_validation_end")
    (one, _), (broken, two, _) = whole_and_resumed(
        case, tmp_path, case.of_torch(plateau, monitor="val_loss"), stop, max_epochs=4
    )
    assert one.rates[::5] == pytest.approx([0.1, 0.1, 0.05, 0.025])
    assert (broken.rates + two.rates)[::5] == pytest.approx([0.1, 0.1, 0.1, 0.05])
    configured = case.scheduled("plateau(patience=0, threshold=0.9, factor=0.5)", monitor="val_loss")
    stop = at_end(case, path, "on_validation_end")
    (one, _), (broken, two, _) = whole_and_resumed(case, tmp_path, configured, stop, max_epochs=4)
    assert one.rates[::5] == pytest.approx([0.1, 0.1, 0.05, 0.025])
    assert broken.rates + two.rates == one.rates


def test_wrong_without_a_plateau_is_told_old_metrics(case):
    options = {"max_epochs": 7, "check_val_every_n_epoch": 2}

    def plateau(optimizer):
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=0.001)

    old = case.of_torch(plateau, monitor="val_loss", strict=False)
    with pytest.warns(RuntimeWarning, match="not available"):
        rates = fit(case, old, valid=valid_data(), **options)
    assert rates[::5] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025])  # though the loss falls each time
    configured = case.scheduled("plateau(patience=0, threshold=0.001, factor=0.5)", monitor="val_loss")
    assert fit(case, configured, valid=valid_data(), **options) == [0.1] * 35


def test_wrong_without_a_loader_forgets_where_it_was(case, tmp_path):
    """Asking for the horizon sets the data up, before Lightning knows from where to go on."""

    class Watched(case.Line):
        def training_step(self, batch, batch_idx):
            self.firsts = [*getattr(self, "firsts", []), round(float(batch[0][0]), 2)]
            return super().training_step(batch, batch_idx)

    def configured(module, optimizer):
        scheduler = lr_scheduler.LinearLR(optimizer, 1, 0, module.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def firsts(configured):
        stop = after(case, tmp_path / "one.ckpt", 2)
        (one, _), (broken, two, _) = whole_and_resumed(case, tmp_path, configured, stop, module=Watched, max_epochs=1)
        return one.firsts, broken.firsts + two.firsts

    whole, resumed = firsts(configured)
    assert resumed == [*whole[:2], *whole[:3]]  # the first batches again, and the last two never
    whole, resumed = firsts(case.scheduled("linear(to=0)"))
    assert resumed == whole


def test_wrong_without_manual_optimization_never_steps(case):
    module = case.Manual(case.of_torch(lambda o: lr_scheduler.LinearLR(o, 1, 0, 15), interval="step"))
    case.trainer().fit(module, train_data())
    assert module.rates == [0.1] * 15
    module = case.Manual(case.scheduled("linear(to=0)"))
    case.trainer().fit(module, train_data())
    assert module.rates == pytest.approx(expected("linear(to=0)", 15))


# --- several metrics, fits, optimizers ------------------------------------------------------------


class Measures:
    """A validation with a second metric, that rises as the loss falls."""

    def validation_step(self, batch, batch_idx):
        loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        self.log_dict({"val_loss": loss, "val_acc": -loss})


def test_a_controller_takes_the_metric_that_it_names(case):
    line = type("Line", (Measures, case.Line), {})

    def best(schedule, valid=True, **options):
        trainer = case.trainer()
        trainer.fit(line(case.scheduled(schedule, **options)), train_data(), valid_data())
        states = trainer.lr_scheduler_configs[0].scheduler.state_dict()["controllers"]
        return [state["best"] for state in states.values()]

    [loss] = best("plateau()", monitor="val_loss")
    named = "plateau(metric=val_acc, mode=max)"
    assert best(named) == best(named, monitor="val_loss") == [-loss]
    assert best(f"lr: plateau(); weight_decay: {named}", monitor="val_loss") == [loss, -loss]
    [trained, validated] = best("lr: plateau(metric=train_loss); weight_decay: plateau(metric=val_loss)")
    assert trained != validated == loss
    with pytest.raises(InputError, match=r"metric.*'val_f1'.*val_loss"):
        best("warmup(2) >> plateau(metric=val_f1)")


def test_a_controller_that_is_never_told_is_said(case):
    module = case.Line(case.scheduled("plateau()", monitor="val_loss"))
    with pytest.warns(UserWarning, match=r"'plateau\(\)' was told nothing in the whole training: 'val_loss'"):
        case.trainer(check_val_every_n_epoch=5).fit(module, train_data(), valid_data())


@pytest.mark.parametrize(("first", "longer"), [({"max_epochs": 2}, 4), ({"max_epochs": -1, "max_steps": 10}, 20)])
def test_a_second_fit_is_over_what_is_left(case, first, longer):
    trainer = case.trainer(**first)
    trainer.fit(case.Line(case.scheduled("linear(to=0)")), train_data())
    if "max_steps" in first:
        trainer.fit_loop.epoch_loop.max_steps = longer
    else:
        trainer.fit_loop.max_epochs = longer
    module = case.Line(case.scheduled("linear(to=0)"))
    trainer.fit(module, train_data())
    assert module.rates == pytest.approx(expected("linear(to=0)", 10))
    trainer.fit(module, train_data())  # nothing is left


def two_optimizers(case, **options):
    class Two(case.pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.one, self.two = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            for optimizer, layer in zip(self.optimizers(), (self.one, self.two), strict=True):
                loss = torch.nn.functional.mse_loss(layer(batch[0]), batch[1])
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            return loss

        def configure_optimizers(self):
            optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (self.one, self.two)]
            return [case.configure(self, each, "linear(to=0)", **options) for each in optimizers]

    return Two()


def test_two_optimizers_have_a_schedule_each(case):
    trainer = case.trainer()
    trainer.fit(two_optimizers(case), train_data())
    schedulers = [each.scheduler for each in trainer.lr_scheduler_configs]
    assert [(each.horizon.steps, each.steps) for each in schedulers] == [(15, 15)] * 2
    with pytest.raises(InputError, match="max_steps counts the updates of all optimizers together"):
        case.trainer(max_steps=20).fit(two_optimizers(case), train_data())
    trainer = case.trainer(max_steps=20)
    trainer.fit(two_optimizers(case, steps=10), train_data())
    assert [each.scheduler.get_last_lr() for each in trainer.lr_scheduler_configs] == [[0.0], [0.0]]


@pytest.mark.parametrize("schedule", ["warmup(10%) >> cosine(to=0)", "warmup(2000) >> cosine(to=0)"])
def test_a_trial_of_one_batch_has_room_for_every_plan(case, schedule):
    module = case.Line(case.scheduled(schedule))
    case.trainer(case.Recorder(), fast_dev_run=True).fit(module, train_data(), valid_data())
    assert len(module.rates) == 1


def test_after_an_exception_nothing_is_left_behind(case):
    class Broken(case.pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7:
                trainer.callbacks.remove(self)
                raise BrokenOffError

    recorder = case.Recorder()
    trainer = case.trainer(recorder, Broken())
    module = case.Line(case.scheduled("plateau(smoothing=0.5)", monitor="val_loss"))
    with pytest.raises(BrokenOffError):
        trainer.fit(module, train_data(), valid_data())
    hooks = trainer.optimizers[0]._optimizer_step_post_hooks if trainer.optimizers else {}
    assert len(hooks) <= 1  # the scheduler's
    trainer.fit(module, train_data(), valid_data())
    [state] = trainer.lr_scheduler_configs[0].scheduler.state_dict()["controllers"].values()
    assert state["reports"] == 2
    other = case.Line(lambda module, optimizer: optimizer)  # which measures no such thing
    other.validation_step = lambda batch, batch_idx: None
    trainer.fit_loop.max_epochs = 4
    trainer.fit(other, train_data(), valid_data())


def test_epochs_that_differ_have_no_length(case):
    grows = case.pl.callbacks.GradientAccumulationScheduler({0: 1, 1: 2})
    module = case.Line(case.scheduled("linear(to=0)"))
    trainer = case.trainer(grows, max_epochs=-1, max_steps=14)
    trainer.fit(module, train_data())
    horizon = trainer.lr_scheduler_configs[0].scheduler.horizon
    assert (horizon.steps, horizon.epoch_steps) == (14, None)


def test_without_a_length_or_a_trainer(case):
    plan = "warmup(5) >> constant()"
    module = case.Line(case.scheduled(plan))
    case.trainer(case.EndAt(7), max_epochs=-1).fit(module, train_data())
    assert module.rates == pytest.approx(expected(plan, 7))
    assert case.Line(case.scheduled("linear(to=0)", steps=5)).configure_optimizers()["lr_scheduler"]
    with pytest.raises(InputError, match="the module has no trainer yet"):
        case.Line(case.scheduled("linear(to=0)")).configure_optimizers()
