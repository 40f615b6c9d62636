"""Schedules, records and averaged weights in ignite's trainers."""

import doctest
import types

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
import lrkit.torch_names
from lrkit import InputError

X = torch.linspace(-1, 1, 72)[:, None]
BATCHES = [(x, x**2) for x in X.split(16)]  # five, of which the last has half as many samples
PLATEAU = "plateau(factor=0.5, patience=0, threshold=0.5)"


@pytest.fixture
def kit():
    """What ignite has, and lrkit for it."""
    import ignite.engine
    import ignite.handlers
    import ignite.metrics

    import lrkit.trainers.ignite

    return types.SimpleNamespace(
        **{name: getattr(ignite.engine, name) for name in ("Engine", "Events", "create_supervised_trainer")},
        **{name: getattr(ignite.engine, name) for name in ("create_supervised_evaluator",)},
        handlers=ignite.handlers,
        Loss=ignite.metrics.Loss,
        module=lrkit.trainers.ignite,
        **{name: getattr(lrkit.trainers.ignite, name) for name in lrkit.trainers.ignite.__all__},
    )


class BrokenError(Exception):
    pass


class Training:
    """A small training, with a schedule, an evaluation after each epoch, and a record."""

    def __init__(
        self,
        kit,
        schedule="linear(to=0)",
        *,
        accumulate=1,
        make=None,
        folder=None,
        exact=False,
        evaluate=True,
        **options,
    ):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        make = make or (lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9))
        self.optimizer = make(self.model.parameters())
        loss = nn.functional.mse_loss
        self.trainer = kit.create_supervised_trainer(
            self.model, self.optimizer, loss, deterministic=exact, gradient_accumulation_steps=accumulate
        )
        self.evaluator = kit.create_supervised_evaluator(self.model, metrics={"loss": kit.Loss(loss)})
        self.handler = kit.Schedule(schedule, self.optimizer, accumulate=accumulate, **options)
        self.handler.attach(self.trainer, self.evaluator)
        self.recorder = kit.Recorder(self.optimizer, folder=folder).attach(self.trainer, self.evaluator)
        if evaluate:
            self.trainer.on(kit.Events.EPOCH_COMPLETED)(lambda: self.evaluator.run(BATCHES))
        self.saved = {"model": self.model, "optimizer": self.optimizer, "schedule": self.handler}
        self.saved |= {"recorder": self.recorder, "trainer": self.trainer}
        self.kit, self.exact = kit, exact

    def save_every(self, event, path):
        checkpoint = self.kit.handlers.Checkpoint(self.saved, self.kit.handlers.DiskSaver(path), n_saved=None)
        self.trainer.add_event_handler(event, checkpoint)
        return self

    def break_at(self, iteration):
        def breaks():
            raise BrokenError

        self.trainer.add_event_handler(self.kit.Events.ITERATION_COMPLETED(once=iteration), breaks)
        return self

    def load(self, path):
        state = torch.load(path, weights_only=not self.exact)  # a deterministic engine saves numpy's random state
        self.kit.handlers.Checkpoint.load_objects(self.saved, state)
        return self

    def run(self, **length):
        self.trainer.run(BATCHES, **(length or {"max_epochs": 4}))
        return self

    def run_broken(self):
        with pytest.raises(BrokenError):
            self.run()

    def weights(self):
        return torch.cat([each.detach().reshape(-1) for each in self.model.parameters()])


def test_examples_in_docstrings(kit):
    import lrkit.trainers.resumption

    for module in (kit.module, lrkit.trainers.resumption):
        found = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
        assert found.attempted > 0
        assert found.failed == 0


@pytest.mark.parametrize(
    ("length", "accumulate", "steps"),
    [({"max_epochs": 4}, 1, 20), ({"max_iters": 13}, 1, 13), ({"max_epochs": 4}, 2, 10), ({"max_iters": 13}, 5, 2)],
)
def test_the_horizon_is_the_trainers(kit, length, accumulate, steps):
    made = Training(kit, accumulate=accumulate).run(**length)
    assert made.handler.scheduler.steps == steps
    assert made.recorder.history().lr == pytest.approx(0.1 * (1 - np.arange(steps) / steps))
    assert made.optimizer.param_groups[0]["lr"] == 0


def test_lengths_in_epochs_are_the_trainers(kit):
    made = Training(kit, "staircase(every=1ep, factor=0.1)").run(max_epochs=2)
    assert made.recorder.history().lr == pytest.approx([0.1] * 5 + [0.01] * 5)


def test_a_controller_gets_one_report_for_each_evaluation(kit):
    made = Training(kit, PLATEAU).run()
    [state] = made.handler.scheduler.state_dict()["controllers"].values()
    losses = [each.valid_loss for each in made.recorder.history().epochs]
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    plain = lrkit.parse(PLATEAU).bind(optimizer)
    for loss in losses:
        plain.step(loss)
    assert made.optimizer.param_groups[0]["lr"] == plain.get_last_lr()[0] < 0.1
    assert state["best"] == plain.state_dict()["controllers"]["lr"]["best"]


@pytest.mark.parametrize("schedule", ["warmup(25%) >> cosine(to=0)", PLATEAU])
@pytest.mark.parametrize("within", [False, True])
def test_interrupted_and_resumed_is_never_interrupted(kit, tmp_path, schedule, within):
    def make(folder):
        return Training(kit, schedule, folder=tmp_path / folder, exact=within)

    whole = make("whole").run()
    event, name = (kit.Events.ITERATION_COMPLETED, 12) if within else (kit.Events.EPOCH_COMPLETED, 10)
    with pytest.raises(BrokenError):
        make("mine").save_every(event, tmp_path).break_at(13).run()
    resumed = make("mine").load(tmp_path / f"checkpoint_{name}.pt").run()
    assert torch.equal(resumed.weights(), whole.weights())
    assert resumed.recorder.history() == whole.recorder.history()
    assert lrkit.RunFolder.load(tmp_path / "mine") == lrkit.RunFolder.load(tmp_path / "whole")
    assert len(whole.recorder.history().epochs) == 4


def test_further_than_planned_needs_a_policy(kit):
    made = Training(kit).run(max_epochs=2)
    with pytest.raises(InputError, match=r"over 10 steps.*over 20 steps.*name the policy"):
        made.run(max_epochs=4)
    assert (made.handler.scheduler.steps, made.handler.scheduler.horizon.steps) == (10, 10)
    made = Training(kit, policy="stretch").run(max_epochs=2).run(max_epochs=4)
    expected = [*(0.1 * (1 - np.arange(10) / 10)), *(0.1 * (1 - np.arange(10, 20) / 20))]
    assert made.recorder.history().lr == pytest.approx(expected)


def test_another_training_of_the_same_optimizer_is_asked_for(kit):
    made = Training(kit).run(max_epochs=2)
    with pytest.raises(InputError, match=r"starts at iteration 0 and the schedule has made 10 updates.*restart\(\)"):
        made.run(max_epochs=2)
    made.handler.restart()
    made.trainer.state.max_epochs = None
    made.run(max_epochs=3)
    assert made.handler.scheduler.steps == 15
    assert made.recorder.history().lr[10:] == pytest.approx(0.1 * (1 - np.arange(15) / 15))


def test_an_optimizer_that_goes_on_in_a_trainer_that_does_not_is_refused(kit, tmp_path):
    Training(kit).save_every(kit.Events.EPOCH_COMPLETED, tmp_path).run(max_epochs=2)
    made = Training(kit)
    made.saved.pop("trainer")
    with pytest.raises(InputError, match="starts at iteration 0 and the schedule has made 5 updates"):
        made.load(tmp_path / "checkpoint_5.pt").run(max_epochs=2)


def test_what_is_wrong_is_said(kit):
    with pytest.raises(InputError, match="accumulate must be a whole number of at least 1, not 0"):
        kit.Schedule("linear(to=0)", Training(kit).optimizer, accumulate=0)
    with pytest.raises(InputError, match=r"doesn't know how long it will run.*run\(epoch_length=\)"):
        Training(kit).trainer.run(iter(BATCHES))
    with pytest.raises(InputError, match="accumulate=8 leaves no update in 5 iterations"):
        Training(kit, accumulate=8).run(max_epochs=1)
    with pytest.raises(InputError, match="not the state of a schedule"):
        Training(kit).handler.load_state_dict({"steps": 3})


def test_a_record_that_is_there_is_not_replaced_unasked(kit, tmp_path):
    Training(kit, folder=tmp_path).run(max_epochs=1)
    with pytest.raises(InputError, match="isn't empty"):
        Training(kit, folder=tmp_path).run(max_epochs=1)


def test_the_record_is_that_of_the_training(kit, tmp_path):
    made = Training(kit, folder=tmp_path / "run").run(max_epochs=2)
    history = lrkit.RunFolder.load(tmp_path / "run")
    assert history == made.recorder.history()
    assert history.made["trainer"].startswith("ignite 0.")
    assert history.made["schedule"] == "linear(to=0)"
    first = history.losses[:5].astype(np.float64)
    assert history.epochs[0].train_loss == pytest.approx(np.average(first, weights=[16, 16, 16, 16, 8]))
    assert history.epochs[-1].valid_loss == made.evaluator.state.metrics["loss"]


def test_the_output_may_be_anything(kit):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def update(engine, batch):
        loss = nn.functional.mse_loss(model(batch["x"]), batch["y"])
        loss.backward()
        optimizer.step()
        return {"loss": loss}

    trainer = kit.Engine(update)
    recorder = kit.Recorder(optimizer, output_transform=lambda output: (output["loss"], 3)).attach(trainer)
    trainer.run([{"x": x, "y": y} for x, y in BATCHES])
    history = recorder.history()
    assert history.epochs[0].train_loss == pytest.approx(history.losses.mean())


# --- schedule-free averaging --------------------------------------------------------------------------


def averaging(name):
    def make(parameters):
        import schedulefree

        return getattr(schedulefree, name)(parameters, lr=0.05)

    return make


def averaged(made):
    """Attach what switches the weights."""
    made.kit.AveragedWeights(made.optimizer).attach(made.trainer, made.evaluator)
    return made


@pytest.mark.parametrize("name", ["SGDScheduleFree", "AdamWScheduleFree"])
def test_evaluators_see_averaged_weights_and_measuring_changes_nothing(kit, name):
    made = averaged(Training(kit, "warmup(25%)", make=averaging(name))).run()
    blind = averaged(Training(kit, "warmup(25%)", make=averaging(name), evaluate=False)).run()
    assert torch.equal(made.weights(), blind.weights())  # after it: the averages
    loss = nn.functional.mse_loss(made.model(X), X**2).item()
    assert made.recorder.history().epochs[-1].valid_loss == pytest.approx(loss, rel=1e-5)
    after = made.evaluator.run(BATCHES).metrics["loss"]
    assert after == made.recorder.history().epochs[-1].valid_loss


def test_defect_without_it_an_evaluation_sees_the_weights_that_are_trained(kit):
    naive = Training(kit, make=averaging("SGDScheduleFree"))
    naive.optimizer.train()
    naive.run()
    ours = averaged(Training(kit, make=averaging("SGDScheduleFree"))).run()
    trained = naive.recorder.history().epochs[-1].valid_loss
    naive.optimizer.eval()
    average = nn.functional.mse_loss(naive.model(X), X**2).item()
    assert trained != pytest.approx(average, rel=1e-2)
    assert ours.recorder.history().epochs[-1].valid_loss == pytest.approx(average, rel=1e-5)


def test_averaging_interrupted_and_resumed_is_never_interrupted(kit, tmp_path):
    def make():
        return averaged(Training(kit, "warmup(25%)", make=averaging("AdamWScheduleFree")))

    whole = make().run()
    broken = make().save_every(kit.Events.EPOCH_COMPLETED, tmp_path).break_at(13)
    with pytest.raises(BrokenError):
        broken.run()
    resumed = make().load(tmp_path / "checkpoint_10.pt").run()
    assert torch.equal(resumed.weights(), whole.weights())


# --- what goes wrong without lrkit ---------------------------------------------------------------------


def plain(kit, *, accumulate=1):
    """A trainer without anything, its optimizer, and the rates of its updates as they come."""
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = kit.create_supervised_trainer(
        model, optimizer, nn.functional.mse_loss, gradient_accumulation_steps=accumulate
    )
    rates = []
    optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    return trainer, optimizer, rates


def test_defect_a_scheduler_attached_where_torchs_are_stepped_is_an_update_late(kit):
    right = 0.1 * (1 - np.arange(5) / 5)
    trainer, optimizer, rates = plain(kit)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=5)
    trainer.add_event_handler(kit.Events.ITERATION_COMPLETED, kit.handlers.LRScheduler(scheduler))
    trainer.run(BATCHES, max_epochs=1)
    assert rates == pytest.approx([0.1, *right[:-1]])  # the first rate twice, the last never
    trainer, optimizer, rates = plain(kit)
    kit.Schedule("linear(to=0)", optimizer).attach(trainer)
    trainer.run(BATCHES, max_epochs=1)
    assert rates == pytest.approx(right)


def test_defect_accumulation_runs_a_schedule_through_too_fast(kit):
    trainer, optimizer, rates = plain(kit, accumulate=2)
    scheduler = kit.handlers.PiecewiseLinear(optimizer, "lr", [(0, 0.1), (10, 0.0)])
    trainer.add_event_handler(kit.Events.ITERATION_STARTED, scheduler)
    trainer.run(BATCHES, max_epochs=4)  # ten updates
    assert rates == pytest.approx([0.09, 0.07, 0.05, 0.03, 0.01, 0, 0, 0, 0, 0])
    trainer, optimizer, rates = plain(kit, accumulate=2)
    kit.Schedule("linear(to=0)", optimizer, accumulate=2).attach(trainer)
    trainer.run(BATCHES, max_epochs=4)
    assert rates == pytest.approx(0.1 * (1 - np.arange(10) / 10))


def test_defect_a_plateau_that_was_resumed_lowers_no_rate(kit):
    def make():
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
        handler = kit.handlers.ReduceLROnPlateauScheduler(optimizer, "loss", patience=0, factor=0.5)
        return optimizer, handler

    evaluator = kit.Engine(lambda engine, batch: None)
    evaluator.state.metrics = {"loss": 1.0}
    first, before = make()
    before(evaluator)
    second, after = make()
    after.load_state_dict(before.state_dict())
    after(evaluator)
    assert (second.param_groups[0]["lr"], first.param_groups[0]["lr"]) == (0.1, 0.05)  # it lowers the old one's

    scheduler = lrkit.parse("plateau(factor=0.5, patience=0)").bind(first, steps=10, epoch_steps=5)
    scheduler.step(1.0)
    trainer, optimizer, _ = plain(kit)
    handler = kit.Schedule("plateau(factor=0.5, patience=0)", optimizer).attach(trainer, evaluator)
    handler.load_state_dict(scheduler.state_dict())
    trainer.on(kit.Events.EPOCH_COMPLETED)(lambda: evaluator.fire_event(kit.Events.COMPLETED))
    with pytest.warns(lrkit.ScheduleWarning, match="was made with lr 0.1 and its state with lr 0.05"):
        trainer.run(BATCHES, max_epochs=2)
    assert optimizer.param_groups[0]["lr"] == 0.05 / 4  # bound at 0.05, lowered twice


def test_defect_a_longer_run_lets_the_rate_rise_again(kit):
    trainer, optimizer, rates = plain(kit)
    cosine = kit.handlers.CosineAnnealingScheduler(optimizer, "lr", 0.1, 0.0, cycle_size=10)
    trainer.add_event_handler(kit.Events.ITERATION_STARTED, cosine)
    trainer.run(BATCHES, max_epochs=2)
    trainer.run(BATCHES, max_epochs=4)
    assert rates[9] < 0.003
    assert rates[10] == 0.1
    made = Training(kit, "cosine(to=0)").run(max_epochs=2)
    with pytest.raises(InputError, match="name the policy"):
        made.run(max_epochs=4)


# --- torch's names in ignite's own handlers -------------------------------------------------------


def seen_with(kit, make_handler, make_scheduler, groups=2):
    """The rates of each iteration, and those that ignite simulates before."""
    found = []
    for module in (torch.optim.lr_scheduler, lrkit.torch_names):
        optimizer = torch.optim.SGD(
            [{"params": [nn.Parameter(torch.ones(1))], "lr": 0.1 * (group + 1)} for group in range(groups)]
        )
        simulated = [None] * 8
        handler = make_handler(make_scheduler(module, optimizer), simulated)
        seen = [row[1:] for row in simulated if row is not None]

        def update(engine, batch, optimizer=optimizer, seen=seen):
            seen.append([group["lr"] for group in optimizer.param_groups])

        trainer = kit.Engine(update)
        trainer.add_event_handler(kit.Events.ITERATION_STARTED, handler)
        trainer.run(range(12))
        found.append(seen)
    return found


SCHEDULERS = {
    "StepLR": lambda m, o: m.StepLR(o, 3),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.9),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 8),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 2, T_mult=2),
    "OneCycleLR": lambda m, o: m.OneCycleLR(o, 1.0, total_steps=16, cycle_momentum=False),
}


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("to", [None, 0.3])
def test_torchs_names_have_ignites_warm_up(kit, name, to):
    simulates = name != "CosineAnnealingWarmRestarts"  # which ignite itself fails to simulate

    def handler(scheduler, simulated):
        return kit.handlers.create_lr_scheduler_with_warmup(
            scheduler, 0.0, 3, warmup_end_value=to, output_simulated_values=simulated if simulates else None
        )

    torchs, ours = seen_with(kit, handler, SCHEDULERS[name])
    np.testing.assert_allclose(ours, torchs, rtol=0, atol=1e-12)


def test_torchs_names_in_ignites_handler_begin_at_the_base(kit):
    def handler(scheduler, _):
        return kit.handlers.param_scheduler.LRScheduler(scheduler)

    torchs, ours = seen_with(kit, handler, SCHEDULERS["StepLR"])
    np.testing.assert_allclose(ours, torchs, rtol=0, atol=1e-12)
    torchs, ours = seen_with(kit, handler, SCHEDULERS["ExponentialLR"], groups=1)
    assert torchs[0] == [pytest.approx(0.09)]  # ignite asks for the rate of epoch 0, and torch has left that behind
    np.testing.assert_allclose(ours, [[0.1 * 0.9**step] for step in range(12)], rtol=0, atol=1e-12)


# --- what has changed when a trainer goes on --------------------------------------------------------------------------

POLICIES = [None, "keep", "stretch", "replace", "restart"]


def line(start, end, length=None, base=0.1):
    length = end if length is None else length
    return pytest.approx([base * max(1 - t / length, 0) for t in range(start, end)], abs=1e-12)


def used(made):
    return list(made.recorder.history().lr)


@pytest.fixture
def saved(kit, tmp_path):
    """The checkpoint after each iteration of a training that broke off."""
    Training(kit).save_every(kit.Events.ITERATION_COMPLETED, tmp_path).break_at(11).run_broken()
    return lambda iteration: tmp_path / f"checkpoint_{iteration}.pt"


def resumed(kit, path, schedule="linear(to=0)", *, without=(), epochs=4, **options):
    """A training that goes on, without some of what was saved."""
    made = Training(kit, schedule, **options)
    for each in without:
        made.saved.pop(each)
    made.load(path)
    made.trainer.state.max_epochs = epochs
    return made.run(max_epochs=epochs)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("without", [(), ("schedule",), ("optimizer",)])  # either has the schedule's state
@pytest.mark.parametrize(
    "change",
    [
        (10, {}, 10),
        (10, {"epochs": 6}, 20),
        (10, {"accumulate": 2}, 5),
        (10, {"accumulate": 5}, 2),
        (7, {}, 13),
        (7, {"epochs": 6}, 23),
        (7, {"accumulate": 2}, 7),  # after iterations 8, 10, …, 20
    ],
)
def test_the_length_is_what_is_done_and_what_is_left(kit, saved, change, policy, without):
    done, options, left = change
    if policy is None and options:
        with pytest.raises(InputError, match=f"over 20 steps.* over {done + left} steps.* name the policy"):
            resumed(kit, saved(done), without=without, **options)
        return
    made = resumed(kit, saved(done), without=without, policy=policy, **options)
    whole = {"keep": line(done, done + left, 20), "restart": line(0, left)}
    assert used(made)[done:] == whole.get(policy, line(done, done + left))


@pytest.mark.parametrize("without", [(), ("schedule",)])
def test_what_has_begun_anew_goes_on_without_a_policy_and_may_begin_anew_once_more(kit, saved, tmp_path, without):
    plan = "warmup(2) >> linear(to=0)"
    made = Training(kit, plan, policy="restart").load(saved(7))
    made.save_every(kit.Events.ITERATION_COMPLETED, tmp_path / "second").break_at(13).run_broken()
    right = [0.05, 0.1, *(0.1 * (1 - t / 11) for t in range(11))]
    assert used(made)[7:] == pytest.approx(right[: len(used(made)) - 7])
    second = tmp_path / "second" / "checkpoint_12.pt"
    assert used(resumed(kit, second, plan, without=without))[12:] == pytest.approx(right[5:])
    with pytest.raises(InputError, match=r"over 13 steps.* over 23 steps.* name the policy"):
        resumed(kit, second, plan, without=without, epochs=6)
    longer = used(resumed(kit, second, plan, without=without, epochs=6, policy="stretch"))
    assert longer[12:] == pytest.approx([0.1 * (1 - t / 21) for t in range(3, 21)])
    anew = used(resumed(kit, second, plan, without=without, policy="restart"))
    assert anew[12:] == pytest.approx([0.05, 0.1, *(0.1 * (1 - t / 6) for t in range(6))])


@pytest.mark.parametrize("policy", POLICIES)
def test_an_optimizer_that_was_made_with_another_rate(kit, saved, policy):
    def go_on():
        made = resumed(kit, saved(7), policy=policy, make=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9))
        return used(made)[7:]

    if policy in (None, "stretch"):
        with pytest.warns(lrkit.ScheduleWarning, match=r"made with lr 0\.05 and its state with lr 0\.1") as said:
            assert go_on() == line(7, 20)
        assert len(said) == 1
    else:
        right = {"keep": line(7, 20), "restart": line(0, 13, base=0.05), "replace": line(7, 20, base=0.05)}
        assert go_on() == right[policy]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", ["SGD", "AdamW"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_checkpoint_without_lrkit(kit, policy, kind, accumulate):
    def make(parameters):
        return getattr(torch.optim, kind)(parameters, lr=0.1)

    model = Training(kit).model
    optimizer = make(model.parameters())
    trainer = kit.create_supervised_trainer(model, optimizer, nn.functional.mse_loss)
    trainer.run(BATCHES, max_epochs=2)
    objects = {"model": model, "optimizer": optimizer, "trainer": trainer}
    made = Training(kit, policy=policy, make=make, accumulate=accumulate)
    given = {name: made.saved[name] for name in objects}
    kit.handlers.Checkpoint.load_objects(given, {name: each.state_dict() for name, each in objects.items()})
    made.trainer.state.max_epochs = 4
    done, total = 10 // accumulate, 20 // accumulate
    if policy in ("replace", "restart"):
        right = line(0, total - done) if policy == "restart" else line(done, total)
        assert used(made.run(max_epochs=4)) == right
    else:
        with pytest.raises(InputError, match=f"after {done} updates, is of a training without lrkit"):
            made.run(max_epochs=4)


@pytest.mark.parametrize("policy", POLICIES)
def test_another_rate_needs_a_policy(kit, tmp_path, policy):
    Training(kit, lr=0.1).save_every(kit.Events.EPOCH_COMPLETED, tmp_path).break_at(11).run_broken()
    made = Training(kit, lr=0.05, policy=policy)
    if policy is None:
        with pytest.raises(InputError, match=r"made with lr 0\.1, and lr 0\.05 is named now; name the policy"):
            made.load(tmp_path / "checkpoint_10.pt").run()
        return
    made.load(tmp_path / "checkpoint_10.pt").run()
    right = {"keep": line(10, 20), "restart": line(0, 10, base=0.05)}
    assert used(made)[10:] == right.get(policy, line(10, 20, base=0.05))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_trainer_that_has_run_without_lrkit_needs_a_policy(kit, policy):
    trainer, optimizer, _ = plain(kit)
    trainer.run(BATCHES, max_epochs=2)
    handler = kit.Schedule("linear(to=0)", optimizer, policy=policy).attach(trainer)
    seen = []
    trainer.on(kit.Events.ITERATION_STARTED)(lambda: seen.append(optimizer.param_groups[0]["lr"]))
    if policy in ("replace", "restart"):
        trainer.run(BATCHES, max_epochs=4)
        assert seen == (line(0, 10) if policy == "restart" else line(10, 20))
    else:
        with pytest.raises(InputError, match=r"after 10 updates, is of a training without lrkit.*; name the policy"):
            trainer.run(BATCHES, max_epochs=4)
        assert handler.scheduler is None
