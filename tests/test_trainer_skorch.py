"""Schedules, records and averaged weights in skorch's nets."""

import doctest
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
import lrkit.torch_names
from lrkit import InputError, ScheduleWarning

X = np.linspace(-1, 1, 45, dtype=np.float32)[:, None]
Y = X**2
PLATEAU = "plateau(factor=0.5, patience=0, threshold=0.5)"
EACH = 5  # batches of 8 in the 36 samples that are left of 45 when every fifth validates


@pytest.fixture
def kit():
    """What skorch has, and lrkit for it."""
    import skorch
    import skorch.callbacks
    import skorch.dataset

    import lrkit.trainers.skorch

    return types.SimpleNamespace(
        Net=skorch.NeuralNetRegressor,
        Classifier=skorch.NeuralNetClassifier,
        ValidSplit=skorch.dataset.ValidSplit,
        callbacks=skorch.callbacks,
        module=lrkit.trainers.skorch,
        **{name: getattr(lrkit.trainers.skorch, name) for name in lrkit.trainers.skorch.__all__},
    )


class Module(nn.Module):
    def __init__(self, outputs=1):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, outputs))

    def forward(self, x):
        return self.layers(x)


def make_net(kit, callbacks, *, max_epochs=4, **options):
    given = {"lr": 0.1, "optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "batch_size": 8, **options}
    return kit.Net(Module, max_epochs=max_epochs, callbacks=callbacks, verbose=0, **given)


def rates(net):
    """The rate of every update, as the callback recorded it."""
    found = [each.get("lr") for epoch in net.history[:, "batches"] for each in epoch]
    return [each for each in found if each is not None]


def weights(net):
    return torch.cat([each.detach().reshape(-1) for each in net.module_.parameters()])


def falling(steps):
    return 0.1 * (1 - np.arange(steps) / steps)


def test_examples_in_docstrings(kit):
    found = doctest.testmod(kit.module, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize(
    ("options", "steps"),
    [({}, 20), ({"train_split": None}, 24), ({"iterator_train__drop_last": True}, 16)],
)
def test_the_horizon_is_the_nets(kit, options, steps):
    net = make_net(kit, [kit.Schedule("linear(to=0)")], **options).fit(X, Y)
    assert rates(net) == pytest.approx(falling(steps))
    assert net.optimizer_.param_groups[0]["lr"] == 0
    assert net.history[:, "lr"] == pytest.approx(falling(steps)[steps // 4 - 1 :: steps // 4])


def test_lengths_in_epochs_are_the_nets(kit):
    net = make_net(kit, [kit.Schedule("staircase(every=1ep, factor=0.1)")], max_epochs=2).fit(X, Y)
    assert rates(net) == pytest.approx([0.1] * EACH + [0.01] * EACH)


def test_a_controller_is_told_what_it_monitors(kit):
    net = make_net(kit, [kit.Schedule(PLATEAU)]).fit(X, Y)
    plain = lrkit.parse(PLATEAU).bind(torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1))
    for loss in net.history[:, "valid_loss"]:
        plain.step(loss)
    assert net.optimizer_.param_groups[0]["lr"] == plain.get_last_lr()[0] < 0.1
    with pytest.raises(InputError, match="unknown monitor 'valid_loss', did you mean 'train_loss'"):
        make_net(kit, [kit.Schedule(PLATEAU)], train_split=None).fit(X, Y)
    net = make_net(kit, [kit.Schedule(PLATEAU, monitor="train_loss")], train_split=None).fit(X, Y)
    assert net.optimizer_.param_groups[0]["lr"] < 0.1


@pytest.mark.parametrize("schedule", ["warmup(25%) >> cosine(to=0)", PLATEAU])
def test_resumed_from_a_checkpoint_is_never_interrupted(kit, tmp_path, schedule):
    whole = make_net(kit, [kit.Schedule(schedule), kit.Recorder(tmp_path / "whole")]).fit(X, Y)

    class Stop(kit.callbacks.Callback):
        def on_batch_end(self, net, training=None, **_):
            if len(net.history) == 3 and training:
                raise RuntimeError("out of power")

    checkpoint = kit.callbacks.Checkpoint(dirname=tmp_path / "saved", monitor=None)
    broken = make_net(kit, [kit.Schedule(schedule), kit.Recorder(tmp_path / "mine"), checkpoint, Stop()])
    with pytest.raises(RuntimeError, match="out of power"):
        broken.fit(X, Y)
    checkpoint = kit.callbacks.Checkpoint(dirname=tmp_path / "saved", monitor=None)
    begin = kit.callbacks.LoadInitState(checkpoint)
    resumed = [kit.Schedule(schedule), kit.Recorder(tmp_path / "mine"), begin, checkpoint]
    resumed = make_net(kit, resumed, max_epochs=2).fit(X, Y)
    assert torch.equal(weights(resumed), weights(whole))
    assert rates(resumed) == rates(whole)
    assert lrkit.RunFolder.load(tmp_path / "mine") == lrkit.RunFolder.load(tmp_path / "whole")


def test_a_pickled_net_goes_on(kit):
    def make(**options):
        return make_net(kit, [kit.Schedule("linear(to=0)", epochs=4), kit.Recorder()], **options)

    whole = make().fit(X, Y)
    net = pickle.loads(pickle.dumps(make(max_epochs=2).fit(X, Y))).partial_fit(X, Y)
    assert torch.equal(weights(net), weights(whole))
    assert dict(net.callbacks_)["Recorder"].history() == dict(whole.callbacks_)["Recorder"].history()


def test_further_than_planned_needs_a_policy(kit):
    net = make_net(kit, [kit.Schedule("linear(to=0)")], max_epochs=2).fit(X, Y)
    with pytest.raises(InputError, match=r"over 10 steps.*over 20 steps.*name the policy"):
        net.partial_fit(X, Y)
    net.fit(X, Y)  # anew
    assert rates(net) == pytest.approx(falling(10))
    net = make_net(kit, [kit.Schedule("linear(to=0)", policy="stretch")], max_epochs=2).fit(X, Y).partial_fit(X, Y)
    assert rates(net) == pytest.approx([*falling(10), *falling(20)[10:]])


def test_many_calls_of_partial_fit_make_one_training(kit):
    net = make_net(kit, [kit.Schedule("linear(to=0)", epochs=4)], max_epochs=1)
    for _ in range(4):
        net.partial_fit(X, Y)
    assert rates(net) == pytest.approx(falling(20))


def test_data_without_a_length_needs_a_word(kit):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(zip(X, Y, strict=True))

    net = make_net(kit, [kit.Schedule("linear(to=0)")], train_split=None)
    with pytest.raises(InputError, match=r"has no length.*Schedule\(epoch_steps=\)"):
        net.fit(Stream(), None)
    net = make_net(kit, [kit.Schedule("linear(to=0)", epoch_steps=6)], train_split=None).fit(Stream(), None)
    assert rates(net) == pytest.approx(falling(24))


def test_a_grid_search_over_schedules(kit):
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV, KFold

    net = make_net(kit, [kit.Schedule("linear(to=0)")], train_split=None, max_epochs=3)
    assert clone(net).callbacks[0].get_params() == net.callbacks[0].get_params()
    texts = ["constant(0)", "linear(to=0)", "warmup(50%) >> cosine(to=0)"]
    grid = {"callbacks__Schedule__schedule": texts}
    search = GridSearchCV(net, grid, cv=KFold(2, shuffle=True, random_state=0), scoring="neg_mean_squared_error")
    search.fit(X, Y)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) == 3
    assert scores[0] == min(scores)  # no rate, no training
    best = search.best_params_["callbacks__Schedule__schedule"]
    alone = make_net(kit, [kit.Schedule(best)], train_split=None, max_epochs=3).fit(X, Y)
    assert torch.equal(weights(search.best_estimator_), weights(alone))


def test_it_gets_along_with_other_callbacks(kit, capsys):
    others = [kit.callbacks.ProgressBar(detect_notebook=False), kit.callbacks.EarlyStopping(patience=1, threshold=9)]
    callbacks = [kit.Schedule("linear(to=0)"), kit.Recorder(), *others]
    net = make_net(kit, callbacks).set_params(verbose=1).fit(X, Y)
    assert len(net.history) == 2  # nothing is better by a factor of nine, so it stops early
    assert rates(net) == pytest.approx(falling(20)[:10])
    assert " lr " in capsys.readouterr().out  # a column of the table


def test_the_record_is_that_of_the_training(kit, tmp_path):
    labels = (X[:, 0] > 0).astype(np.int64)
    given = {"optimizer__momentum": 0.9, "batch_size": 8, "lr": 0.1, "verbose": 0, "module__outputs": 2}
    callbacks = [kit.Schedule("linear(to=0)"), kit.Recorder(tmp_path / "run", task="signs", seed=3)]
    net = kit.Classifier(Module, criterion=nn.CrossEntropyLoss, max_epochs=2, callbacks=callbacks, **given)
    net.fit(X, labels)
    history = lrkit.RunFolder.load(tmp_path / "run")
    assert history.lr == pytest.approx(rates(net))
    losses = [each["train_loss"] for epoch in net.history[:, "batches"] for each in epoch if "train_loss" in each]
    assert np.array_equal(history.losses, np.float32(losses))
    assert [each.train_loss for each in history.epochs] == pytest.approx(net.history[:, "train_loss"])
    assert [each.valid_loss for each in history.epochs] == net.history[:, "valid_loss"]
    assert [dict(each.metrics) for each in history.epochs] == [
        {"valid_acc": each} for each in net.history[:, "valid_acc"]
    ]
    assert (history.made["task"], history.made["seed"], history.made["schedule"]) == ("signs", 3, "linear(to=0)")
    assert history.made["trainer"].startswith("skorch 1.")
    with pytest.raises(InputError, match="isn't empty"):
        net.fit(X, labels)


# --- schedule-free averaging --------------------------------------------------------------------------


def averaging(kit, name, callbacks, **options):
    import schedulefree

    options = {"optimizer": getattr(schedulefree, name), "optimizer__momentum": 0.9, "lr": 0.05, **options}
    if name.startswith("Adam"):
        del options["optimizer__momentum"]
    return kit.Net(Module, batch_size=8, max_epochs=4, verbose=0, callbacks=callbacks, **options)


@pytest.mark.parametrize("name", ["SGDScheduleFree", "AdamWScheduleFree"])
def test_validation_sees_averaged_weights_and_measuring_changes_nothing(kit, name):
    splits = {"train_split": kit.ValidSplit(5)}
    net = averaging(kit, name, [kit.Schedule("warmup(25%)"), kit.AveragedWeights()], **splits).fit(X, Y)
    blind = averaging(kit, name, [kit.Schedule("warmup(25%)"), kit.AveragedWeights()], train_split=None)
    train, valid = net.get_split_datasets(X, Y)
    blind.fit(train, y=None)
    assert torch.equal(weights(net), weights(blind))  # after it: the averages
    x, y = (torch.tensor(np.stack(each)) for each in zip(*valid, strict=True))
    loss = nn.functional.mse_loss(net.module_(x), y).item()
    assert net.history[-1, "valid_loss"] == pytest.approx(loss, rel=1e-5)


def test_defect_without_it_validation_can_not_be_trained_for(kit):
    with pytest.raises(Exception, match="not in train mode"):
        averaging(kit, "SGDScheduleFree", []).fit(X, Y)

    class Train(kit.callbacks.Callback):
        def on_train_begin(self, net, **_):
            net.optimizer_.train()

    naive = averaging(kit, "SGDScheduleFree", [Train()]).fit(X, Y)
    ours = averaging(kit, "SGDScheduleFree", [kit.AveragedWeights()]).fit(X, Y)
    assert naive.history[-1, "train_loss"] == ours.history[-1, "train_loss"]
    naive.optimizer_.eval()
    _, valid = naive.get_split_datasets(X, Y)
    x, y = (torch.tensor(np.stack(each)) for each in zip(*valid, strict=True))
    average = nn.functional.mse_loss(naive.module_(x), y).item()
    assert naive.history[-1, "valid_loss"] != pytest.approx(average, rel=1e-2)
    assert ours.history[-1, "valid_loss"] == pytest.approx(average, rel=1e-5)


def test_averaging_resumed_from_a_checkpoint_is_never_interrupted(kit, tmp_path):
    def make(*others, **options):
        callbacks = [kit.Schedule("warmup(25%)", epochs=4), kit.AveragedWeights(), *others]
        return averaging(kit, "AdamWScheduleFree", callbacks, **options)

    whole = make().fit(X, Y)
    checkpoint = kit.callbacks.Checkpoint(dirname=tmp_path, monitor=None)
    make(checkpoint).set_params(max_epochs=2).fit(X, Y)
    begin = kit.callbacks.LoadInitState(kit.callbacks.Checkpoint(dirname=tmp_path))
    resumed = make(begin).set_params(max_epochs=2).fit(X, Y)
    assert torch.equal(weights(resumed), weights(whole))
    further = make().set_params(max_epochs=2).fit(X, Y).partial_fit(X, Y)
    assert torch.equal(weights(further), weights(whole))


# --- what goes wrong without lrkit ---------------------------------------------------------------------


def plain_rates(net):
    found = []

    class Watch(type(net.callbacks[0]).__mro__[1]):
        def on_grad_computed(self, net, *_, **__):
            found.append(net.optimizer_.param_groups[0]["lr"])

    net.callbacks.append(Watch())
    return found


def test_defect_a_schedule_in_updates_moves_once_an_epoch(kit):
    scheduler = torch.optim.lr_scheduler.LinearLR
    options = {"start_factor": 0.1, "total_iters": 10}  # a warm-up over half of the training
    theirs = make_net(kit, [kit.callbacks.LRScheduler(scheduler, **options)])
    found = plain_rates(theirs)
    theirs.fit(X, Y)
    assert found == pytest.approx(np.repeat([0.01, 0.019, 0.028, 0.037], EACH))  # it never comes to 0.1
    ours = make_net(kit, [kit.Schedule("linear(10, start=0.1, to=1)")]).fit(X, Y)
    assert rates(ours) == pytest.approx([*np.linspace(0.01, 0.1, 11), *[0.1] * 9])


def test_defect_going_on_confuses_epochs_with_updates(kit):
    scheduler = torch.optim.lr_scheduler.LinearLR
    options = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 20, "step_every": "batch"}
    theirs = make_net(kit, [kit.callbacks.LRScheduler(scheduler, **options)], max_epochs=2)
    found = plain_rates(theirs)
    theirs.fit(X, Y).partial_fit(X, Y)
    assert found[:10] == pytest.approx(falling(20)[:10])
    assert found[-1] == pytest.approx(0.025)  # half as fast, since it begins again with its second update
    ours = make_net(kit, [kit.Schedule("linear(to=0)", epochs=4)], max_epochs=2).fit(X, Y).partial_fit(X, Y)
    assert rates(ours) == pytest.approx(falling(20))


def test_defect_a_resumed_plateau_has_forgotten_what_was_best(kit, tmp_path):
    def make(schedule, *others):
        return make_net(kit, [schedule, *others], max_epochs=1)

    def resumed(make_schedule):
        checkpoint = kit.callbacks.Checkpoint(dirname=tmp_path, monitor=None)
        make(make_schedule(), checkpoint).fit(X, Y)
        net = make(make_schedule(), kit.callbacks.LoadInitState(kit.callbacks.Checkpoint(dirname=tmp_path))).fit(X, Y)
        return net.optimizer_.param_groups[0]["lr"]

    def theirs():
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
        return kit.callbacks.LRScheduler(plateau, monitor="valid_loss", patience=0, factor=0.5, threshold=0.99)

    def ours():
        return kit.Schedule("plateau(factor=0.5, patience=0, threshold=0.99)", epochs=2)

    assert resumed(theirs) == 0.1  # two reports, neither better by 99 %, and each the first
    assert resumed(ours) == 0.05


# --- several optimizers ---------------------------------------------------------------------------


@pytest.fixture
def gan(kit, monkeypatch):
    """Makes nets with two optimizers, each of a module of its own."""

    class Gan(kit.Net):
        def initialize_module(self):
            torch.manual_seed(0)
            self.generator_, self.module_ = nn.Linear(1, 1), nn.Linear(1, 1)
            return self

        def initialize_optimizer(self):
            self.generator_optimizer_ = torch.optim.SGD(self.generator_.parameters(), lr=0.1, momentum=0.9)
            self.critic_optimizer_ = torch.optim.SGD(self.module_.parameters(), lr=0.1, momentum=0.9)
            return self

        def train_step(self, batch, **_):
            optimizers = (self.generator_optimizer_, self.critic_optimizer_)
            for optimizer in optimizers:
                optimizer.zero_grad()
            output = self.module_(self.generator_(batch[0]))
            loss = nn.functional.mse_loss(output, batch[1])
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            return {"loss": loss, "y_pred": output}

    Gan.__qualname__ = "Gan"  # a pickled net finds its class here
    monkeypatch.setattr(sys.modules[__name__], "Gan", Gan, raising=False)

    def make(*callbacks, max_epochs=4):
        return Gan(
            nn.Linear, max_epochs=max_epochs, batch_size=9, verbose=0, train_split=None, callbacks=list(callbacks)
        )

    return make


def one_each(kit, **options):
    return (
        kit.Schedule("linear(to=0)", optimizer="generator_optimizer", **options),
        kit.Schedule("warmup(50%) >> constant()", optimizer="critic_optimizer_", **options),
    )


def both_rates(net):
    names = ("generator_optimizer_lr", "critic_optimizer_lr")
    return [[batch[name] for epoch in net.history[:, "batches"] for batch in epoch] for name in names]


def state_of(net):
    return [each.tolist() for each in (*net.generator_.parameters(), *net.module_.parameters())]


def test_each_optimizer_has_a_schedule_of_its_own(kit, gan):
    net = gan(*one_each(kit)).fit(X, Y)
    falls, rises = both_rates(net)
    assert falls == pytest.approx(falling(20))
    assert rises == pytest.approx([0.1 * min(1, (step + 1) / 10) for step in range(20)])
    assert net.history[:, "critic_optimizer_lr"] == rises[4::5]


def test_several_schedules_go_on(kit, gan, tmp_path):
    whole = gan(*one_each(kit)).fit(X, Y)

    def saved():
        files = {"f_optimizer": None, "f_criterion": None, "f_params": None, "f_module": "module.pt"}
        others = {f"f_{name}": f"{name}.pt" for name in ("generator", "generator_optimizer", "critic_optimizer")}
        return kit.callbacks.Checkpoint(dirname=tmp_path, monitor=None, **files, **others)

    half = gan(*one_each(kit, epochs=4), saved(), max_epochs=2).fit(X, Y)
    loaded = gan(*one_each(kit, epochs=4), kit.callbacks.LoadInitState(saved()), max_epochs=2).fit(X, Y)
    unpickled = pickle.loads(pickle.dumps(half)).partial_fit(X, Y)
    for resumed in (loaded, unpickled, half.partial_fit(X, Y)):
        assert both_rates(resumed) == both_rates(whole)
        assert state_of(resumed) == state_of(whole)


def test_each_optimizer_has_a_record_of_its_own(kit, gan):
    names = ("generator_optimizer", "critic_optimizer")
    records = [(name, kit.Recorder(optimizer=name)) for name in names]
    net = gan(*one_each(kit), *records).fit(X, Y)
    histories = [dict(net.callbacks_)[name].history() for name in names]
    assert [history.lr.tolist() for history in histories] == both_rates(net)
    assert [history.epochs[-1].metrics for history in histories] == [{}, {}]


def test_averaged_weights_are_those_of_the_optimizer_that_is_named(kit, gan):
    net = gan(kit.AveragedWeights(optimizer="critic_optimizer"), max_epochs=1).fit(X, Y)
    assert net.history[-1, "train_loss"] > 0
    with pytest.raises(InputError, match=r"unknown optimizer .critic.\. Known: critic_optimizer, generator_optimizer"):
        gan(kit.AveragedWeights(optimizer="critic"), max_epochs=1).fit(X, Y)


def test_which_of_several_optimizers_is_asked_for(kit, gan):
    sentence = (
        r"optimizer must name one of the net's .*, which has no optimizer_ \(it has: critic_optimizer, generator_op"
    )
    for callback in (kit.Schedule("linear(to=0)"), kit.Recorder(), kit.AveragedWeights()):
        with pytest.raises(InputError, match=sentence):
            gan(callback).fit(X, Y)
    sentence = (
        "unknown optimizer 'generator_optimiser', did you mean 'generator_optimizer'. Known: critic_optimizer, gen"
    )
    with pytest.raises(InputError, match=sentence):
        gan(kit.Schedule("linear(to=0)", optimizer="generator_optimiser")).fit(X, Y)


def test_the_only_optimizer_needs_no_name(kit):
    for name, event in ((None, "lr"), ("optimizer", "optimizer_lr"), ("optimizer_", "optimizer_lr")):
        net = make_net(kit, [kit.Schedule("linear(to=0)", optimizer=name)]).fit(X, Y)
        assert net.history[-1, event] == pytest.approx(0.1 / 20)


# --- torch's names in skorch's own callback -------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "every"),
    [
        ("ReduceLROnPlateau", {"monitor": "train_loss", "patience": 0, "threshold": 0.9, "factor": 0.5}, "epoch"),
        ("ReduceLROnPlateau", {"monitor": "train_loss", "patience": 0, "threshold": 0.9, "factor": 0.5}, "batch"),
        ("CosineAnnealingLR", {"T_max": 8}, "epoch"),
        ("OneCycleLR", {"max_lr": 0.3, "total_steps": 40}, "batch"),
    ],
)
def test_torchs_names_are_policies_of_skorchs_own_callback(kit, name, arguments, every):
    found = []
    for module in (torch.optim.lr_scheduler, lrkit.torch_names):
        schedule = kit.callbacks.LRScheduler(policy=getattr(module, name), step_every=every, **arguments)
        net = make_net(kit, [schedule], max_epochs=3).fit(X, Y)
        net.partial_fit(X, Y)
        recorded = [[row["event_lr"]] for row in net.history] if every == "epoch" else net.history[:, "batches"]
        found.append([row if isinstance(row, float) else row.get("event_lr") for rows in recorded for row in rows])
    torchs, ours = found
    assert len(set(torchs)) > 2
    assert ours == [rate if rate is None else pytest.approx(rate, abs=1e-12) for rate in torchs]


# --- who else writes, and what is put around ------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear(to=0)", "plateau(patience=0, threshold=0.9)"])
def test_a_net_that_accelerate_prepares_goes_on_as_any_other(kit, schedule, capsys):
    from accelerate import Accelerator
    from skorch.hf import AccelerateMixin

    def trained(*bases, **options):
        net = type("Net", (*bases, kit.Net), {})(
            Module, lr=0.1, batch_size=8, max_epochs=2, verbose=0, **options,
            callbacks=[kit.Schedule(schedule, epochs=4, monitor="train_loss"), ("record", kit.Recorder())],
        )  # fmt: skip
        return net.fit(X, Y).partial_fit(X, Y)

    accelerated = trained(AccelerateMixin, accelerator=Accelerator(cpu=True))
    assert rates(accelerated) == rates(trained())
    assert dict(accelerated.callbacks_)["record"].history().lr.tolist() == rates(accelerated)
    assert len(set(rates(accelerated))) > 2


def test_a_rate_that_is_set_by_set_params_is_said_and_the_record_has_what_was_used(kit):
    schedule = kit.Schedule("linear(to=0)", epochs=4)
    net = make_net(kit, [schedule], max_epochs=2, train_split=None).fit(X, Y)
    net.set_params(lr=0.7)
    with pytest.warns(ScheduleWarning, match="lr of param group 0 was changed between two updates.* to 0.7"):
        net.partial_fit(X, Y)
    assert rates(net) == pytest.approx(falling(len(rates(net))))


# --- what has changed when a net goes on ------------------------------------------------------------------------------

POLICIES = [None, "keep", "stretch", "replace", "restart"]


def resumed(kit, folder, schedule, **options):
    """A net that goes on from what `saver` has saved after 2 epochs."""
    load = kit.callbacks.LoadInitState(kit.callbacks.Checkpoint(dirname=folder))
    return make_net(kit, [schedule, load], **{"max_epochs": 2, **options})


def saver(kit, folder):
    return kit.callbacks.Checkpoint(dirname=folder, monitor=None)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("batch_size", "epochs"), [(4, 4), (8, 6), (18, 4)])
def test_the_length_is_what_is_done_and_what_is_left(kit, tmp_path, batch_size, epochs, policy):
    make_net(kit, [kit.Schedule("linear(to=0)", epochs=4), saver(kit, tmp_path)], max_epochs=2).fit(X, Y)
    each = {4: 9, 8: 5, 18: 2}[batch_size]
    left = (epochs - 2) * each
    schedule = kit.Schedule("linear(to=0)", policy=policy, epochs=epochs)
    net = resumed(kit, tmp_path, schedule, max_epochs=2, batch_size=batch_size)
    if policy is None:
        with pytest.raises(InputError, match=f"over 20 steps.* over {10 + left} steps.* name the policy"):
            net.fit(X, Y)
        return
    net.fit(X, Y)
    whole = {"keep": [*falling(20)[10:], *[0.0] * 18], "restart": falling(left)}.get(policy, falling(10 + left)[10:])
    assert rates(net)[10:] == pytest.approx(whole[: 2 * each])


@pytest.mark.parametrize("policy", POLICIES)
def test_another_rate_of_the_net_needs_a_policy(kit, tmp_path, policy):
    make_net(kit, [kit.Schedule("linear(to=0)", epochs=4), saver(kit, tmp_path)], max_epochs=2).fit(X, Y)
    net = resumed(kit, tmp_path, kit.Schedule("linear(to=0)", policy=policy, epochs=4), lr=0.05)
    if policy is None:
        with pytest.raises(InputError, match=r"made with lr 0\.1, and lr 0\.05 is named now; name the policy"):
            net.fit(X, Y)
        return
    net.fit(X, Y)
    right = {"keep": falling(20)[10:], "restart": falling(10) / 2}.get(policy, falling(20)[10:] / 2)
    assert rates(net)[10:] == pytest.approx(right)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("way", ["checkpoint", "partial_fit"])
def test_a_net_that_was_trained_without_lrkit_needs_a_policy(kit, tmp_path, policy, way):
    schedule = kit.Schedule("linear(to=0)", policy=policy, epochs=4)
    first = make_net(kit, [saver(kit, tmp_path)], max_epochs=2).fit(X, Y)
    if way == "checkpoint":
        go_on = resumed(kit, tmp_path, schedule).fit
    else:
        first.callbacks.append(schedule)
        first.initialize_callbacks()
        go_on = first.partial_fit
    if policy in ("replace", "restart"):
        net = go_on(X, Y)
        assert rates(net) == pytest.approx(falling(10) if policy == "restart" else falling(20)[10:])
    else:
        with pytest.raises(InputError, match=r"after 10 updates, is of a training without lrkit.*; name the policy"):
            go_on(X, Y)


@pytest.mark.parametrize("epochs", [None, 4])  # of the whole training, as before
def test_what_has_begun_anew_goes_on_without_a_policy(kit, tmp_path, epochs):
    make_net(kit, [kit.Schedule("linear(to=0)", epochs=2), saver(kit, tmp_path / "a")], max_epochs=2).fit(X, Y)
    anew = kit.Schedule("warmup(2) >> linear(to=0)", policy="restart", epochs=4)
    load = kit.callbacks.LoadInitState(kit.callbacks.Checkpoint(dirname=tmp_path / "a"))
    second = saver(kit, tmp_path / "b")
    make_net(kit, [anew, load, second], max_epochs=1).fit(X, Y)
    schedule = kit.Schedule("warmup(2) >> linear(to=0)", epochs=epochs)
    net = resumed(kit, tmp_path / "b", schedule, max_epochs=1).fit(X, Y)
    right = lrkit.parse("warmup(2) >> linear(to=0)").over(10)(range(10), 0.1)
    assert rates(net)[10:] == pytest.approx(right)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("way", ["checkpoint", "partial_fit", "pickle", "set, then pickle"])
@pytest.mark.parametrize("change", [({}, {}, 10), ({"batch_size": 4}, {}, 18), ({"max_epochs": 4}, {"epochs": 6}, 20)])
def test_a_net_goes_on_with_parameters_that_were_set(kit, tmp_path, way, change, policy):
    given, mine, left = change
    mine = {"policy": policy, "epochs": 4, **mine}
    net = make_net(kit, [kit.Schedule("linear(to=0)", epochs=4), saver(kit, tmp_path)], max_epochs=2).fit(X, Y)
    if way == "checkpoint":
        net = resumed(kit, tmp_path, kit.Schedule("linear(to=0)", **mine), **given)
    else:
        net = pickle.loads(pickle.dumps(net)) if way == "pickle" else net
        net.set_params(**given, **{f"callbacks__Schedule__{name}": value for name, value in mine.items()})
        net = pickle.loads(pickle.dumps(net)) if way == "set, then pickle" else net
    go_on = net.fit if way == "checkpoint" else net.partial_fit
    if policy is None and left != 10:
        with pytest.raises(InputError, match=f"over 20 steps.* over {10 + left} steps.* name the policy"):
            go_on(X, Y)
        return
    right = {"keep": [*falling(20)[10:], *[0.0] * (left - 10)], "restart": falling(left)}
    assert rates(go_on(X, Y))[10:] == pytest.approx(right.get(policy, falling(10 + left)[10:]))


@pytest.mark.parametrize("pickled", [False, True])
def test_a_net_begins_anew_with_another_schedule_that_was_set(kit, pickled):
    def go_on(net, **options):
        net.set_params(**{f"callbacks__Schedule__{name}": value for name, value in options.items()})
        return (pickle.loads(pickle.dumps(net)) if pickled else net).partial_fit(X, Y)

    net = make_net(kit, [kit.Schedule("linear(to=0)", epochs=2)], max_epochs=2).fit(X, Y)
    net.set_params(max_epochs=1)
    net = go_on(net, policy="restart", schedule="warmup(2) >> linear(to=0)", epochs=4)
    net = go_on(net, policy=None)
    right = lrkit.parse("warmup(2) >> linear(to=0)").over(10)(range(10), 0.1)
    assert rates(net)[10:] == pytest.approx(right)


def test_a_net_that_is_pickled_and_fitted_begins_with_nothing_of_before(kit):
    net = pickle.loads(pickle.dumps(make_net(kit, [kit.Schedule("linear(to=0)")]).fit(X, Y)))
    net.set_params(callbacks__Schedule__schedule="cosine(to=0)")
    assert rates(net.fit(X, Y)) == pytest.approx(lrkit.cosine(to=0).over(20)(range(20), 0.1))


@pytest.mark.parametrize("policy", POLICIES)
def test_an_optimizer_that_was_made_with_another_rate(kit, tmp_path, policy):
    """A rate that isn't the net's `lr`, but an argument of the optimizer."""
    make_net(kit, [kit.Schedule("linear(to=0)", epochs=4), saver(kit, tmp_path)], max_epochs=2).fit(X, Y)
    net = resumed(kit, tmp_path, kit.Schedule("linear(to=0)", policy=policy), optimizer__lr=0.05)
    if policy in (None, "stretch"):
        with pytest.warns(ScheduleWarning, match=r"made with lr 0\.05 and its state with lr 0\.1") as said:
            net.fit(X, Y)
        assert len(said) == 1
    else:
        net.fit(X, Y)
    right = {"replace": falling(20)[10:] / 2, "restart": falling(10) / 2}
    assert rates(net)[10:] == pytest.approx(right.get(policy, falling(20)[10:]))
