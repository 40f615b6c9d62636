"""Callbacks of Lightning's that set rates too, beside a schedule."""

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

import lrkit
from lightning_cases import cases, train_data, valid_data
from lrkit import InputError, ScheduleWarning
from lrkit.training.scheduler import scheduler_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:You defined a .validation_step. but have no",  # Lightning's advice: the same module serves all tests
)

LINEAR = lrkit.linear(20, to=0)


@pytest.fixture
def case():
    return cases()


def falling(steps, base=0.1):
    return LINEAR(steps, base).tolist()


def test_stochastic_weight_averaging_has_the_rate_from_where_it_begins(case):
    averaging = case.pl.callbacks.StochasticWeightAveraging(swa_lrs=0.5, swa_epoch_start=2, annealing_epochs=1)
    module = case.Line(case.scheduled(LINEAR))
    with pytest.warns(UserWarning, match="SWA is currently only supported every epoch"):  # Lightning's
        case.trainer(averaging, max_epochs=4).fit(module, train_data())
    rates = [module.rates[5 * epoch : 5 * epoch + 5] for epoch in range(4)]
    assert rates[0] == falling(range(5))
    assert [len(set(each)) for each in rates[1:]] == [1, 1, 1]  # one for each epoch, as SWALR sets it
    assert rates[-1] == [0.5] * 5


def net(case, configured):
    """A line with a backbone, whose optimizer begins with what is trained then; it notes the rates of all groups."""

    class Net(case.Line):
        def __init__(self):
            super().__init__(configured)
            self.backbone = torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            return torch.nn.functional.mse_loss(self.layer(self.backbone(batch[0])), batch[1])

        def configure_optimizers(self):
            trained = [each for each in self.parameters() if each.requires_grad]
            return self.configured(self, torch.optim.SGD(trained, lr=0.1))

        def on_before_optimizer_step(self, optimizer):
            self.rates.append([group["lr"] for group in optimizer.param_groups])

    return Net()


def finetuned(case, on_conflict):
    module = net(case, case.scheduled(LINEAR, on_conflict=on_conflict))
    callback = case.pl.callbacks.BackboneFinetuning(
        unfreeze_backbone_at_epoch=2, lambda_func=lambda epoch: 1.5, backbone_initial_ratio_lr=0.1
    )
    case.trainer(callback, max_epochs=4).fit(module, train_data())
    return module.rates


def test_a_backbone_that_is_unfrozen_has_the_schedules_rates_and_what_the_callback_sets_is_said(case):
    with pytest.warns(ScheduleWarning, match="lr of param group 1 was changed between two updates") as said:
        rates = finetuned(case, "warn")
    assert len([each for each in said if each.category is ScheduleWarning]) == 1
    base = LINEAR(10, 0.1) * 0.1  # what the group was added with, on the way
    expected = [[LINEAR(t, 0.1), LINEAR(t, base)] for t in range(10, 20)]
    assert rates[10:] == [pytest.approx(each) for each in expected]


def test_a_backbones_rate_can_be_left_to_the_callback(case):
    rates = finetuned(case, "yield")
    assert [each[0] for each in rates] == pytest.approx(falling(range(20)))
    assert len({each[1] for each in rates[15:]}) == 1


def test_defect_torchs_schedule_breaks_off_when_a_backbone_is_unfrozen(case):
    module = net(case, case.of_torch(lambda o: LambdaLR(o, lambda t: 1 - t / 20), interval="step"))
    callback = case.pl.callbacks.BackboneFinetuning(unfreeze_backbone_at_epoch=2)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        case.trainer(callback, max_epochs=4).fit(module, train_data())


def test_finding_a_batch_size_is_nobodys_conflict(case):
    class Sized(case.Line):
        batch_size = 2

        def train_dataloader(self):
            return train_data(self.batch_size)

        def val_dataloader(self):
            return valid_data()

    plan = lrkit.warmup(5) >> lrkit.constant(0.5)
    module = Sized(case.scheduled(plan, on_conflict="refuse"))
    finder = case.pl.callbacks.BatchSizeFinder(mode="power", init_val=2, max_trials=2, steps_per_trial=2)
    case.trainer(finder, max_epochs=1).fit(module)
    updates = len(module.trainer.train_dataloader)
    assert module.rates[-updates:] == plan(range(updates), 0.1).tolist()


class ByHand:
    """Sets a rate in the middle of a training."""

    def training_step(self, batch, batch_idx):
        if len(self.rates) == 3:
            self.optimizers().param_groups[0]["lr"] = 0.7
        return super().training_step(batch, batch_idx)


def test_a_rate_that_a_module_sets_is_said_or_refused(case):
    def fit(on_conflict):
        module = type("Line", (ByHand, case.Manual), {})(case.scheduled(LINEAR, on_conflict=on_conflict))
        case.trainer(max_epochs=4).fit(module, train_data())
        return module

    with pytest.warns(ScheduleWarning, match="lr of param group 0 was changed between two updates, from 0.085 to 0.7"):
        assert fit("warn").rates == pytest.approx(falling(range(20)))
    with pytest.raises(InputError, match="on_conflict='refuse'"):
        fit("refuse")


def test_the_optimizer_that_lightning_puts_around_is_looked_through(case):
    class Late(case.Manual):
        def on_train_start(self):
            self.scheduler = LINEAR.bind(self.optimizers())

    module = Late(lambda module, optimizer: optimizer)
    case.trainer(max_epochs=4).fit(module, train_data())
    assert module.rates == pytest.approx(falling(range(20)))
    assert scheduler_of(module.trainer.optimizers[0]) is module.scheduler


def test_a_wrapper_that_lightning_is_given_is_looked_through(case):
    class Around(torch.optim.Optimizer):
        """As Lookahead: it steps what it is put around."""

        def __init__(self, optimizer):
            self.fast, self.param_groups, self.state, self.defaults = optimizer, optimizer.param_groups, {}, {}

        def step(self, closure=None):
            return self.fast.step(closure)

        def zero_grad(self, set_to_none=True):
            self.fast.zero_grad(set_to_none)

    module = case.Line(case.scheduled(LINEAR), make=lambda parameters: Around(torch.optim.SGD(parameters, lr=0.1)))
    case.trainer(max_epochs=4).fit(module, train_data())
    assert module.rates == pytest.approx(falling(range(20)))


def test_lightnings_own_finder_sweeps_the_rates_that_it_says_and_leaves_the_schedule(case):
    from lightning.pytorch.tuner import Tuner

    module = case.Line(case.scheduled(LINEAR))
    trainer = case.trainer(max_epochs=4)
    options = {"num_training": 10, "max_lr": 1.0, "early_stop_threshold": None}
    with pytest.warns(ScheduleWarning, match="another scheduler has taken the place of 'linear"):
        found = Tuner(trainer).lr_find(module, train_data(), **options)
    assert module.rates[2:9] == pytest.approx(found.results["lr"][2:9])
    module.rates.clear()
    base = module.lr
    trainer.fit(module, train_data())
    assert module.rates == pytest.approx(falling(range(20), base))
