"""How much memory a lane needs, how much there is, and how many lanes go together."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lrkit import InputError, InputTypeError, Lane, Task
from lrkit.training.lanes.footprint import Bytes, estimate
from lrkit.training.lanes.memory import fitting, free_memory, parse_memory, shown_bytes

CPU = torch.device("cpu")

# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "size"),
    [
        ("4GB", 4_000_000_000),
        ("500MB", 500_000_000),
        ("2GiB", 2 * 2**30),
        ("1.5GB", 1_500_000_000),
        ("1.5 gb", 1_500_000_000),
        ("12kB", 12_000),
        ("3KiB", 3072),
        ("1TB", 10**12),
        ("1B", 1),
        ("1.0005kB", 1000),
        (" 50% ", 500),
        ("12.5%", 125),
        ("100%", 1000),
        (4096, 4096),
        (np.int64(4096), 4096),
        (10**30, 10**30),
    ],
)
def test_memory_is_said_in_bytes_or_units_or_as_a_share_of_what_is_free(memory, size):
    found = parse_memory(memory, free=1000)
    assert found == size
    assert type(found) is int


@pytest.mark.parametrize("memory", ["", "4", "4G", "GB", "-4GB", "4 GB B", "1e9B", "4GB5", "٤GB", "all", "1.GB", "x%"])
def test_text_that_is_no_size_is_refused_with_what_is_allowed(memory):
    with pytest.raises(InputError, match=r"^memory must be a whole number of bytes, or text such as '4GB'.*, not '"):
        parse_memory(memory, free=1000)


@pytest.mark.parametrize("memory", [0, -1, "0B", "0.0GB", "0.5B"])
def test_less_than_a_byte_is_refused(memory):
    with pytest.raises(InputError, match=f"^memory must be at least 1 byte, not {memory!r}$"):
        parse_memory(memory, free=1000)


@pytest.mark.parametrize("memory", ["0%", "100.1%", "150%"])
def test_a_share_is_above_0_and_at_most_all(memory):
    with pytest.raises(InputError, match=f"^memory must be above 0% and at most 100% of what is free, not '{memory}'$"):
        parse_memory(memory, free=1000)


@pytest.mark.parametrize("memory", [0.5, 1e9, True, None, b"4GB", ["4GB"]])
def test_what_is_neither_a_whole_number_nor_text_is_refused(memory):
    with pytest.raises(InputTypeError, match=r"^memory must be a whole number of bytes, or text such as"):
        parse_memory(memory, free=1000)


@given(st.integers(1, 10**15))
def test_a_size_that_is_shown_reads_back_within_its_digits(size):
    assert parse_memory(shown_bytes(size), free=0) == pytest.approx(size, rel=0.051)


# --- what is free ---------------------------------------------------------------------------------


def system(root, files):
    """A machine with 8000 kB available, and these files of control groups."""
    files = {"proc/meminfo": "MemTotal: 16000 kB\nMemAvailable: 8000 kB\nHugePages_Total: 0\n"} | files
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(folder, limit, used, cached=0):
    """The files of a control group, version 2."""
    return {
        f"sys/fs/cgroup/{folder}memory.max": f"{limit}\n",
        f"sys/fs/cgroup/{folder}memory.current": f"{used}\n",
        f"sys/fs/cgroup/{folder}memory.stat": f"anon {used - cached}\ninactive_file {cached}\nactive_file 0\n",
    }


AVAILABLE = 8000 * 1024


@pytest.mark.parametrize(
    ("files", "free"),
    [
        pytest.param({}, AVAILABLE, id="without control groups"),
        pytest.param({"proc/self/cgroup": "0::/a\n", **group("a/", "max", 10)}, AVAILABLE, id="without a limit"),
        pytest.param({"proc/self/cgroup": "0::/a\n", **group("a/", 900, 300)}, 600, id="a limit"),
        pytest.param({"proc/self/cgroup": "0::/a\n", **group("a/", 900, 300, 200)}, 800, id="cached files are free"),
        pytest.param({"proc/self/cgroup": "0::/a\n", **group("a/", 10**12, 300)}, AVAILABLE, id="more than there is"),
        pytest.param({"proc/self/cgroup": "0::/a\n", **group("a/", 100, 300)}, 0, id="more in use than allowed"),
        pytest.param(
            {"proc/self/cgroup": "0::/a/b/c\n", **group("a/b/", "max", 100), **group("a/", 900, 200)},
            700,
            id="the limit of one further out",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/a/b\n", **group("a/b/", 900, 100), **group("a/", 1000, 950)},
            50,
            id="the narrowest of several",
        ),
        pytest.param({"proc/self/cgroup": "0::/\n", **group("", 900, 300)}, 600, id="inside a container"),
        pytest.param({"proc/self/cgroup": "0::/../x\n", **group("", 900, 300)}, 600, id="outside of what is mounted"),
        pytest.param(
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/d\n4:memory:/d\n1:name=systemd:/a:b\n0::/\n",
                "sys/fs/cgroup/memory/d/memory.limit_in_bytes": "5000\n",
                "sys/fs/cgroup/memory/d/memory.usage_in_bytes": "3000\n",
                "sys/fs/cgroup/memory/d/memory.stat": "inactive_file 7\ntotal_inactive_file 500\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "3000\n",
            },
            2500,
            id="version 1",
        ),
    ],
)
def test_free_memory_is_what_the_system_and_the_control_groups_leave(tmp_path, files, free):
    assert free_memory(CPU, root=system(tmp_path, files)) == free


def test_a_system_that_does_not_say_has_all_of_its_memory_free(tmp_path):
    assert free_memory(CPU, root=tmp_path) >= free_memory(CPU) > 0


# --- what a lane needs ----------------------------------------------------------------------------

X, Y = torch.randn(64, 10), torch.randn(64, 4)


def task(**changes):
    options = {
        "model": lambda: nn.Linear(10, 4),
        "train": (X, Y),
        "valid": (X, Y),
        "loss": nn.functional.mse_loss,
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1),
        "batch_size": 16,
        "epochs": 1,
    }
    return Task(**(options | changes))


def need(of, model=None, rows=16, valid_rows=64, optimizer=None):
    model = of.model() if model is None else model
    optimizer = of.optimizer(model.parameters()) if optimizer is None else optimizer
    return estimate(of, model, optimizer, (X[:rows], Y[:rows]), [(X[:valid_rows], Y[:valid_rows])], place=CPU)


LINEAR = 4 * (10 * 4 + 4)


@pytest.mark.parametrize(
    ("optimizer", "states", "counts"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1), 0, 0),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), 1, 0),
        (torch.optim.Adam, 2, 1),
        (lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.1)), 2, 1),
        (torch.optim.RMSprop, 1, 1),
        (lambda p: torch.optim.RMSprop(p, momentum=0.9), 2, 1),
        (torch.optim.Adagrad, 1, 1),
        (torch.optim.Adamax, 2, 1),
        (torch.optim.NAdam, 2, 2),
    ],
)
def test_parameters_states_and_gradients_of_a_linear_model_are_counted_exactly(optimizer, states, counts):
    found = need(task(optimizer=optimizer))
    assert found.parameters == found.gradients == LINEAR
    assert found.states == states * LINEAR + counts * 2 * 4  # a number for each of weight and bias


def test_a_lanes_momentum_is_counted_in_its_states():
    of = Lane(momentum=0.9).of(task())
    assert need(of).states == LINEAR


def test_validation_of_a_linear_model_is_its_outputs_and_their_losses():
    found = need(task(), valid_rows=64)
    output = 4 * 64 * 4
    assert output <= found.validation <= 2 * output + 16  # the squares beside the outputs, and a few numbers
    assert need(task(), valid_rows=32).validation == pytest.approx(found.validation / 2, abs=16)


def test_without_validation_data_there_is_no_validation():
    of = task(valid=None)
    model = of.model()
    found = estimate(of, model, of.optimizer(model.parameters()), (X, Y), place=CPU)
    assert found.validation == 0


def test_activations_grow_with_the_batch_and_data_do_not_count():
    def wide(rows):
        return need(task(model=lambda: nn.Sequential(nn.Linear(10, 100), nn.Tanh(), nn.Linear(100, 4))), rows=rows)

    small, large = wide(16), wide(64)
    assert small.parameters == large.parameters
    hidden = 4 * 100 * 48  # what 48 more samples have in the hidden layer, for once
    assert hidden <= large.activations - small.activations <= 4 * hidden


def test_what_is_frozen_or_not_the_optimizers_needs_no_gradients_and_states():
    of = task(model=lambda: nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10), nn.Linear(10, 4)))
    model = of.model()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD([*model[0].parameters(), *model[2].parameters()], lr=0.1, momentum=0.9)
    found = need(of, model, optimizer=optimizer)
    assert found.parameters == 2 * 4 * 110 + LINEAR
    assert found.gradients == found.states == LINEAR


def test_buffers_count_as_parameters():
    found = need(task(model=lambda: nn.Sequential(nn.BatchNorm1d(10), nn.Linear(10, 4))))
    assert found.parameters == LINEAR + 4 * 4 * 10 + 8  # two of them buffers, and the number of batches in 64 bits
    assert found.gradients == LINEAR + 2 * 4 * 10


def test_accumulation_keeps_the_sum_of_gradients_and_not_those_of_every_batch():
    once, often = need(task(), rows=1), need(task(accumulate=8), rows=1)
    assert LINEAR <= often.activations - once.activations <= 2 * LINEAR


def test_mixed_precision_is_measured_as_it_is():
    def model():
        return nn.Sequential(nn.Linear(10, 400), *(nn.Tanh() for _ in range(20)), nn.Linear(400, 4))

    def found(precision):
        return need(task(model=model, precision=precision), rows=64)

    half, single = found("bfloat16"), found("float32")
    assert half.parameters == single.parameters
    assert half.activations < 0.6 * single.activations
    assert half.validation < single.validation


def test_an_estimate_leaves_no_trace():
    of = task(
        model=lambda: nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 4)),
        optimizer=torch.optim.Adam,
    )
    model = of.model()
    model[1].eval()
    for parameter in model[0].parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = of.optimizer(model.parameters())
    modes = [module.training for module in model.modules()]
    before = {name: each.clone() for name, each in model.state_dict().items()}
    drawn = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    need(of, model, optimizer=optimizer)
    assert (random.getstate(), str(np.random.get_state())) == drawn[1:]
    assert torch.equal(torch.get_rng_state(), drawn[0])
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [each.grad is None for each in model.parameters()] == [False] * 2 + [True] * 4
    assert all(torch.equal(each.grad, torch.ones_like(each)) for each in model[0].parameters())
    assert not optimizer.state


def test_an_estimate_that_fails_leaves_no_trace_either():
    class Looking(nn.Linear):
        def forward(self, x):
            return super().forward(x) * float(torch.rand(()) + self.weight.sum())

    of = task(model=lambda: Looking(10, 4))
    model = of.model().eval()
    drawn = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="vmap"):
        need(of, model)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not model.training


def test_an_optimizer_without_a_rule_is_refused():
    with pytest.raises(InputError, match="there is no rule for the optimizer Adadelta"):
        need(task(optimizer=torch.optim.Adadelta))


def test_a_lane_needs_what_it_holds_and_the_most_of_what_comes_and_goes():
    held = {"parameters": 100, "states": 200, "gradients": 100}
    assert Bytes(**held, activations=900, validation=50).per_lane == 1.6 * (300 + 100 + 900)
    assert Bytes(**held, activations=900, validation=5000).per_lane == 1.6 * (300 + 5000)


def test_new_parameters_and_states_are_made_beside_the_old_ones():
    def beside_gradients(optimizer):
        return need(task(optimizer=optimizer), rows=1).activations

    assert beside_gradients(lambda p: torch.optim.SGD(p, lr=0.1)) >= LINEAR
    assert beside_gradients(torch.optim.Adam) >= 3 * LINEAR


# --- groups ---------------------------------------------------------------------------------------

lanes = st.dictionaries(st.integers(0, 200), st.integers(0, 5), min_size=1, max_size=40)


@given(lanes, st.integers(1, 45))
def test_every_lane_is_in_one_group_and_there_are_as_few_groups_as_do(seeds, most):
    groups = fitting(seeds, per_lane=10, limit=10 * most + 9)
    assert Counter(number for each in groups for number in each) == Counter(list(seeds))
    assert 1 <= min(map(len, groups)) <= max(map(len, groups)) <= most
    assert len(groups) == -(-len(seeds) // most)


@given(lanes, st.integers(1, 45))
def test_lanes_of_a_seed_stand_next_to_each_other_in_their_order(seeds, most):
    row = [number for each in fitting(seeds, per_lane=1, limit=most) for number in each]
    assert sum(seeds[one] != seeds[other] for one, other in pairwise(row)) == len(set(seeds.values())) - 1
    for seed in set(seeds.values()):
        assert [number for number in row if seeds[number] == seed] == [n for n, own in seeds.items() if own == seed]


@given(st.integers(1, 100), st.integers(1, 100))
def test_groups_of_one_seed_differ_by_one_lane_at_most(count, most):
    sizes = [len(each) for each in fitting(dict.fromkeys(range(count), 7), per_lane=1, limit=most)]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4))
def test_seeds_that_fit_side_by_side_are_not_parted(count, of_each, together):
    seeds = {number: number % count for number in range(count * of_each)}
    groups = fitting(seeds, per_lane=1, limit=of_each * together)
    held = [{seeds[number] for number in each} for each in groups]
    assert sum(map(len, held)) == count


def test_a_seed_is_parted_only_where_no_seed_ends():
    assert fitting({0: 1, 1: 1, 2: 1, 3: 2, 4: 2}, per_lane=1, limit=4) == [[0, 1, 2], [3, 4]]
    assert fitting({0: 1, 1: 1, 2: 1, 3: 1, 4: 2}, per_lane=1, limit=3) == [[0, 1, 2], [3, 4]]
    assert fitting({0: 1, 1: 1, 2: 1, 3: 1, 4: 2}, per_lane=1, limit=4) == [[0, 1, 2, 3], [4]]


def test_no_lanes_are_no_groups():
    assert fitting({}, per_lane=1, limit=1) == []


def test_a_lane_that_does_not_fit_is_refused_in_readable_sizes():
    with pytest.raises(InputError) as caught:
        fitting({0: 0}, per_lane=1_234_000_000, limit=500_000_000)
    assert str(caught.value) == (
        "a lane needs about 1.2 GB, more than the limit of 500 MB; allow more memory, "
        "or give the task a smaller batch_size or valid_batch_size"
    )
