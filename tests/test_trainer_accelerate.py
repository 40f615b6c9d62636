"""lrkit with the real Accelerate, in one process and in two: updates, states, metrics; what goes wrong without it."""

import doctest
import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import lrkit
from lrkit import InputError, InputTypeError, ScheduleWarning
from lrkit.training.scheduler import scheduler_of

PROCESSES = 2


@pytest.fixture(scope="module")
def cases():
    import accelerate_cases

    return accelerate_cases


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each of two processes saw, by its rank."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    script = Path(__file__).with_name("accelerate_cases.py")
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(PROCESSES)}
    running = [
        subprocess.Popen(
            [sys.executable, script, folder],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(PROCESSES)
    ]
    try:
        for each in running:
            _, errors = each.communicate(timeout=300)
            assert each.returncode == 0, errors
    finally:
        for each in running:
            each.kill()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(PROCESSES)]


def rates(plan, steps, **sizes):
    return lrkit.parse(plan).over(steps, **sizes)(np.arange(steps), base=0.1).tolist()


def test_examples_in_docstrings():
    import lrkit.trainers.accelerate as module

    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


# --- several processes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "batches", "epoch_steps"),
    [
        ("whole batches", 5, 5),  # of the loader's 9
        ("split batches", 9, 9),
        ("whole batches, accumulated", 5, 3),
        ("split batches, accumulated", 9, 5),
    ],
)
def test_the_schedule_has_the_updates_of_the_training_whatever_the_processes(seen, name, batches, epoch_steps):
    for found in seen:
        used, done, horizon, length = found[name]
        assert length == batches
        assert done == horizon == 2 * epoch_steps
        assert used == rates("warmup(1ep) >> linear(to=0)", horizon, epoch_steps=epoch_steps)


def test_all_processes_decide_alike_and_go_on_from_a_saved_state(seen):
    for found in seen:
        assert found["rest"][0] == found["whole"][0][5:]
        assert found["rest"][1] == found["whole"][1]
        # the mean of both is 0, 0.45, 0.9, …: worse each time
        assert found["whole"][0] == [0.1] * 10 + [0.05] * 5 + [0.025] * 5


def test_in_transformers_trainer_the_processes_have_one_schedule(seen):
    """3 batches for each process, two of which make an update: 2 updates in an epoch."""
    first, second = (found["trainer"] for found in seen)
    assert first[0] == second[0] == pytest.approx([0.05] + [0.1] * 5 + [0.05] * 2 + [0.025] * 2)
    assert first[1] == second[1]
    assert first[2] == second[2] == 10


def test_processes_with_different_numbers_of_batches_are_refused(seen):
    for found in seen:
        assert "the processes have different numbers of batches, [5, 4]; give steps=" in found["uneven"]


def test_a_schedule_for_the_updates_is_not_through_after_half_of_them(seen):
    """Accelerate's wrapper steps it once for each process."""
    for found in seen:
        assert found["linear"] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02] + [0.0] * 5)
        assert found["whole batches"][0][-1] == pytest.approx(0.1 / 5)  # after 5 updates of warm-up


def test_a_plateau_hears_a_metric_once_and_not_once_for_each_process(seen):
    """A patience of 3 bears three bad epochs: the first report is the best, the fifth cuts the rate."""
    for found in seen:
        assert found["plateau"] == pytest.approx([0.1] * 15 + [0.01] * 10 + [0.001] * 5)
        assert found["our plateau"] == pytest.approx([0.1] * 25 + [0.01] * 5)


# --- one process ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("adjust", [True, False])
def test_a_schedule_for_the_batches_ends_with_the_training_that_accumulates(cases, adjust):
    """Accelerate asks for lengths in batches, and says that it accounts for accumulation: it gets half of the way."""
    accelerator = cases.make_accelerator(accumulate=2, adjust=adjust)
    parts = cases.Parts(accelerator, cases.their_linear(lambda loader: 2 * len(loader))).train(2)
    assert parts.optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 8 / 18)
    accelerator = cases.make_accelerator(accumulate=2, adjust=adjust)
    parts = cases.Parts(accelerator, cases.ours("linear(to=0)", 2)).train(2)
    assert parts.optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize("sync", [True, False])
def test_an_epoch_is_counted_as_accelerate_accumulates(cases, sync):
    accelerator = cases.make_accelerator(accumulate=4, sync=sync)
    parts = cases.Parts(accelerator, cases.ours("linear(to=0)", 3)).train(3)
    assert parts.scheduler.horizon.steps == parts.scheduler.steps == (9 if sync else 6)  # 27 batches
    assert parts.rates == rates("linear(to=0)", parts.scheduler.steps)


@pytest.mark.parametrize("prepared", [False, True])
def test_resumed_is_never_interrupted(cases, tmp_path, prepared):
    def parts(epochs=3, **options):
        made = cases.ours("warmup(20%) >> cosine(to=0)", epochs, **options)
        return cases.Parts(cases.make_accelerator(accumulate=2), made, prepared=prepared)

    state = str(tmp_path / "state")
    whole = parts().train(3)
    parts().train(1, save=state)
    rest = parts()
    rest.accelerator.load_state(state)
    rest.train(3, begin=1)
    assert rest.rates == whole.rates[5:]
    assert rest.weights == whole.weights

    longer = parts(6)
    with pytest.raises(InputError, match=r"over 15 steps, and .* over 30 steps is bound; name the policy"):
        longer.accelerator.load_state(state)
    longer = parts(6, policy="stretch")
    longer.accelerator.load_state(state)
    assert longer.train(6, begin=1).rates == rates("warmup(20%) >> cosine(to=0)", 30)[5:]


def test_what_is_prepared_is_lrkits_own(cases):
    parts = cases.Parts(cases.make_accelerator(), cases.ours("linear(to=0)", 2))
    assert isinstance(parts.scheduler, lrkit.BoundSchedule)
    assert parts.scheduler.optimizer is parts.optimizer  # what was given, as with torch's schedulers
    assert scheduler_of(parts.optimizer.optimizer) is parts.scheduler
    assert parts.accelerator._schedulers == [parts.scheduler]
    plan = lrkit.linear(4, to=0).bind(parts.optimizer)  # with what was prepared, too
    assert scheduler_of(parts.optimizer.optimizer) is plan


def test_a_recorder_takes_the_prepared_optimizer_and_goes_on_from_a_saved_state(cases, tmp_path):
    losses = []

    def train(epochs, begin=0):
        accelerator = cases.make_accelerator(accumulate=2)
        parts = cases.Parts(accelerator, cases.ours("linear(to=0)", 2))
        recorder = lrkit.Recorder(parts.optimizer)
        accelerator.register_for_checkpointing(recorder)
        if begin:
            accelerator.load_state(str(tmp_path / "state"))
        for _ in range(begin, epochs):
            for x, y in parts.loader:
                with accelerator.accumulate(parts.model):
                    loss = torch.nn.functional.mse_loss(parts.model(x), y)
                    recorder.loss(loss, samples=len(x))
                    losses.append(loss.item())
                    accelerator.backward(loss)
                    parts.optimizer.step()
                    parts.optimizer.zero_grad()
            recorder.epoch()
        if epochs == 1:
            accelerator.save_state(str(tmp_path / "state"))
        return recorder.history()

    whole = train(2)
    assert whole.lr.tolist() == rates("linear(to=0)", 10)
    assert whole.losses[0] == pytest.approx(np.mean(losses[:2]))
    assert whole.losses[4] == pytest.approx(losses[8])
    assert train(1) != whole
    assert train(2, begin=1) == whole


def test_what_is_wrong_is_said(cases):
    from lrkit.trainers.accelerate import bind

    accelerator = cases.make_accelerator()
    parts = cases.Parts(accelerator, cases.ours("linear(to=0)", 2))
    given = (accelerator, "linear(to=0)", parts.optimizer)
    for arguments, options, error, message in (
        ((None, *given[1:]), {}, InputTypeError, "accelerator must be an Accelerator, not NoneType"),
        ((*given, parts.loader), {"epochs": 2, "steps": 3}, InputError, "epochs or steps, not both"),
        ((*given, parts.loader), {"epochs": 0}, InputError, "epochs must be a whole number of at least 1, not 0"),
        (given, {"epochs": 2}, InputError, "epochs=2 can't be counted without the loader"),
        ((*given, iter([1])), {"epochs": 2}, InputError, "loader has no length; give steps="),
        ((*given, parts.loader), {}, InputError, "loader is given without epochs= or steps="),
        ((*given[:2], parts.model), {"steps": 2}, InputTypeError, "optimizer must be a torch optimizer"),
    ):
        with pytest.raises(error, match=message):
            bind(*arguments, **options)


# --- what has changed when a training goes on ------------------------------------------------------------------------

POLICIES = [None, "keep", "stretch", "replace", "restart"]


def accelerated(
    updates,
    *,
    plan="linear(to=0)",
    batch_size=8,
    accumulate=1,
    epochs=4,
    made=0.1,
    kind="AdamW",
    load=None,
    save=None,
    first=False,
    prepared=False,
    **options,
):
    """The rates of so many updates of a training that has 36 samples an epoch; without a plan torch's scheduler."""
    from accelerate import Accelerator

    from lrkit.trainers.accelerate import bind

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=accumulate)
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=made)
    loader = torch.utils.data.DataLoader(torch.ones(36, 1), batch_size=batch_size)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    if load is not None and first:
        accelerator.load_state(load)
    if plan is None:
        scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 20)
    else:
        scheduler = bind(accelerator, plan, optimizer, loader, epochs=epochs, **options)
    if prepared:
        scheduler = accelerator.prepare(scheduler)
    if load is not None and not first:
        accelerator.load_state(load)
    used = []
    while len(used) < updates:
        for x in loader:
            with accelerator.accumulate(model):
                accelerator.backward(model(x).sum())
                if accelerator.sync_gradients:
                    used.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            if len(used) == updates:
                break
    if save is not None:
        accelerator.save_state(save)
    return used


@pytest.fixture
def fresh(cases):
    """Accelerate's states, which all accelerators share, as in a process of its own."""
    cases.make_accelerator()
    cases.AcceleratorState._reset_state()
    cases.GradientState._reset_state()


@pytest.fixture(scope="module")
def half(tmp_path_factory, cases):
    """States after 10 of 20 updates and within an epoch, prepared or not; and of trainings without lrkit."""
    folder = tmp_path_factory.mktemp("half")
    trainings = {
        "10": {},
        "10 prepared": {"prepared": True},
        "7": {},
        "7 prepared": {"prepared": True},
        "AdamW": {"plan": None},
        "AdamW prepared": {"plan": None, "prepared": True},
        "SGD": {"plan": None, "kind": "SGD"},
        "SGD prepared": {"plan": None, "kind": "SGD", "prepared": True},
    }
    for name, options in trainings.items():
        cases.AcceleratorState._reset_state()
        cases.GradientState._reset_state()
        accelerated(int(name.split()[0]) if name[0].isdigit() else 10, save=folder / name, **options)
    return lambda name, prepared=False: folder / f"{name}{' prepared' * prepared}"


def line(start, end, length=None, base=0.1):
    length = end if length is None else length
    return pytest.approx([base * max(1 - t / length, 0) for t in range(start, end)], abs=1e-12)


# bind before load_state, prepared or not, or after it
WAYS = [{}, {"prepared": True}, {"first": True}]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "change",
    [
        (10, {}, 10),
        (10, {"batch_size": 4}, 18),
        (10, {"batch_size": 18}, 4),
        (10, {"accumulate": 2}, 6),
        (10, {"epochs": 6}, 20),
        (7, {}, 13),
        (7, {"batch_size": 4}, 23),  # 2.6 epochs of 9
        (7, {"accumulate": 2}, 8),
    ],
)
def test_the_length_is_what_is_done_and_what_is_left(half, change, policy, way):
    done, options, left = change
    go_on = partial(accelerated, load=half(done, "prepared" in way), policy=policy, **way, **options)
    if policy is None and options:
        with pytest.raises(InputError, match=f"over 20 steps.* over {done + left} steps.* name the policy"):
            go_on(left)
    elif policy == "restart":  # over the epochs that are given
        each = -(-36 // (options.get("batch_size", 8) * options.get("accumulate", 1)))
        steps = each * options.get("epochs", 4)
        assert go_on(steps) == line(0, steps)
    else:
        assert go_on(left) == (line(done, done + left, 20) if policy == "keep" else line(done, done + left))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("rate", [{"lr": 0.05}, {"made": 0.05}])
def test_another_rate(half, way, rate, policy):
    go_on = partial(accelerated, 10, load=half(10, "prepared" in way), policy=policy, **way, **rate)
    if "lr" in rate and policy is None:
        with pytest.raises(InputError, match=r"made with lr 0\.1, and lr 0\.05 is named now; name the policy"):
            go_on()
        return
    base = 0.05 if policy in ("replace", "restart") or ("lr" in rate and policy == "stretch") else 0.1
    right = line(0, 10, 20, base) if policy == "restart" else line(10, 20, base=base)
    if "made" in rate and policy in (None, "stretch"):
        with pytest.warns(ScheduleWarning, match=r"made with lr 0\.05 and its state with lr 0\.1") as said:
            assert go_on() == right
        assert len(said) == 1
    else:
        assert go_on() == right


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_state_without_lrkit_is_said_and_goes_on_where_a_policy_says(half, way, policy):
    go_on = partial(accelerated, 10, load=half("AdamW", "prepared" in way), policy=policy, **way)
    if policy in ("replace", "restart"):
        assert go_on() == (line(0, 10, 20) if policy == "restart" else line(10, 20))
    elif "prepared" in way:  # then torch's scheduler has a state too
        with pytest.raises(
            InputError, match=r"not the state of a schedule that lrkit bound.*name the policy, 'replace'"
        ):
            go_on()
    else:
        with pytest.warns(ScheduleWarning, match="of 10 updates by its own count, says nothing of lrkit") as said:
            assert go_on() == line(0, 10, 20)
        assert len(said) == 1


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("prepared", [False, True])
def test_an_optimizer_that_counts_nothing_is_said_with_replace_too(half, prepared):
    options = {"load": half("SGD", prepared), "kind": "SGD", "prepared": prepared}
    with pytest.warns(ScheduleWarning, match=r"says nothing of lrkit, so 'linear\(to=0\)' goes on at update 0"):
        assert accelerated(10, policy="replace", **options) == line(0, 10, 20)
    assert accelerated(10, policy="restart", **options) == line(0, 10, 20)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("way", WAYS)
def test_what_has_begun_anew_goes_on_without_a_policy(half, tmp_path, way):
    plan, prepared = "warmup(2) >> linear(to=0)", "prepared" in way
    right = [0.05, 0.1, *(0.1 * (1 - t / 8) for t in range(8))]
    begun = {"plan": plan, "epochs": 2, "save": tmp_path / "anew", "policy": "restart"}
    assert accelerated(5, load=half(10, prepared), **begun, **way) == pytest.approx(right[:5])
    go_on = partial(accelerated, plan=plan, epochs=2, load=tmp_path / "anew", **way)
    assert go_on(5) == pytest.approx(right[5:])
    with pytest.raises(InputError, match=r"over 10 steps.* over 14 steps.* name the policy"):
        go_on(9, batch_size=4)
    assert go_on(9, batch_size=4, policy="stretch") == pytest.approx([0.1 * (1 - t / 12) for t in range(3, 12)])
