"""A compiled update, or training step, with a scheduled rate: right, and not compiled anew for every rate."""

import pytest
import torch
import torch._dynamo

import lrkit


def train_step(model, optimizer, x):
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def compile_update(model, optimizer, x, backend):
    optimizer.step = torch.compile(optimizer.step, backend=backend)
    return lambda: train_step(model, optimizer, x)


def compile_training_step(model, optimizer, x, backend):
    return torch.compile(lambda: train_step(model, optimizer, x), backend=backend)


@pytest.mark.parametrize("compiled", [compile_update, compile_training_step])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("rate", ["tensor", "float"])
def test_a_compiled_step_uses_each_rate_and_is_not_compiled_for_each(compiled, kind, rate):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(0)
    model, twin, x = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1), torch.randn(8, 3)
    twin.load_state_dict(model.state_dict())
    make = getattr(torch.optim, kind)
    optimizer = make(model.parameters(), lr=torch.tensor(0.1) if rate == "tensor" else 0.1)
    by_hand = make(twin.parameters(), lr=0.1)
    plan = lrkit.warmup(5) >> lrkit.linear(15, to=0)
    scheduler = plan.bind(optimizer)
    step = compiled(model, optimizer, x, backend)
    made = []
    for t in range(20):
        assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(plan(t, 0.1))
        step()
        by_hand.param_groups[0]["lr"] = plan(t, 0.1)
        train_step(twin, by_hand, x)
        made.append(len(graphs) - sum(made))
    torch.testing.assert_close(model.weight, twin.weight)
    assert scheduler.steps == 20
    assert made[0] >= 1
    # A float is taken for a constant at first; once it has changed, the graph is made anew for any float.
    assert made[1:] == [0 if rate == "tensor" else 1, *[0] * 18]


def test_a_group_that_is_added_to_a_compiled_optimizer_is_scheduled():
    torch._dynamo.reset()
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD([model.weight], lr=torch.tensor(0.1))
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    step = compile_update(model, optimizer, torch.randn(8, 3), "eager")
    step()
    optimizer.add_param_group({"params": [model.bias], "lr": torch.tensor(1.0)})
    step()
    assert scheduler.get_last_lr() == [pytest.approx(0.08), pytest.approx(0.8)]
