"""What an update is: one outermost step that was made, whatever is in it, around it, or raised in it."""

import copy
import gc
import pickle
import weakref

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

import lrkit
from lrkit import InputError, ScheduleWarning


def weight(*shape):
    return torch.nn.Parameter(torch.ones(shape or (1,)))


class Deep(torch.optim.AdamW):
    """Calls the step that it inherits, which torch hooks too once there was an instance of that class."""

    def step(self, closure=None):
        return super().step(closure)


class Deeper(Deep):
    """Raises where it is told to: in its own step, before the inner one or after it."""

    raises = None

    def step(self, closure=None):
        if self.raises == "before":
            raise KeyboardInterrupt
        found = super().step(closure)
        if self.raises == "after":
            raise KeyboardInterrupt
        return found


for kind in (torch.optim.AdamW, Deep, Deeper):
    kind([weight()])  # from now on torch hooks the step at each level


def update(optimizer, gradient=1.0):
    for group in optimizer.param_groups:
        for each in group["params"]:
            each.grad = torch.full_like(each, gradient)
    used = [float(group["lr"]) for group in optimizer.param_groups]
    optimizer.step()
    return used


# --- steps within steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.optim.AdamW, Deep, Deeper])
def test_a_step_that_calls_the_inherited_one_is_one_update(kind):
    optimizer = kind([weight()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    assert [update(optimizer)[0] for _ in range(5)] == pytest.approx([0.1, 0.09, 0.08, 0.07, 0.06])
    assert scheduler.steps == 5


def test_a_run_makes_all_of_its_updates_however_deep_a_step_is():
    x = torch.linspace(-1, 1, 80)[:, None]
    task = lrkit.Task(
        model=lambda: torch.nn.Linear(1, 1), train=(x, 2 * x), batch_size=16, epochs=2,
        loss=torch.nn.functional.mse_loss, optimizer=lambda p: Deeper(p, lr=0.1),
    )  # fmt: skip
    history = lrkit.run(task, "linear(to=0)")
    assert history.lr.tolist() == pytest.approx([0.1 * (1 - t / 10) for t in range(10)])


def test_a_recorder_records_one_update_for_each_outermost_step():
    optimizer = Deeper([weight()], lr=0.1)
    with lrkit.Recorder(optimizer) as recorder:
        for loss in (3.0, 2.0):
            recorder.loss(loss)
            update(optimizer)
        assert recorder.epoch().losses.tolist() == [3.0, 2.0]


@pytest.mark.parametrize("raises", ["before", "after"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_step_that_raised_is_no_update_and_spoils_none(raises, kept):
    optimizer = Deeper([weight()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    optimizer.raises, errors = raises, []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt) as caught:
            update(optimizer)
        errors.append(caught.value if kept else None)  # with its traceback, and so the frames of the step
        del caught
    optimizer.raises = None
    assert scheduler.steps == 1
    assert [update(optimizer)[0] for _ in range(3)] == pytest.approx([0.09, 0.08, 0.07])
    assert scheduler.steps == 4


def test_a_closure_may_be_called_often():
    optimizer = torch.optim.LBFGS([weight()], lr=0.1, max_iter=5)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    parameter, calls = optimizer.param_groups[0]["params"][0], []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        loss = ((parameter - 3) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert len(calls) > 3
    assert scheduler.steps == 3


def test_an_optimizer_that_is_stepped_within_another_has_its_own_clock():
    inner = torch.optim.SGD([weight()], lr=1.0)

    class Outer(torch.optim.SGD):
        def step(self, closure=None):
            inner.step()
            inner.step()
            return super().step(closure)

    outer = Outer([weight()], lr=1.0)
    schedulers = [lrkit.linear(10, to=0).bind(each) for each in (inner, outer)]
    for _ in range(3):
        update(outer)
    assert [each.steps for each in schedulers] == [6, 3]


def test_binding_within_a_step_counts_that_step():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    bound = []

    def closure():
        if not bound:
            bound.append(lrkit.linear(10, to=0).bind(optimizer))
        return torch.zeros(())

    for _ in range(3):
        optimizer.step(closure)
    assert bound[0].steps == 3


# --- steps that are no updates --------------------------------------------------------------------------


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("done", [0, 3])
def test_a_step_at_rate_0_that_makes_the_optimizers_state_is_no_update(tensor, done):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1) if tensor else 0.1)  # stepped at every save
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    for _ in range(done):
        update(optimizer)
    optimizer.zero_grad()
    get_optimizer_state_dict(model, optimizer)
    assert scheduler.steps == done
    assert [update(optimizer)[0] for _ in range(3)] == pytest.approx(
        [0.1 * (1 - t / 10) for t in range(done, done + 3)]
    )


def test_such_a_step_is_no_update_where_the_schedule_is_at_0_too():
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lrkit.linear(2, to=0).bind(optimizer)
    for _ in range(3):
        update(optimizer)
    optimizer.zero_grad()
    get_optimizer_state_dict(model, optimizer)
    assert scheduler.steps == 3


def test_such_a_step_is_not_recorded():
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    with lrkit.Recorder(optimizer) as recorder:
        get_optimizer_state_dict(model, optimizer)
        recorder.loss(1.0)
        update(optimizer)
        assert recorder.epoch().lr.tolist() == [0.1]


def test_such_a_step_doesnt_count_for_a_schedule_of_the_momentum_alone():
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = lrkit.Plans({"momentum": lrkit.linear(10, to=0)}).bind(optimizer)
    get_optimizer_state_dict(model, optimizer)
    assert scheduler.steps == 0
    update(optimizer)
    assert scheduler.steps == 1


def test_a_0_of_the_schedule_counts():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = lrkit.linear(3, start=0, to=1).bind(optimizer)
    assert [update(optimizer, gradient=0.0)[0] for _ in range(3)] == pytest.approx([0, 0.1 / 3, 0.2 / 3])
    assert scheduler.steps == 3


@pytest.mark.parametrize("policy", ["warn", "refuse", "yield"])
def test_somebody_elses_0_where_there_are_gradients_is_a_rate_like_any_other(policy):
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer, on_conflict=policy)
    update(optimizer)
    optimizer.param_groups[0]["lr"] = 0.0
    if policy == "yield":
        update(optimizer)
        assert optimizer.param_groups[0]["lr"] == 0
    elif policy == "refuse":
        with pytest.raises(InputError, match=r"from 0.09 to 0, "):
            update(optimizer)
    else:
        with pytest.warns(ScheduleWarning, match="from 0.09 to 0; .* so this update uses 0.09"):
            update(optimizer)
        assert update(optimizer) == [pytest.approx(0.08)]
    assert scheduler.steps == {"warn": 3, "refuse": 1, "yield": 2}[policy]


def test_a_scheduler_that_is_made_afterwards_and_begins_at_0_stops_nothing():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: t / 3)  # as a warm-up of other libraries
    with pytest.warns(ScheduleWarning, match="from 0.1 to 0; "):
        update(optimizer)
    assert [update(optimizer)[0] for _ in range(3)] == pytest.approx([0.09, 0.08, 0.07])
    assert scheduler.steps == 4


def test_steps_can_be_made_while_the_schedule_is_paused():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    update(optimizer)
    with scheduler.paused():
        optimizer.param_groups[0]["lr"] = 7.0
        assert [update(optimizer) for _ in range(3)] == [[7.0]] * 3
    assert scheduler.steps == 1
    assert update(optimizer) == [pytest.approx(0.09)]


def test_capture_into_a_graph_is_refused_unless_the_schedule_is_paused(monkeypatch):
    optimizer = torch.optim.SGD([weight()], lr=torch.tensor(0.1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # no GPU runs these tests
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    before = optimizer.param_groups[0]["params"][0].clone()
    with pytest.raises(InputError, match=r"captured into a CUDA graph.*paused\(\).*advance\(1\)"):
        update(optimizer)
    assert torch.equal(optimizer.param_groups[0]["params"][0], before)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    with scheduler.paused():
        update(optimizer)
    scheduler.advance(1)  # as after a replay
    assert scheduler.steps == 1
    assert update(optimizer) == [pytest.approx(0.09)]


# --- compiled steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.optim.AdamW, Deeper])
@pytest.mark.parametrize("tensor", [False, True])
def test_a_compiled_step_with_the_schedulers_is_compiled_once(kind, tensor):
    torch._dynamo.reset()
    optimizer = kind([weight()], lr=torch.tensor(0.1) if tensor else 0.1)
    scheduler = lrkit.linear(100, to=0).bind(optimizer)
    graphs = []

    def backend(module, _):
        graphs.append(1)
        return module.forward

    @torch.compile(backend=backend)
    def step():
        optimizer.step()
        scheduler.step()

    counts = []
    for _ in range(12):
        optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        step()
        counts.append(len(graphs))
    assert counts[3:] == [counts[3]] * 9
    assert scheduler.steps == 12
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.088)


def test_a_compiled_step_that_raised_is_no_update():
    torch._dynamo.reset()
    optimizer = Deeper([weight()], lr=torch.tensor(0.1))
    scheduler = lrkit.linear(100, to=0).bind(optimizer)
    step, counts = torch.compile(optimizer.step, backend="eager"), []
    for t in range(5):
        optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
        optimizer.raises = "before" if t == 2 else None
        try:
            step()
        except KeyboardInterrupt:
            counts.append("raised")
        counts.append(scheduler.steps)
    assert counts == [1, 2, "raised", 2, 3, 4]


def test_a_full_graph_is_refused_in_a_sentence():
    torch._dynamo.reset()
    optimizer = torch.optim.AdamW([weight()], lr=torch.tensor(0.1))
    lrkit.linear(100, to=0).bind(optimizer)
    optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
    with pytest.raises(Exception, match=r"compile optimizer.step\(\) without fullgraph=True"):
        torch.compile(optimizer.step, backend="eager", fullgraph=True)()


# --- the order of those who listen, and their leaving ----------------------------------------------------


@pytest.mark.parametrize("first", ["recorder", "scheduler"])
def test_a_recorder_reads_the_rate_that_was_used_whoever_came_first(first):
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    made = {}
    for what in sorted(("recorder", "scheduler"), key=lambda each: each != first):
        made[what] = lrkit.Recorder(optimizer) if what == "recorder" else lrkit.linear(10, to=0).bind(optimizer)
    optimizer.add_param_group({"params": [weight()], "lr": 1.0})
    for _ in range(3):
        made["recorder"].loss(1.0)
        update(optimizer)
    assert made["recorder"].epoch().lr.tolist() == pytest.approx([0.1, 0.09, 0.08])


def test_nothing_stays_with_an_optimizer_that_all_have_left():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    before, hooks = set(vars(optimizer)), [len(each) for each in _hooks(optimizer)]
    scheduler, recorder = lrkit.linear(10, to=0).bind(optimizer), lrkit.Recorder(optimizer)
    assert [len(each) for each in _hooks(optimizer)] != hooks
    recorder.close()
    scheduler.release()
    assert [len(each) for each in _hooks(optimizer)] == hooks
    assert set(vars(optimizer)) - before == {"_lrkit_last_written"}  # by which a rate that is set by hand later is told


@pytest.mark.parametrize("released", [False, True])
def test_an_optimizer_and_its_scheduler_go_when_nobody_has_them(released):
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    optimizer.param_groups[0]["params"][0].optimizer = optimizer  # as some trainers note it
    recorder, scheduler = lrkit.Recorder(optimizer), lrkit.linear(10, to=0).bind(optimizer)
    if released:
        scheduler.release()
    found = [weakref.ref(each) for each in (optimizer, scheduler, recorder)]
    del optimizer, scheduler, recorder
    gc.collect()
    assert [each() for each in found] == [None] * 3


def _hooks(optimizer):
    return [
        optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks,
        optimizer._optimizer_state_dict_pre_hooks, optimizer._optimizer_state_dict_post_hooks,
        optimizer._optimizer_load_state_dict_pre_hooks, optimizer._optimizer_load_state_dict_post_hooks,
    ]  # fmt: skip


# --- all of it, in any order ----------------------------------------------------------------------------

BASES = (0.1, 0.4)
PLAN = lrkit.warmup(3) >> lrkit.cosine(20, to=0.1)


class Seen(Deeper):
    """Notes the rates at which it makes updates, at the innermost level."""

    def step(self, closure=None):
        self.used = [float(group["lr"]) for group in self.param_groups]
        return super().step(closure)


class Machine(RuleBasedStateMachine):
    """A bound optimizer whose every update must use the schedule's values, but where a slot was yielded."""

    @initialize(policy=st.sampled_from(["warn", "refuse", "yield"]), tensor=st.booleans(), depth=st.booleans())
    def begin(self, policy, tensor, depth):
        self.policy, self.tensor, self.kind = policy, tensor, Seen if depth else torch.optim.AdamW
        self.count, self.theirs, self.warned = 0, {}, False
        self.optimizer, self.scheduler = self.make()

    def make(self):
        lrs = [torch.tensor(lr, dtype=torch.float64) if self.tensor else lr for lr in BASES]
        optimizer = self.kind([{"params": [weight()], "lr": lr} for lr in lrs])
        return optimizer, PLAN.bind(optimizer, on_conflict=self.policy)

    def rates(self):
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def expected(self):
        return [self.theirs.get(index, float(PLAN(self.count, base))) for index, base in enumerate(BASES)]

    @rule(times=st.integers(1, 3))
    def train(self, times):
        for _ in range(times):
            expected = self.expected()
            update(self.optimizer)
            assert getattr(self.optimizer, "used", expected) == expected
            self.count += 1

    @rule(where=st.sampled_from(["before", "after"]))
    def break_off(self, where):
        if self.kind is Seen:
            self.optimizer.raises = where
            with pytest.raises(KeyboardInterrupt):
                update(self.optimizer)
            self.optimizer.raises = None

    @rule()
    def make_state(self):
        self.optimizer.zero_grad()
        held = [group["lr"] for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group["lr"] = torch.tensor(0.0) if self.tensor else 0.0
        self.optimizer.step()
        for group, lr in zip(self.optimizer.param_groups, held, strict=True):
            group["lr"] = lr

    @rule()
    def call_step(self):
        self.scheduler.step()

    @rule(index=st.integers(0, 1), lr=st.floats(5, 9))
    def write(self, index, lr):
        group = self.optimizer.param_groups[index]
        now = group["lr"]
        if self.tensor:
            before = float(now)
            now.fill_(lr)
        else:
            before, group["lr"] = now, lr
        if index in self.theirs:
            self.theirs[index] = lr
        elif self.policy == "yield":
            self.theirs[index] = lr
            self.scheduler.sync()
        elif self.policy == "refuse":
            weights = [each["params"][0].clone() for each in self.optimizer.param_groups]
            with pytest.raises(InputError, match=f"param group {index} was changed between two updates"):
                update(self.optimizer)
            assert all(map(torch.equal, weights, (each["params"][0] for each in self.optimizer.param_groups)))
            if self.tensor:
                now.fill_(before)
            else:
                group["lr"] = before
        elif (index,) not in self.said():
            with pytest.warns(ScheduleWarning, match=f"param group {index} was changed between two updates"):
                self.scheduler.sync()
        else:
            self.scheduler.sync()

    def said(self):
        return {(key[1],) for cause, key in self.scheduler._said if "between" in cause}

    @rule()
    def take_back(self):
        self.scheduler.take_back()
        self.theirs = {}

    @rule(how=st.sampled_from([copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))]))
    def go_on_with_a_copy(self, how):
        used = vars(self.optimizer).pop("used", None)
        self.optimizer, self.scheduler = how((self.optimizer, self.scheduler))
        assert used is None or not hasattr(self.optimizer, "used")

    @rule(order=st.sampled_from(["both", "optimizer", "scheduler first", "before binding"]))
    def go_on_from_a_checkpoint(self, order):
        saved, state = copy.deepcopy(self.optimizer.state_dict()), self.scheduler.state_dict()
        optimizer, scheduler = self.make()
        if order == "before binding":
            scheduler.release()
            optimizer.load_state_dict(saved)
            scheduler = PLAN.bind(optimizer, on_conflict=self.policy)
        else:
            if order == "scheduler first":
                scheduler.load_state_dict(state)
            optimizer.load_state_dict(saved)
            if order == "both":
                scheduler.load_state_dict(state)
        self.optimizer, self.scheduler = optimizer, scheduler

    @invariant()
    def as_expected(self):
        if hasattr(self, "optimizer"):
            assert self.scheduler.steps == self.count
            assert self.rates() == self.expected()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_pauses_may_lie_within_each_other_and_end_with_the_outer():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = lrkit.linear(10, to=0).bind(optimizer)
    with scheduler.paused():
        with scheduler.paused():
            update(optimizer)
        update(optimizer)
    assert scheduler.steps == 0
    update(optimizer)
    assert scheduler.steps == 1


def test_a_plan_that_is_bound_within_a_pause_takes_the_place():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    first = lrkit.linear(10, to=0).bind(optimizer)
    with first.paused():
        second = lrkit.linear(5, to=0).bind(optimizer)
    update(optimizer)
    assert (first.steps, second.steps, optimizer.param_groups[0]["lr"]) == (0, 1, pytest.approx(0.08))


@pytest.mark.parametrize("how", [copy.deepcopy, copy.copy, lambda r: pickle.loads(pickle.dumps(r))])
def test_a_copy_of_a_recorder_leaves_the_original_alone(how):
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    recorder = lrkit.Recorder(optimizer)
    how(recorder).close()
    recorder.loss(1.0)
    update(optimizer)
    assert recorder.epoch().lr.tolist() == [0.1]


def test_a_released_scheduler_and_its_optimizer_go_at_once():
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler, recorder = lrkit.linear(10, to=0).bind(optimizer), lrkit.Recorder(optimizer)
    update_with_loss(optimizer, recorder)
    scheduler.release()
    recorder.close()
    found = [weakref.ref(each) for each in (optimizer, scheduler, recorder)]
    gc.disable()
    try:
        del optimizer, scheduler, recorder
        assert [each() for each in found] == [None] * 3
    finally:
        gc.enable()


def update_with_loss(optimizer, recorder):
    recorder.loss(1.0)
    update(optimizer)
