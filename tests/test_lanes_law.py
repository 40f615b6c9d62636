"""A lane is `run` alone: one update from any state of `run`, and free-running to the end."""

import numpy as np
import pytest
import torch

from lane_cases import CASES, Forced, Kept, Watched, alone, distance, kinds_of, make, together

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
    task = make(**{**case.changes, "epochs": 100})
    kept = Kept(at=[300])
    told = together(task, case.lanes, kept=kept)
    watches = [alone(task, lane) for lane in case.lanes]
    agree(told, watches)
    weights_agree(task, case.lanes, kept, watches)
