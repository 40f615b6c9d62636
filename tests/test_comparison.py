"""Verdicts: held against simulated results whose truth is known, and against scipy."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import lrkit
from lrkit import Candidate, EpochRecord, History, InputError, compare_histories
from lrkit.analysis.paired import compare_pairs, correct_by_holm, mean_of, seeds_needed


def history(*losses, dropped=False, **metrics):
    """A run with these test losses after its epochs of ten updates; as held-out loss twice as much."""
    epochs = tuple(
        EpochRecord(
            epoch=number,
            step=10 * number,
            train_loss=loss,
            valid_loss=2 * loss,
            metrics={name: value / 2 for name, value in metrics.items()},
            lr=0.1,
            seconds=1.0,
            test_loss=loss,
            test_metrics=metrics,
        )
        for number, loss in enumerate(losses, 1)
    )
    steps = 10 * len(losses)
    made = {"dropped": True} if dropped else {}
    return History(epochs, np.full((steps, 1), 0.1), np.repeat(losses, 10).astype(np.float32), made)


def candidate(name, finals, tried=None, lr=0.1):
    runs = {seed: each if isinstance(each, History) else history(1.0, each) for seed, each in enumerate(finals)}
    searched = {
        rate: {9: each if isinstance(each, History) else history(1.0, each)} for rate, each in (tried or {}).items()
    }
    return Candidate(name, f"{name}()", lr, runs, searched)


def diverged():
    return history(1.0, float("nan"))


# --- statistics with a known truth --------------------------------------------------------------------

TRIALS = 1000


def simulated(rng, truth, seeds, spread=1.0, common=2.0):
    """Results of schedules over seeds: each seed has luck of its own, that all schedules share."""
    luck = rng.normal(0, common, seeds)
    return [mean + luck + rng.normal(0, spread, seeds) for mean in truth]


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_intervals_of_means_cover_as_often_as_they_say(seeds):
    rng = np.random.default_rng(0)
    held = [found.low <= 1.0 <= found.high for found in (mean_of(rng.normal(1, 3, seeds)) for _ in range(TRIALS))]
    assert abs(np.mean(held) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / TRIALS)


@pytest.mark.parametrize(("seeds", "count"), [(2, 4), (3, 4), (5, 9), (20, 4)])
def test_intervals_of_differences_cover_all_at_once(seeds, count):
    rng = np.random.default_rng(1)
    truth = np.linspace(0, 3, count + 1)
    held = []
    for _ in range(TRIALS):
        reference, *others = simulated(rng, truth, seeds)
        found = compare_pairs([each - reference for each in others])
        held.append(all(each.low <= true <= each.high for each, true in zip(found, truth[1:], strict=True)))
    assert np.mean(held) > 0.95 - 4 * np.sqrt(0.95 * 0.05 / TRIALS)


@pytest.mark.parametrize("seeds", [2, 3, 5, 20])
def test_where_all_are_alike_false_verdicts_stay_under_five_percent(seeds):
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(TRIALS):
        reference, *others = simulated(rng, [1.0] * 5, seeds)
        false += any(each.certain for each in compare_pairs([each - reference for each in others]))
    assert false / TRIALS < 0.05 + 4 * np.sqrt(0.95 * 0.05 / TRIALS)


@pytest.mark.parametrize("samples", [100, 1000])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_where_all_are_alike_false_verdicts_stay_rare_with_a_metric_that_counts(seeds, samples):
    rng = np.random.default_rng(6)
    false = 0
    for _ in range(TRIALS):
        reference, *others = rng.binomial(samples, 0.9, (5, seeds)) / samples
        false += any(each.certain for each in compare_pairs([each - reference for each in others]))
    assert false / TRIALS < 0.05 + 4 * np.sqrt(0.95 * 0.05 / TRIALS)


def test_where_some_differ_false_verdicts_on_the_others_stay_under_five_percent():
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(TRIALS):
        reference, *others = simulated(rng, [1.0, 1.0, 1.0, 9.0, 9.0], 5)
        found = compare_pairs([each - reference for each in others])
        assert found[2].mean > 0
        false += found[0].certain or found[1].certain
    assert false / TRIALS < 0.05 + 4 * np.sqrt(0.95 * 0.05 / TRIALS)


def test_with_the_seeds_that_are_needed_four_of_five_comparisons_find_the_difference():
    rng = np.random.default_rng(4)
    effect = np.array([0.0, 1.0]) / np.std([0.0, 1.0], ddof=1)  # its own spread, exactly
    needed = seeds_needed(effect)
    found = [compare_pairs([rng.normal(effect.mean(), 1.0, needed)])[0].certain for _ in range(TRIALS)]
    assert 0.77 < np.mean(found) < 0.87  # the next whole number of seeds finds a little more


def test_pairing_finds_what_luck_that_all_share_would_hide():
    rng = np.random.default_rng(5)
    first, second = simulated(rng, [1.0, 2.0], 10, spread=0.3, common=10.0)
    assert compare_pairs([second - first])[0].certain
    assert stats.ttest_ind(first, second).pvalue > 0.5


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holms_p_values_are_those_of_closed_testing(p_values):
    """A p-value holds against every set of hypotheses that could all be true, each tested by Bonferroni's method."""
    numbers = range(len(p_values))
    sets = [each for size in range(1, len(p_values) + 1) for each in combinations(numbers, size)]
    tested = {each: min(1.0, len(each) * min(p_values[number] for number in each)) for each in sets}
    closed = [max(tested[each] for each in sets if number in each) for number in numbers]
    assert correct_by_holm(p_values) == pytest.approx(closed)


def test_a_single_comparison_is_scipys_paired_test():
    first, second = np.array([1.0, 2.0, 4.0, 4.5]), np.array([1.5, 2.1, 4.4, 5.5])
    theirs = stats.ttest_rel(second, first)
    [ours] = compare_pairs([second - first])
    assert (ours.p_value, ours.uncorrected) == pytest.approx((theirs.pvalue, theirs.pvalue))
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()))


# --- verdicts ----------------------------------------------------------------------------------------


def test_a_schedule_that_is_better_with_every_seed():
    found = compare_histories([candidate("a", [1.0, 1.1, 1.2]), candidate("b", [1.5, 1.6, 1.71])])
    assert found.verdict == (
        "a is better than b (by 0.5, p < 0.001).",
        "a at learning rate 0.1 has the lowest mean test loss: 1.10 (0.85 to 1.35).",
    )
    assert [each.name for each in found.standings] == ["a", "b"]
    assert found.by_name["a"].difference is None


def test_what_cant_be_told_apart_says_how_many_seeds_it_would_take():
    found = compare_histories([candidate("a", [1.0, 1.1, 1.2]), candidate("b", [1.3, 0.9, 1.3])])
    assert found.by_name["b"].difference.seeds_needed == seeds_needed(np.array([0.3, -0.2, 0.1])) == 114
    assert found.verdict[0] == (
        "b and a can't be told apart with 3 seeds; about 110 would be needed for a difference of this size."
    )


def test_several_that_cant_be_told_apart_and_one_that_is_better():
    found = compare_histories(
        [
            candidate("a", [2.0, 2.1, 2.2, 2.3]),
            candidate("b", [2.3, 1.9, 2.3, 2.2]),
            candidate("c", [2.1, 2.3, 2.0, 2.4]),
            candidate("d", [1.0, 1.11, 1.2, 1.3]),
        ]
    )
    assert found.verdict[0].startswith("d is better than a (by 1, p < 0.001).")
    assert found.verdict[1] == (
        "b and c can't be told apart from a with 4 seeds; about 130 to 830 would be needed for differences of these "
        "sizes."
    )
    assert found.verdict[2].startswith("d at learning rate 0.1 has the lowest mean test loss")


def test_several_that_cant_be_told_apart_are_not_named_where_they_are_all_others():
    pairs = {"a": [1.0, 1.1, 1.2], "b": [1.3, 0.9, 1.3], "c": [1.1, 1.3, 0.9]}
    found = compare_histories(candidate(name, finals) for name, finals in pairs.items())
    assert found.verdict[0].startswith("None of the 2 others can be told apart from a with 3 seeds; about ")


def test_one_seed_supports_no_verdict():
    found = compare_histories([candidate("a", [1.0]), candidate("b", [2.0])])
    assert found.verdict[0] == (
        "b and a can't be told apart with 1 seed, which says nothing of chance: at least 2 are needed, better 5."
    )
    assert (found.by_name["b"].difference.p_value, found.by_name["b"].final["loss"].low) == (None, None)


def test_the_same_numbers_are_the_same():
    pairs = {"a": [1.0, 1.1, 1.3], "b": [1.0, 1.1, 1.3], "c": [1.1, 1.1, 1.4]}
    found = compare_histories(candidate(name, finals) for name, finals in pairs.items())
    assert found.verdict[0] == (
        "c and a can't be told apart with 3 seeds; about 10 would be needed for a difference of this size."
    )
    assert found.verdict[1] == "b and a have the same numbers."


@pytest.mark.parametrize(
    ("differences", "p_value", "needed"),
    [([0.25, -0.25], 1.0, None), ([0.25, 0.25], 0.5, 6), ([0.25] * 6, 2**-5, 6), ([0.022, 0.022 + 2e-17], 0.5, 6)],
)
def test_differences_without_a_mean_or_a_spread(differences, p_value, needed):
    [found] = compare_pairs([np.array(differences)])
    assert (found.p_value, found.seeds_needed) == (pytest.approx(p_value), needed)
    assert seeds_needed(np.array([1.0, 1.0 + 1e-10])) == 2


def test_seeds_that_change_nothing_are_said():
    found = compare_histories([candidate("a", [1.0] * 3), candidate("b", [2.0] * 3)])
    assert any("Seeds change nothing" in note for note in found.notes)


def test_one_schedule_alone_has_its_mean():
    found = compare_histories([candidate("a", [1.0, 1.1])])
    assert found.verdict == ("a at learning rate 0.1 has a mean test loss of 1.05 (0.41 to 1.69).",)


def test_runs_that_diverge_put_a_schedule_last_and_out_of_the_comparison():
    found = compare_histories(
        [candidate("a", [1.0, 1.1]), candidate("b", [0.1, diverged()]), candidate("c", [2.0, 2.2])]
    )
    assert [each.name for each in found.standings] == ["a", "c", "b"]
    assert found.by_name["b"].difference is None
    assert "b has no finite test loss with 1 of 2 seeds, so it isn't compared." in found.verdict


def test_a_schedule_without_a_rate_has_no_runs():
    found = compare_histories([candidate("a", [1.0, 1.1]), candidate("b", [], {0.1: diverged()}, lr=None)])
    assert found.verdict[-1] == "b came to its end at no rate."
    assert found.by_name["b"].tried[0].state == "diverged"


def test_the_reference_is_the_favourite_of_the_search_not_of_the_runs():
    pair = [candidate("a", [1.0, 1.1], {0.1: 3.0}), candidate("b", [2.0, 2.4], {0.1: 1.0})]
    assert compare_histories(pair).reference == "b"
    assert compare_histories(pair, reference="a").reference == "a"
    failing = [candidate("a", [1.0, 1.1], {0.1: 3.0}), candidate("b", [2.0, diverged()], {0.1: 1.0})]
    assert compare_histories(failing).reference == "a"


def test_a_metric_that_is_to_be_high():
    runs = [[history(1.0, accuracy=each) for each in shares] for shares in ([0.9, 0.91, 0.93], [0.5, 0.52, 0.51])]
    found = compare_histories([candidate("a", runs[0]), candidate("b", runs[1])], measure="accuracy")
    assert found.measure.mode == "max"
    assert found.verdict[0].startswith("a is better than b (by 40 percentage points, p < 0.001).")
    assert found.by_name["a"].final["loss"].mean == 1.0


# --- the way there, and other rates ----------------------------------------------------------------------


def test_steps_to_the_target_are_the_median_over_all_runs():
    runs = [history(0.9, 0.4, 0.3), history(0.4, 0.3, 0.2), history(0.9, 0.8, 0.7)]
    reached = compare_histories([candidate("a", runs)], target=0.5).by_name["a"].reached
    assert (reached.n, reached.of, reached.steps, reached.seconds) == (2, 3, 20.0, 2.0)
    reached = compare_histories([candidate("a", runs)], target=0.25).by_name["a"].reached
    assert (reached.n, reached.steps, reached.seconds) == (1, None, None)


def test_by_default_the_target_is_where_the_worst_ends():
    assert compare_histories([candidate("a", [1.0, 2.0]), candidate("b", [3.0, 4.0])]).target == 3.5


def test_what_is_lost_beside_the_best_rate_is_read_between_rates():
    tried = {0.01: 0.9, 0.1: 0.5, 1.0: 0.7}  # held-out losses are twice as much
    found = compare_histories([candidate("a", [0.5, 0.6], tried)]).by_name["a"]
    share = np.log10(3)
    assert found.sensitivity.lower == pytest.approx(0.8 * share)
    assert found.sensitivity.higher == pytest.approx(0.4 * share)
    assert found.at_edge is None


def test_what_isnt_known_beside_the_best_rate_is_none():
    tried = {0.1: 0.5, 0.3: diverged()}
    found = compare_histories([candidate("a", [0.5, 0.6], tried)])
    assert found.by_name["a"].sensitivity == lrkit.analysis.comparison.Sensitivity(None, None, higher_diverged=True)
    assert found.by_name["a"].at_edge == "lowest"
    assert any("a better one may lie beyond" in note for note in found.notes)
    tried = {0.03: history(1.0, 0.6, dropped=True), 0.1: 0.5, 0.3: 0.6}
    assert compare_histories([candidate("a", [0.5, 0.6], tried)]).by_name["a"].sensitivity.lower is None


# --- the interface -----------------------------------------------------------------------------------


def test_json_has_what_is_promised():
    tried = {0.1: 0.5, 0.3: diverged()}
    found = compare_histories(
        [candidate("a", [1.0, 1.1], tried), candidate("b", [2.0, 2.4]), candidate("c", [diverged()])]
    )
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["verdict"] == " ".join(found.verdict)
    assert data["verdict"].startswith("b and a can't be told apart with 2 seeds; about ")
    assert data["reference"] == "a"
    second = data["schedules"][1]
    assert (second["name"], second["best_lr"], second["n_seeds"]) == ("b", 0.1, 2)
    assert second["valid_loss"]["mean"] == 2.2
    assert len(second["valid_loss"]["interval"]) == 2
    assert second["difference"].keys() >= {"mean", "interval", "p_value"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"reference": "z"}, "unknown reference 'z'"),
        ({"measure": "accuracy"}, "unknown measure 'accuracy'"),
        ({"mode": "low"}, "mode must be 'min' or 'max', not 'low'"),
        ({"target": float("nan")}, "target must be finite, not nan"),
    ],
)
def test_wrong_arguments_are_said_in_one_sentence(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        compare_histories([candidate("a", [1.0])], **arguments)


def test_candidates_that_cant_be_compared():
    with pytest.raises(InputError, match="no run came to its end"):
        compare_histories([candidate("a", [diverged()])])
    with pytest.raises(InputError, match="two are called 'a'"):
        compare_histories([candidate("a", [1.0]), candidate("a", [1.0])])
    with pytest.raises(TypeError, match="takes candidates"):
        compare_histories(["a"])
    runs = [history(1.0, f1=0.5)]
    with pytest.raises(InputError, match="mode must be said for the measure 'f1'"):
        compare_histories([candidate("a", runs)], measure="f1")
