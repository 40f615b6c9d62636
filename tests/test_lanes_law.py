"""A lane is `run` alone: one update from any state of `run`, and free-running to the end."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import lrkit
from lane_cases import (
    CASES,
    LANES,
    Attention,
    Case,
    Forced,
    Kept,
    Told,
    Watched,
    alone,
    distance,
    kinds_of,
    make,
    together,
    work_of,
)
from lrkit import Lane, LanesObserver
from lrkit.training.lanes.together import train_together

EXACT = {torch.float32: 1e-6, torch.float64: 1e-13}


def held_against(forced, watches, step):
    """How far one update from a state is from that of `run`, by kinds of tensors."""
    found = kinds_of(forced.after([each.snapshots[step] for each in watches]))
    wanted = kinds_of(forced.of([each.snapshots[step + 1] for each in watches]))
    assert found.keys() == wanted.keys()
    return {kind: distance(found[kind], wanted[kind]) for kind in wanted}


@pytest.fixture
def default_dtype():
    """Datasets in the cases make numbers of this type."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.mark.parametrize("dtype", EXACT, ids=["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_one_update_from_any_state_of_run_is_that_of_run(name, dtype, default_dtype):
    default_dtype(dtype)
    case = CASES[name]
    task = make(dtype, **case.changes)
    watches = [alone(task, lane, Watched()) for lane in case.lanes]
    forced = Forced(task, case.lanes)
    for step in range(len(watches[0].snapshots) - 1):
        apart = held_against(forced, watches, step)
        assert max(apart.values()) < EXACT[dtype], (step, apart)


def agree(told, watches, exact=1e-9):
    """Histories are those of `run`: rates to the bit, the rest to within what is exact."""
    assert sorted(told.histories) == list(range(len(watches)))
    for number, watch in enumerate(watches):
        mine, theirs = told.histories[number], watch.history
        assert np.array_equal(mine.lrs, theirs.lrs)
        assert mine.diverged == theirs.diverged
        # Losses are kept in single precision.
        np.testing.assert_allclose(mine.losses, theirs.losses, rtol=max(exact, 1.2e-7), atol=exact)
        for one, other in zip(mine.epochs, theirs.epochs, strict=True):
            assert (one.epoch, one.step, one.lr) == (other.epoch, other.step, other.lr)
            assert one.train_loss == pytest.approx(other.train_loss, rel=max(exact, 1.2e-7))
            assert (one.valid_loss is None) == (other.valid_loss is None)
            assert (one.valid_loss or 0) == pytest.approx(other.valid_loss or 0, rel=exact, abs=exact)
            assert one.metrics == pytest.approx(dict(other.metrics), rel=exact, abs=exact)


def weights_agree(task, lanes, kept, watches, exact=1e-9):
    [snapshot] = kept.saved.values()
    wanted = kinds_of(Forced(task, lanes).of([each.snapshots[-1] for each in watches]))
    found = kinds_of(snapshot)
    assert {kind: distance(found[kind], wanted[kind]) < exact for kind in wanted} == dict.fromkeys(wanted, True)


@pytest.mark.parametrize("name", CASES)
def test_whole_histories_are_those_of_run(name, default_dtype):
    default_dtype(torch.float64)
    case = CASES[name]
    task = make(**case.changes)
    agree(together(task, case.lanes), [alone(task, lane) for lane in case.lanes])


LONG = ["perceptron", "batch norm", "transformer", "convolution", "dropout", "AdamW", "RMSprop, momentum", "NAdam"]


@pytest.mark.parametrize("name", LONG)
def test_300_updates_end_with_the_weights_of_run(name):
    case = CASES[name]
    task = make(**{**case.changes, "epochs": None, "steps": 300, "batch_size": 5})
    kept = Kept(at=[300])
    told = together(task, case.lanes, kept=kept)
    watches = [alone(task, lane) for lane in case.lanes]
    agree(told, watches)
    weights_agree(task, case.lanes, kept, watches)


def test_in_bfloat16_it_agrees_as_far_as_that_is_precise():
    # Which products are rounded to 8 bits, and when, isn't the same in another order of operations.
    task = make(torch.float32, precision="bfloat16", epochs=4)
    agree(together(task, LANES), [alone(task, lane) for lane in LANES], exact=2e-2)


def encoder(dropout):
    return lambda: nn.Sequential(
        nn.Unflatten(1, (4, 4)),
        nn.TransformerEncoderLayer(4, 2, 8, dropout=dropout, batch_first=True),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def test_torchs_encoder_layer_agrees_but_for_its_masks():
    """Its dropout sees transposed tensors, whose memory `vmap` lays out anew: the same numbers, in other places."""
    task = make(model=encoder(0.0))
    agree(together(task, LANES), [alone(task, lane) for lane in LANES])
    task = make(model=encoder(0.3))
    told, watches = together(task, LANES), [alone(task, lane) for lane in LANES]
    assert told.histories[0] != watches[0].history
    assert together(task, LANES).histories == told.histories  # but reproducible


# --- grouping ---------------------------------------------------------------------------------------

MANY = [Lane(lane.schedule, lr=lane.lr, seed=seed) for seed in (3, 1, 2) for lane in LANES]


@pytest.mark.parametrize(
    "name", ["perceptron", "batch norm", "accumulation, batch norm, clipping", "own betas and eps"]
)
def test_lanes_of_several_seeds_are_those_of_each_alone(name):
    case = CASES[name]
    lanes = [replace(lane, seed=seed) for seed in (3, 1, 2) for lane in case.lanes]
    task = make(**case.changes)
    agree(together(task, lanes), [alone(task, lane) for lane in lanes])


@pytest.mark.parametrize(
    "order", [[0, 3, 6, 1, 4, 7], [8, 0, 4, 2], [0], [5, 4, 3, 0], [0, 0, 1, 0, 3, 3, 3], list(range(9))]
)
def test_neither_order_nor_company_nor_duplicates_matter(order):
    """Seeds with fewer lanes than others have places in the stack that are filled up."""
    task = make()
    lanes = [MANY[number] for number in order]
    agree(together(task, lanes), [alone(task, lane) for lane in lanes])


def test_groups_of_as_many_as_fit_are_the_same():
    task = make(epochs=4)
    whole = lrkit.run_lanes(task, MANY, backend="eager")
    need = whole[0].made["lanes"]["bytes_per_lane"]
    for fit, sizes in ((1, [1] * 9), (2, [2, 1] * 3), (3, [3, 3, 3]), (9, [6, 3])):
        watch, told = Groups(), Told()
        told.ended(dict(enumerate(lrkit.run_lanes(task, MANY, backend="eager", memory=fit * need, observers=[watch]))))
        assert [len(group) for group in watch.groups] == sizes
        assert all(np.array_equal(told.histories[n].lrs, whole[n].lrs) for n in range(9))
        agree(told, [alone(task, lane) for lane in MANY])


@pytest.mark.parametrize("name", ["dropout", "an augmenting dataset", "a stream"])
def test_what_seeds_can_not_share_is_parted(name, default_dtype):
    default_dtype(torch.float64)
    task = make(**CASES[name].changes)
    watch = Groups()
    histories = lrkit.run_lanes(task, MANY, backend="eager", observers=[watch])
    assert watch.groups == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    told = Told()
    told.ended(dict(enumerate(histories)))
    agree(told, [alone(task, lane) for lane in MANY])


def test_data_that_are_kept_but_differ_by_seed_part_seeds(default_dtype):
    default_dtype(torch.float64)
    task = make(**CASES["an augmenting dataset, kept"].changes)
    watch = Groups()
    histories = lrkit.run_lanes(task, MANY, backend="eager", observers=[watch])
    assert len(watch.groups) == 3
    assert histories[3].losses.tolist() != histories[0].losses.tolist()
    told = Told()
    told.ended(dict(enumerate(histories)))
    agree(told, [alone(task, lane) for lane in MANY])


class Groups(LanesObserver):
    def start(self, setup):
        self.groups = [list(each) for each in setup.choice.groups]


def dropping(at):
    """Ends lanes after some epochs: `{epochs: lanes}`."""
    return lambda histories: at.get(max((len(each.epochs) for each in histories.values()), default=0), ())


@pytest.mark.parametrize("name", ["perceptron", "batch norm", "dropout", "own betas and eps", "controllers"])
@pytest.mark.parametrize("at", [{1: [0]}, {1: [1], 2: [2, 0], 3: [3]}, {1: [0, 2, 4, 5]}, {2: [0, 1, 2, 3, 4, 5]}])
def test_those_who_stay_do_not_notice_who_goes(name, at):
    """The stack gets smaller on the way."""
    case = CASES[name]
    task = make(**{**case.changes, "epochs": 4})
    lanes = [*case.lanes, *(replace(lane, lr=lane.lr / 3) for lane in case.lanes)]
    told = together(task, lanes, drop=dropping(at))
    gone = {lane: epoch for epoch, each in at.items() for lane in each}
    assert {n for n, history in told.histories.items() if history.made.get("dropped")} == set(gone)
    whole = together(task, lanes).histories
    for number, history in told.histories.items():
        end = gone.get(number, 4)
        assert len(history.epochs) == end
        assert history.epochs[-1].step == 3 * end == len(history.losses)
        np.testing.assert_allclose(history.losses, whole[number].losses[: 3 * end], rtol=1.2e-7)
        assert np.array_equal(history.lrs, whole[number].lrs[: 3 * end])
    assert told.lane_steps == 6 * 12


def test_seeds_that_lose_all_their_lanes_leave_the_stack():
    task = make(epochs=4)
    told = together(task, MANY, drop=dropping({1: [0, 1, 2], 2: [3, 4, 6], 3: [5]}))
    stay = [7, 8]
    whole = {number: alone(task, MANY[number]).history for number in stay}
    for number in stay:
        np.testing.assert_allclose(told.histories[number].losses, whole[number].losses, rtol=1.2e-7)


# --- compiled ---------------------------------------------------------------------------------------

COMPILED = {
    "perceptron, momentum": Case({"batch_size": 22}),
    "batch norm, AdamW, clipping": replace(
        CASES["own weight decay, batch norm, clipping"],
        changes={**CASES["own weight decay, batch norm, clipping"].changes, "batch_size": 11},
    ),
    "attention": Case({"model": Attention, "batch_size": 11}),
    "dropout": Case({**CASES["dropout"].changes, "batch_size": 11}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_lanes_are_those_of_run(name):
    case = COMPILED[name]
    task = make(**case.changes)
    watches = [alone(task, lane, Watched()) for lane in case.lanes]
    work = work_of(task, case.lanes)
    told = together(task, case.lanes, compiled=True, work=work)
    [graphs] = work.graphs.values()
    assert len(graphs) == 1
    agree(told, watches)
    forced = Forced(task, case.lanes, compiled=True, work=work)
    for step in range(len(watches[0].snapshots) - 1):
        apart = held_against(forced, watches, step)
        assert max(apart.values()) < 1e-13, (step, apart)
    assert len(work.graphs) == 1  # the second group found it


@pytest.mark.slow
@pytest.mark.usefixtures("without_inductor")
def test_lanes_that_are_dropped_again_and_again_need_few_graphs(monkeypatch):
    monkeypatch.setattr("lrkit.training.lanes.parts._COMPILE_PAYS", 0)  # a smaller stack is always worth it
    task = make(batch_size=22, epochs=9)
    lanes = [Lane("linear(to=0)", lr=0.01 * (1 + n)) for n in range(8)]
    work = work_of(task, lanes, dropping({1 + n: [n] for n in range(7)}))
    told = together(task, lanes, compiled=True, work=work)
    [graphs] = work.graphs.values()  # of one model
    assert sorted(key[0] for key in graphs) == [(1, 1), (1, 2), (1, 4), (1, 8)]
    assert [len(told.histories[n].epochs) for n in range(8)] == [1, 2, 3, 4, 5, 6, 7, 9]
    np.testing.assert_allclose(told.histories[7].losses, alone(task, lanes[7]).history.losses, rtol=1.2e-7)


@pytest.mark.slow
@pytest.mark.usefixtures("without_inductor")
def test_lanes_with_bases_of_their_own_share_a_graph():
    task = make(batch_size=22)
    lanes = [Lane(lr=0.01 * (1 + n)) for n in range(4)]
    work = work_of(task, lanes)
    for group in ([0, 1], [2, 3]):
        train_together(work, group, Told(), Kept(at=()), compiled=True)
    [graphs] = work.graphs.values()
    assert len(graphs) == 1


@pytest.mark.slow
def test_in_single_precision_too():
    case = Case({"optimizer": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), "batch_size": 11})
    task = make(torch.float32, **case.changes)
    watches = [alone(task, lane, Watched()) for lane in case.lanes]
    forced = Forced(task, case.lanes, compiled=True)
    for step in range(len(watches[0].snapshots) - 1):
        apart = held_against(forced, watches, step)
        assert max(apart.values()) < 1e-6, (step, apart)
