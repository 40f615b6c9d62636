"""lrkit in the real Trainer of transformers: rates, logs, checkpoints, records; what goes wrong there without it."""

import doctest
import importlib
from functools import partial

import numpy as np
import pytest
import torch

import lrkit
from lrkit import InputError, InputTypeError

STEPS = 12  # of 4 epochs: 5 batches, two of which make an update, and the last one another
PLAN = "warmup(25%) >> cosine(to=0)"
PLATEAU = "warmup(2) >> plateau(patience=0, threshold=1000)"  # each evaluation after the first cuts the rate


@pytest.fixture(scope="module")
def cases():
    import transformers_cases

    return transformers_cases


@pytest.fixture(scope="module")
def lr():
    import lrkit.trainers.transformers as module

    return module


def rates(plan, steps=STEPS, *, base=0.1, start=0, **sizes):
    return lrkit.parse(plan).over(steps, **sizes)(np.arange(start, steps), base=base).tolist()


@pytest.mark.parametrize("name", ["transformers", "transformers_record", "transformers_metrics"])
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"lrkit.trainers.{name}"), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0
    assert found.failed == 0


# --- the callback ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [PLAN, "staircase(every=1ep, factor=0.5)"])
def test_the_length_is_the_trainers_and_the_logs_show_the_rates_that_updates_used(lr, cases, tmp_path, plan):
    trainer = cases.make_trainer(tmp_path, lr.Schedule(plan))
    trainer.train()
    assert trainer.look.lr == rates(plan, epoch_steps=3)
    assert cases.logged(trainer) == trainer.look.lr
    assert trainer.state.global_step == STEPS


def test_groups_keep_their_bases_and_a_second_training_begins_anew(lr, cases, tmp_path):
    model = cases.Line()
    groups = [{"params": model.hidden.parameters(), "lr": 0.01}, {"params": model.out.parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    schedule = lr.Schedule("lr: linear(to=0); momentum: linear(to=0.5)")
    trainer = cases.make_trainer(tmp_path, schedule, model=model, optimizers=(optimizer, None), max_steps=4)
    for _ in range(2):
        trainer.look.rates.clear()
        trainer.train()
        assert trainer.look.rates == [[base * (1 - t / 4) for base in (0.01, 0.1)] for t in range(4)]
        assert optimizer.param_groups[0]["momentum"] == pytest.approx(0.45)


def test_a_plan_without_lr_leaves_the_rates_to_the_trainer(lr, cases, tmp_path):
    trainer = cases.make_trainer(tmp_path, lr.Schedule("weight_decay: linear(to=0)"), weight_decay=0.2, max_steps=4)
    trainer.train()
    assert trainer.look.lr == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.0, 0.0]


@pytest.mark.parametrize(("plan", "restored"), [(PLAN, False), (PLATEAU, True)])
def test_resumed_is_never_interrupted(lr, cases, tmp_path, plan, restored):
    def train(folder, resume=None, stop=None):
        trainer = cases.make_trainer(
            tmp_path / folder,
            lr.Schedule(plan),
            stop=stop,
            eval_strategy="epoch",
            restore_callback_states_from_checkpoint=restored,
        )
        record = lr.record(trainer, tmp_path / f"record of {folder}", task="a line")
        trainer.train(resume_from_checkpoint=resume)
        return trainer, record

    whole, recorded = train("whole")
    train("broken off", stop=5)
    rest, _ = train("broken off", resume=str(tmp_path / "broken off/checkpoint-5"))
    assert rest.look.rates == whole.look.rates[5:]
    assert torch.equal(rest.look.weights[-1], whole.look.weights[-1])
    assert cases.logged(rest) == cases.logged(whole)
    if plan == PLATEAU:
        assert whole.look.lr == pytest.approx([0.05] + [0.1] * 5 + [0.01] * 3 + [0.001] * 3)

    history = lrkit.RunFolder.load(tmp_path / "record of broken off")
    assert history == recorded.history() == lrkit.RunFolder.load(tmp_path / "record of whole")
    assert history.lrs.tolist() == whole.look.rates
    assert [each.step for each in history.epochs] == [3, 6, 9, 12]
    assert (history.made["schedule"], history.made["task"], history.made["steps"]) == (plan, "a line", STEPS)


def test_a_changed_length_is_refused_until_a_policy_is_named(lr, cases, tmp_path):
    """The Trainer's own schedule jumps: from 0.05 back to 0.0708, by what it would have been in the longer training."""

    def resume(folder, *callbacks):
        trainer = cases.make_trainer(tmp_path / folder, *callbacks, num_train_epochs=8)
        trainer.train(resume_from_checkpoint=str(tmp_path / folder / "checkpoint-6"))
        return trainer.look.lr

    cases.make_trainer(tmp_path / "theirs", stop=6).train()
    assert resume("theirs")[:3] == pytest.approx([0.05, 0.1 * 17 / 24, 0.1 * 16 / 24])  # and no word about it
    with pytest.raises(InputError, match="this checkpoint, after 6 updates, is of a training without lrkit; name the"):
        resume("theirs", lr.Schedule("linear(to=0)"))
    assert resume("theirs", lr.Schedule("linear(to=0)", policy="replace")) == rates("linear(to=0)", 24, start=6)
    assert resume("theirs", lr.Schedule("linear(to=0)", policy="restart")) == rates("linear(to=0)", 18)

    cases.make_trainer(tmp_path / "ours", lr.Schedule("linear(to=0)"), stop=6).train()
    with pytest.raises(InputError, match=r"12 steps.* and 'linear\(to=0\)' over 24 steps is bound; name the policy"):
        resume("ours", lr.Schedule("linear(to=0)"))
    assert resume("ours", lr.Schedule("linear(to=0)", policy="keep")) == rates("linear(to=0)", start=6) + [0.0] * 12
    assert resume("ours", lr.Schedule("linear(to=0)", policy="stretch")) == rates("linear(to=0)", 24, start=6)
    assert resume("ours", lr.Schedule("constant()", policy="replace")) == [0.1] * 18


def test_a_checkpoint_without_optimizer_goes_on_where_it_was(lr, cases, tmp_path):
    """The Trainer's own schedule begins anew there and ends at half the rate."""

    def train(*callbacks, resume=None, stop=None):
        trainer = cases.make_trainer(tmp_path, *callbacks, stop=stop, save_only_model=True)
        trainer.train(resume_from_checkpoint=resume)
        return trainer.look.lr

    checkpoint = str(tmp_path / "checkpoint-6")
    train(stop=6)
    assert train(resume=checkpoint) == pytest.approx(rates("linear(to=0)")[:6])
    with pytest.raises(InputError, match="this checkpoint, after 6 updates, is of a training without lrkit"):
        train(lr.Schedule("linear(to=0)"), resume=checkpoint)
    train(lr.Schedule("linear(to=0)"), stop=6)
    assert train(lr.Schedule("linear(to=0)"), resume=checkpoint) == rates("linear(to=0)", start=6)
    with pytest.raises(InputError, match="name the policy"):
        train(lr.Schedule("constant()"), resume=checkpoint)


@pytest.mark.parametrize("without_optimizer", [False, True])
def test_the_same_trainer_goes_on_with_its_own_checkpoint(lr, cases, tmp_path, without_optimizer):
    schedule = lr.Schedule(PLAN)
    trainer = cases.make_trainer(
        tmp_path, schedule, stop=5, save_steps=4, save_strategy="steps", save_only_model=without_optimizer
    )
    trainer.train()
    trainer.look.stop = None
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert trainer.look.lr == rates(PLAN)[:5] + rates(PLAN, start=4)


def test_controllers_hear_evaluations_within_the_training_alone(lr, cases, tmp_path):
    plan = "plateau(patience=5, smoothing=0.5)"
    schedule = lr.Schedule(plan, monitor="eval_far_loss")
    sets = {"near": cases.Data(12), "far": cases.Data(20)}
    trainer = cases.make_trainer(tmp_path, schedule, valid=sets, eval_strategy="epoch", eval_on_start=True)
    record = lr.record(trainer)
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    found = [each["eval_far_loss"] for each in trainer.state.log_history if "eval_far_loss" in each]
    assert len(found) == 6  # at the start, after each epoch, and afterwards
    plain = lrkit.parse(plan).bind(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1))
    for loss in found[1:5]:
        plain.step(loss)
    assert schedule.scheduler.state_dict()["controllers"] == plain.state_dict()["controllers"]
    assert [each.metrics["far_loss"] for each in record.history().epochs] == found[1:5]
    assert record.history().epochs[0].valid_loss == record.history().epochs[0].metrics["near_loss"]


def test_other_evaluations_are_no_reports_and_not_the_loss_of_the_record(lr, cases, tmp_path):
    from transformers import TrainerCallback

    class Test(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 1:
                self.trainer.evaluate(cases.Data(4), metric_key_prefix="test")

    def measure(prediction):
        return {"log_loss": 7.0, "startup_runtime": 3.0}

    schedule, test = lr.Schedule("plateau()"), Test()
    trainer = cases.make_trainer(tmp_path, schedule, test, measure=measure, eval_strategy="epoch", num_train_epochs=2)
    test.trainer = trainer
    record = lr.record(trainer)
    trainer.train()
    losses = [each["eval_loss"] for each in trainer.state.log_history if "eval_loss" in each]
    assert [each.valid_loss for each in record.history().epochs] == losses
    assert set(record.history().epochs[0].metrics) == {
        "log_loss", "startup_runtime", "test_loss", "test_log_loss", "test_startup_runtime",
    }  # fmt: skip  # more to a line reads better
    assert schedule.scheduler.state_dict()["controllers"]["lr"]["best"] == min(losses)


def test_a_controller_that_would_never_be_told_is_refused_or_warned_of(lr, cases, tmp_path):
    with pytest.raises(InputError, match=r"'plateau\(.*\)' goes by evaluations, and eval_strategy is 'no'"):
        cases.make_trainer(tmp_path, lr.Schedule("plateau()")).train()
    once = cases.make_trainer(
        tmp_path, lr.Schedule("plateau()", monitor="f1"), eval_strategy="epoch", num_train_epochs=1
    )
    with pytest.warns(UserWarning, match="no evaluation has f1"):
        once.train()


def test_after_a_trial_the_same_trainer_goes_on_from_a_checkpoint(lr, cases, tmp_path):
    whole = cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)"), save_strategy="steps", save_steps=6)
    whole.train()
    trainer = cases.make_trainer(tmp_path / "other", lr.Schedule("linear(to=0)"), max_steps=4)
    trainer.train()
    trainer.args.max_steps = 12
    trainer.look.rates.clear()
    trainer.train(resume_from_checkpoint=f"{tmp_path}/checkpoint-6")
    assert trainer.look.lr == whole.look.lr[6:]


def test_a_record_is_replaced_only_where_that_was_asked_for(lr, cases, tmp_path):
    trainer = cases.make_trainer(tmp_path, num_train_epochs=1)
    record = lr.record(trainer, tmp_path / "record")
    with pytest.raises(InputError, match="recorded already"):
        lr.record(trainer)
    trainer.train()
    assert len(record.history().lr) == 3
    trainer.optimizer.step()  # nothing listens any more
    assert len(record.history().lr) == 3
    with pytest.raises(InputError, match="give overwrite=True"):
        trainer.train()
    assert len(lrkit.RunFolder.load(tmp_path / "record").lr) == 3


def test_a_controller_goes_by_the_metric_that_it_names(lr, cases, tmp_path):
    plan = "plateau(patience=0, mode=max, metric=score, factor=0.5)"
    trainer = cases.make_trainer(
        tmp_path,
        lr.Schedule(plan),
        eval_strategy="epoch",
        measure=lambda found: {"score": -float(len(found.predictions))},
    )
    trainer.train()
    assert trainer.look.lr == [0.1] * 6 + [0.05] * 3 + [0.025] * 3


def test_what_is_wrong_is_said(lr, cases, tmp_path):
    with pytest.raises(
        InputError, match=r"no evaluation has f1, that 'plateau.*' goes by; there are loss \(monitor=\)"
    ):
        cases.make_trainer(tmp_path, lr.Schedule("plateau()", monitor="f1"), eval_strategy="epoch").train()
    with pytest.raises(InputError, match=r"a ReduceLROnPlateau can't be led by Schedule.*: leave lr_scheduler_type"):
        cases.make_trainer(
            tmp_path, lr.Schedule("plateau()"), lr_scheduler_type="reduce_lr_on_plateau", eval_strategy="epoch"
        ).train()
    model = cases.Line()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    both = (optimizer, lrkit.linear(to=0).bind(optimizer, steps=STEPS))
    with pytest.raises(InputError, match="optimizers= has a schedule of lrkit already"):
        cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)"), model=model, optimizers=both).train()
    with pytest.raises(InputError, match="policy must be one of"):
        lr.Schedule("linear(to=0)", policy="strech")
    with pytest.raises(InputTypeError, match="monitor must be the name of a metric, not 3"):
        lr.Schedule("linear(to=0)", monitor=3)
    with pytest.raises(InputTypeError, match="trainer must be a transformers Trainer, not Line"):
        lr.record(model)


# --- optimizers= ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [PLAN, PLATEAU])
def test_a_bound_plan_in_optimizers_goes_on_with_a_checkpoint(cases, tmp_path, plan):
    def train(resume=None, stop=None):
        model = cases.Line()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        trainer = cases.make_trainer(
            tmp_path,
            model=model,
            optimizers=(optimizer, lrkit.parse(plan).bind(optimizer, steps=STEPS)),
            stop=stop,
            eval_strategy="epoch",
            metric_for_best_model="loss",
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    whole = train()
    train(stop=5)
    rest = train(resume=str(tmp_path / "checkpoint-5"))
    assert rest.look.lr == whole.look.lr[5:]
    assert torch.equal(rest.look.weights[-1], whole.look.weights[-1])
    expected = rates(PLAN) if plan == PLAN else pytest.approx([0.05] + [0.1] * 5 + [0.01] * 3 + [0.001] * 3)
    assert whole.look.lr == expected
    if plan == PLAN:
        assert cases.logged(whole)[:-1] == whole.look.lr[1:]  # the log is read when the next rate is there already


# --- what goes wrong without ----------------------------------------------------------------------------


def test_no_update_is_made_at_a_rate_of_zero(lr, cases, tmp_path):
    theirs = cases.make_trainer(tmp_path, warmup_steps=4, max_steps=4)
    before = torch.cat([each.detach().flatten().clone() for each in theirs.model.parameters()])
    theirs.train()
    assert theirs.look.lr == pytest.approx([0.0, 0.025, 0.05, 0.075])
    assert torch.equal(theirs.look.weights[0], before)  # a batch for nothing

    ours = cases.make_trainer(tmp_path, lr.Schedule("warmup(4)"), max_steps=4)
    ours.train()
    assert ours.look.lr == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert not torch.equal(ours.look.weights[0], before)


def test_a_plateau_can_have_a_warmup(lr, cases, tmp_path):
    """warmup_steps is ignored with reduce_lr_on_plateau, without a word."""
    theirs = cases.make_trainer(
        tmp_path, lr_scheduler_type="reduce_lr_on_plateau", warmup_steps=4, eval_strategy="epoch"
    )
    theirs.train()
    assert theirs.look.lr[:4] == [0.1] * 4
    ours = cases.make_trainer(tmp_path, lr.Schedule("warmup(4) >> plateau()"), eval_strategy="epoch")
    ours.train()
    assert ours.look.lr[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])


def test_groups_end_at_the_rate_that_was_asked_for(lr, cases, tmp_path):
    def ends(*callbacks, **options):
        model = cases.Line()
        groups = [{"params": model.hidden.parameters(), "lr": 0.01}, {"params": model.out.parameters()}]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        trainer = cases.make_trainer(tmp_path, *callbacks, model=model, optimizers=(optimizer, None), **options)
        trainer.train()
        return [group["lr"] for group in optimizer.param_groups]

    assert ends(lr_scheduler_type="polynomial", lr_scheduler_kwargs={"lr_end": 0.005}) == pytest.approx([0.0005, 0.005])
    assert ends(lr.Schedule(lrkit.linear(to=lrkit.absolute(0.005)))) == pytest.approx([0.005, 0.005])


# --- records, schedule-free -----------------------------------------------------------------------------


def test_the_loss_of_an_update_is_what_the_trainer_logs(lr, cases, tmp_path):
    class Scaled(cases.Line):
        """Divides by the number of items in the update, as the language models of transformers do."""

        def forward(self, x, labels=None, num_items_in_batch=None, **kwargs):
            found = super().forward(x, labels)
            if num_items_in_batch is not None:
                found["loss"] = found["loss"] * len(x) / num_items_in_batch
            return found

    for model in (cases.Line(), Scaled()):
        trainer = cases.make_trainer(tmp_path, model=model, num_train_epochs=2)
        record = lr.record(trainer)
        trainer.train()
        theirs = [each["loss"] for each in trainer.state.log_history if "loss" in each]
        history = record.history()
        assert history.losses.tolist() == pytest.approx(theirs)
        assert [each.step for each in history.epochs] == [3, 6]  # nothing was evaluated, so they are the epochs
        assert history.epochs[0].train_loss == pytest.approx(np.average(theirs[:3], weights=[16, 16, 4]))


def test_a_record_begun_late_or_where_another_is(lr, cases, tmp_path):
    trainer = cases.make_trainer(tmp_path, stop=6)
    trainer.train()
    late = cases.make_trainer(tmp_path, save_strategy="epoch")
    record = lr.record(late, tmp_path / "record")
    with pytest.raises(InputError, match="nothing was recorded yet"):
        record.history()
    late.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert record.history().lr.tolist() == late.look.lr
    again = cases.make_trainer(tmp_path)
    lr.record(again, tmp_path / "record")
    with pytest.raises(InputError, match="isn't empty"):
        again.train()


def test_schedule_free_is_trained_by_a_warmup_and_measured_at_its_average(lr, cases, tmp_path):
    import schedulefree

    losses = []
    for trained_by_hand in (True, False):
        model = cases.Line()
        optimizer = schedulefree.SGDScheduleFree(model.parameters(), lr=0.1)
        loader = torch.utils.data.DataLoader(cases.Data(), batch_size=8)
        if trained_by_hand:
            lrkit.warmup(4).bind(optimizer)
            optimizer.train()
            for batch in [*loader, *loader]:
                optimizer.zero_grad()
                model(**batch)["loss"].backward()
                optimizer.step()
            optimizer.eval()
            with torch.no_grad():
                losses.append(float(model(cases.Data(12).x, 2 * cases.Data(12).x + 1)["loss"]))
            continue
        trainer = cases.make_trainer(
            tmp_path,
            lr.Schedule("warmup(4)"),
            model=model,
            optimizers=(optimizer, None),
            num_train_epochs=2,
            gradient_accumulation_steps=1,
            train_sampling_strategy="sequential",
            max_grad_norm=0,
        )
        trainer.train()
        assert trainer.look.lr == pytest.approx([0.025, 0.05, 0.075] + [0.1] * 7)
        assert optimizer.param_groups[0]["train_mode"]  # nothing was evaluated, so the average isn't in the model
        losses.append(trainer.evaluate()["eval_loss"])
        assert not optimizer.param_groups[0]["train_mode"]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def layerwise(cases, rate=0.1):
    """A model with an optimizer for each parameter, stepped in the backward pass, and the Trainer's dummy for them."""
    from transformers.trainer_pt_utils import LayerWiseDummyOptimizer

    class Seen(torch.optim.SGD):
        used = ()

        def step(self, closure=None):
            self.used = [*self.used, self.param_groups[0]["lr"]]
            return super().step(closure)

    model = cases.Line()
    optimizers = {each: Seen([each], lr=rate) for each in model.parameters()}

    def step(parameter):
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for each in model.parameters():
        each.register_post_accumulate_grad_hook(step)
    return model, optimizers, LayerWiseDummyOptimizer(optimizers, lr=rate)


@pytest.mark.parametrize("stop", [None, 7])
def test_an_optimizer_for_each_parameter_is_followed(lr, cases, tmp_path, stop):
    def train(stop=None, resume=None):
        model, optimizers, dummy = layerwise(cases)
        callback = lr.Schedule("warmup(2) >> linear(to=0)")
        trainer = cases.make_trainer(
            tmp_path, callback, stop=stop, model=model, optimizers=(dummy, None), gradient_accumulation_steps=1
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer, [each.used for each in optimizers.values()]

    right = rates("warmup(2) >> linear(to=0)", 20)
    trainer, used = train(stop)
    assert used == [pytest.approx(right[:stop])] * 4
    assert cases.logged(trainer)[: len(used[0])] == pytest.approx(right[: len(used[0])])
    if stop is not None:
        _, used = train(resume=True)
        assert used == [pytest.approx(right[stop:])] * 4


def test_an_optimizer_for_each_parameter_has_a_controller_that_hears_the_evaluations(lr, cases, tmp_path):
    model, optimizers, dummy = layerwise(cases)
    cases.make_trainer(
        tmp_path,
        lr.Schedule("plateau(patience=0, threshold=0.99, factor=0.5)"),
        model=model,
        optimizers=(dummy, None),
        gradient_accumulation_steps=1,
        eval_strategy="epoch",
    ).train()
    found = [each.used for each in optimizers.values()]
    assert found == [found[0]] * 4
    assert sorted(set(found[0]), reverse=True)[1] == pytest.approx(0.05)


# --- what has changed when a training goes on ---------------------------------------------------------------------

POLICIES = [None, "keep", "stretch", "replace", "restart"]


@pytest.mark.parametrize(
    "change",
    [({"per_device_train_batch_size": 4}, 20), ({"gradient_accumulation_steps": 1}, 20), ({"num_train_epochs": 6}, 18)],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_another_length_needs_a_policy(lr, cases, tmp_path, change, policy):
    options, total = change
    cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)"), stop=6).train()
    trainer = cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)", policy=policy), **options)
    train = partial(trainer.train, resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    if policy is None:
        with pytest.raises(InputError, match=f"over 12 steps.* over {total} steps.* name the policy"):
            train()
        return
    train()
    right = {
        "keep": rates("linear(to=0)", start=6) + [0.0] * (total - 12),
        "restart": rates("linear(to=0)", total - 6),
    }
    assert trainer.look.lr == right.get(policy, rates("linear(to=0)", total, start=6))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("only_model", [False, True])
def test_another_learning_rate_needs_a_policy(lr, cases, tmp_path, policy, only_model):
    options = {"save_only_model": only_model}
    cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)"), stop=6, **options).train()
    trainer = cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)", policy=policy), learning_rate=0.05, **options)
    train = partial(trainer.train, resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    if policy is None:
        with pytest.raises(InputError, match=r"made with lr 0\.1, and lr 0\.05 is named now; name the policy"):
            train()
        return
    train()
    right = {"keep": rates("linear(to=0)", start=6), "restart": [each / 2 for each in rates("linear(to=0)", 6)]}
    assert trainer.look.lr == pytest.approx(right.get(policy, [each / 2 for each in rates("linear(to=0)", start=6)]))


def test_param_groups_keep_their_ratios_at_another_learning_rate(lr, cases, tmp_path):
    class Layered(cases.Trainer):
        def create_optimizer(self, model=None):
            head = {"params": self.model.out.parameters(), "lr": 10 * self.args.learning_rate}
            groups = [{"params": self.model.hidden.parameters()}, head]
            self.optimizer = torch.optim.AdamW(groups, lr=self.args.learning_rate)
            return self.optimizer

    def train(resume=None, stop=None, **options):
        made = cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)", **options), stop=stop, learning_rate=rate)
        made.__class__ = Layered
        made.train(resume_from_checkpoint=resume)
        return made.look.rates

    rate = 0.1
    train(stop=6)
    checkpoint = str(tmp_path / "checkpoint-6")
    assert train(checkpoint)[0] == pytest.approx([0.05, 0.5])  # as it was needs no word
    rate = 0.05
    assert train(checkpoint, policy="replace")[0] == pytest.approx([0.025, 0.25])


@pytest.mark.parametrize("only_model", [False, True])
def test_a_plateau_goes_on_from_any_checkpoint(lr, cases, tmp_path, only_model):
    plan = "plateau(patience=0, threshold=0.9, factor=0.5)"
    options = {"eval_strategy": "epoch", "save_strategy": "epoch", "save_only_model": only_model}
    whole = cases.make_trainer(tmp_path / "whole", lr.Schedule(plan), **options)
    whole.train()
    assert whole.look.lr[-1] < whole.look.lr[6] < whole.look.lr[0]
    trainer = cases.make_trainer(tmp_path / "whole", lr.Schedule(plan), **options)
    trainer.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-6"))
    known = 3 if only_model else 6  # without its moments the optimizer goes elsewhere, and so do the evaluations
    assert trainer.look.lr[:known] == whole.look.lr[6 : 6 + known]


def test_what_has_begun_anew_goes_on_without_a_policy(lr, cases, tmp_path):
    plan = "warmup(2) >> linear(to=0)"
    cases.make_trainer(tmp_path, lr.Schedule("linear(to=0)"), stop=2).train()

    def train(resume, stop=None, policy=None, **options):
        trainer = cases.make_trainer(tmp_path, lr.Schedule(plan, policy=policy), stop=stop, **options)
        trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{resume}"))
        return trainer.look.lr

    assert train(2, stop=5, policy="restart") == rates(plan, 10)[:3]
    assert train(5) == rates(plan, 10, start=3)
    with pytest.raises(InputError, match=r"over 10 steps.* over 8 steps.* name the policy"):
        train(5, max_steps=10)  # as many as the schedule that was begun anew has


@pytest.fixture(scope="module")
def within(lr, cases, tmp_path_factory):
    """Checkpoints after 5 of 12 updates, 2 of 3 in their epoch: by whether they have no optimizer, and no lrkit."""
    folder = tmp_path_factory.mktemp("within")
    for only_model, without in ((False, False), (True, False), (False, True), (True, True)):
        callbacks = [] if without else [lr.Schedule("linear(to=0)")]
        path = folder / f"{only_model} {without}"
        cases.make_trainer(path, *callbacks, stop=5, save_only_model=only_model).train()
    return lambda only_model=False, without=False: str(folder / f"{only_model} {without}" / "checkpoint-5")


@pytest.mark.parametrize(
    "change",
    [
        (False, {}, 12),
        (False, {"per_device_train_batch_size": 4}, 20),
        (False, {"gradient_accumulation_steps": 1}, 20),
        (False, {"max_steps": 8}, 8),
        (True, {}, 12),  # without an optimizer
        (True, {"per_device_train_batch_size": 4}, 20),
    ],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_within_an_epoch(lr, cases, within, change, policy):
    only_model, options, total = change
    trainer = cases.make_trainer(within(), schedule := lr.Schedule("linear(to=0)", policy=policy), **options)
    train = partial(trainer.train, resume_from_checkpoint=within(only_model))
    if policy is None and options:
        with pytest.raises(InputError, match=f"over 12 steps.* over {total} steps.* name the policy"):
            train()
        return
    train()
    right = {
        "keep": (rates("linear(to=0)", start=5) + [0.0] * 8)[: total - 5],
        "restart": rates("linear(to=0)", total - 5),
    }
    assert trainer.look.lr == right.get(policy, rates("linear(to=0)", total, start=5))
    assert schedule.scheduler.steps == total - 5 * (policy == "restart")


@pytest.mark.parametrize("only_model", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_within_an_epoch_a_checkpoint_without_lrkit(lr, cases, within, only_model, policy):
    trainer = cases.make_trainer(within(), lr.Schedule("linear(to=0)", policy=policy), per_device_train_batch_size=4)
    train = partial(trainer.train, resume_from_checkpoint=within(only_model, without=True))
    if policy in ("replace", "restart"):
        train()
        right = rates("linear(to=0)", 15) if policy == "restart" else rates("linear(to=0)", 20, start=5)
        assert trainer.look.lr == right
        return
    with pytest.raises(InputError, match="this checkpoint, after 5 updates, is of a training without lrkit"):
        train()


@pytest.mark.parametrize("saved", [(False, False), (True, False), (True, True)])
def test_within_an_epoch_what_has_begun_anew_goes_on_and_begins_anew_once_more(lr, cases, tmp_path, within, saved):
    plan = "warmup(2) >> linear(to=0)"

    def train(resume, stop=None, epochs=4, **options):
        schedule = lr.Schedule(plan, **options)
        trainer = cases.make_trainer(tmp_path, schedule, stop=stop, save_only_model=saved[0], num_train_epochs=epochs)
        trainer.train(resume_from_checkpoint=resume)
        return trainer.look.lr

    second, third = (str(tmp_path / f"checkpoint-{step}") for step in (8, 10))
    assert train(within(*saved), stop=8, policy="restart") == rates(plan, 7)[:3]
    assert train(second) == rates(plan, 7, start=3)
    with pytest.raises(InputError, match=r"over 7 steps.* over 13 steps.* name the policy"):
        train(second, epochs=6)
    assert train(second, epochs=6, policy="stretch") == rates(plan, 13, start=3)
    assert train(second, stop=10, policy="restart") == rates(plan, 4)[:2]
    assert train(third) == rates(plan, 4, start=2)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("change", ["nothing", "batch size", "rate", "without"])
def test_an_optimizer_for_each_parameter_goes_on(lr, cases, tmp_path, policy, change):
    plan = "warmup(2) >> linear(to=0)"

    def train(*callbacks, rate=0.1, resume=None, stop=None, **options):
        model, optimizers, dummy = layerwise(cases, rate)
        given = {"optimizers": (dummy, None), "gradient_accumulation_steps": 1, "learning_rate": rate, **options}
        trainer = cases.make_trainer(tmp_path, *callbacks, model=model, stop=stop, **given)
        trainer.train(resume_from_checkpoint=resume)
        used = [each.used for each in optimizers.values()]
        assert used == [used[0]] * 4
        return list(used[0])

    train(*([] if change == "without" else [lr.Schedule(plan)]), stop=7)
    options = {"batch size": {"per_device_train_batch_size": 4}, "rate": {"rate": 0.05}}.get(change, {})
    total = 36 if change == "batch size" else 20
    resume = partial(train, lr.Schedule(plan, policy=policy), resume=str(tmp_path / "checkpoint-7"), **options)
    refused = {"batch size": "over 20 steps.* over 36 steps", "rate": "lr 0.1, and lr 0.05 is named now"}
    if change == "without" and policy not in ("replace", "restart"):
        with pytest.raises(InputError, match="after 7 updates, is of a training without lrkit"):
            resume()
    elif policy is None and change != "nothing":
        with pytest.raises(InputError, match=refused[change]):
            resume()
    else:
        base = 0.05 if change == "rate" and policy != "keep" else 0.1
        right = {
            "keep": rates(plan, 20, start=7) + [0.0] * (total - 20),
            "restart": rates(plan, total - 7, base=base),
        }.get(policy, rates(plan, total, base=base, start=7))
        assert resume() == pytest.approx(right)
