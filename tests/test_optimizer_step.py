"""What run, lanes and find say of an optimizer whose step can't be called as they call it, and of sparse gradients."""

import pytest
import torch
from torch import nn

import lrkit
from lrkit import InputError
from lrkit.training.blame import blamed

IDS = torch.arange(96).reshape(32, 3) % 10
TARGETS = torch.linspace(-1, 1, 32)[:, None]
LANES = [lrkit.Lane("constant()", lr=0.1), lrkit.Lane("linear(to=0)", lr=0.1)]
NEEDS = r"\.step\(\) needs a value for closure, which run, lanes and find don't give; bind the schedule in a loop of"


class Words(nn.Module):
    def __init__(self, sparse):
        super().__init__()
        self.embedding = nn.Embedding(10, 4, sparse=sparse)
        self.output = nn.Linear(4, 1)

    def forward(self, ids):
        return self.output(self.embedding(ids).mean(1))


class Asserting(torch.optim.SGD):
    """Needs a closure, and doesn't say so in its signature."""

    def step(self, closure=None):
        assert closure is not None, "sharpness-aware minimization requires closure"


class Calling(torch.optim.SGD):
    def step(self, closure=None):
        return closure()


class Keyword(torch.optim.SGD):
    def step(self, *, closure, **_):
        return closure()


class Broken(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("broken inside")


def sgd(parameters, kind=torch.optim.SGD):
    return kind(parameters, lr=0.1)


def words(optimizer, *, sparse=False, clip_norm=None):
    """A task with an embedding."""
    return lrkit.Task(
        model=lambda: Words(sparse),
        train=(IDS, TARGETS),
        batch_size=16,
        steps=4,
        loss=nn.functional.mse_loss,
        optimizer=optimizer,
        clip_norm=clip_norm,
    )


def trainings(optimizer, *, sparse=False, clip_norm=None):
    """All that trains a task: a name, and what does it."""
    task = words(optimizer, sparse=sparse, clip_norm=clip_norm)

    def own(several):
        model, loader = Words(sparse), [(IDS, TARGETS)]
        both = [optimizer(model.embedding.parameters()), optimizer(model.output.parameters())]
        optimizers = both if several else optimizer(model.parameters())
        loss = nn.functional.mse_loss
        return lrkit.find(model, optimizers, loader, loss, clip_norm=clip_norm, steps=20, seeds=1)

    return {
        "run": lambda: lrkit.run(task, "constant()"),
        "lanes": lambda: lrkit.run_lanes(task, LANES),
        "lanes in processes": lambda: lrkit.run_lanes(task, LANES, backend="processes"),
        "find_task": lambda: lrkit.find_task(task, steps=20, seeds=1),
        "find": lambda: own(several=False),
        "find, several": lambda: own(several=True),
    }


EACH = pytest.mark.parametrize("name", trainings(sgd))


@EACH
@pytest.mark.parametrize("kind", [torch.optim.LBFGS, Asserting, Calling, Keyword])
def test_an_optimizer_that_needs_a_closure_is_refused(name, kind):
    train = trainings(lambda parameters: sgd(parameters, kind))[name]
    with pytest.raises(InputError, match=f"{kind.__name__}{NEEDS}") as refused:
        train()
    assert len(str(refused.value).splitlines()) == 1


@EACH
def test_what_a_step_raises_is_the_optimizers(name):
    with pytest.raises(ValueError, match="broken inside") as broken:
        trainings(lambda parameters: sgd(parameters, Broken))[name]()
    assert blamed(broken.value) == "the optimizer's step()"


@EACH
def test_sparse_gradients_train(name):
    assert trainings(sgd, sparse=True)[name]()


@EACH
def test_sparse_gradients_are_not_clipped(name):
    sentence = (
        r"clip_norm can't clip sparse gradients, which the parameter 'embedding.weight' has; leave clip_norm out, or"
    )
    with pytest.raises(InputError, match=sentence):
        trainings(sgd, sparse=True, clip_norm=1.0)[name]()
    assert trainings(sgd, clip_norm=1.0)[name]()


@EACH
def test_an_optimizer_that_takes_no_sparse_gradients_is_refused(name):
    sentence = (
        r"Adam can't make an update with gradients of which some are sparse, .*: Adam does not .*SGD and Adagrad take"
    )
    with pytest.raises(InputError, match=sentence):
        trainings(torch.optim.Adam, sparse=True)[name]()


def test_sparse_gradients_are_neither_batched_nor_compiled():
    task = words(sgd, sparse=True)
    sentence = "lanes can't be batched: the parameter 'embedding.weight' has sparse gradients"
    with pytest.raises(lrkit.UnbatchableError, match=sentence):
        lrkit.run_lanes(task, LANES, backend="eager")
    sentence = "a compiled update has no sparse gradients, which 'embedding.weight' has; train it without compile"
    with pytest.raises(InputError, match=sentence):
        lrkit.run(task, "constant()", compiled=True)
