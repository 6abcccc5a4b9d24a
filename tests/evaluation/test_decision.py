"""What photographs prove, on tables whose truth is known."""

import math
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tintlab.evaluation import decision
from tintlab.evaluation.decision import PRIMARY, Verdict, decide, differences, spreads
from tintlab.system.decision_params import PromotionParams, ToleranceParams
from tintlab.system.errors import TintlabError

RULES = PromotionParams(
    min_gain=0, tolerance=ToleranceParams(psnr=1, delta_e00=1, ssim=0.01), colourfulness=(0.5, 1.1)
)
GOOD = {"psnr": 23.0, "ssim": 0.93, "delta_e00": 10.0, PRIMARY: 0.9, "colourfulness": 30.0}
TOTALS = {"model": {"judge_kernel_distance": 0.001}, "grey": {"judge_kernel_distance": 0.02}}


def scores(count: int = 40, seed: int = 0, **changes: Any) -> pd.DataFrame:
    """Photographs as a good model colours them; `psnr=-2.0` shifts that figure, a seed gives other chances."""
    random = np.random.default_rng(seed)
    spread = {"psnr": 0.5, "ssim": 0.004, "delta_e00": 0.5, PRIMARY: 0.01, "colourfulness": 3.0}
    names = [f"photo{at:03d}.webp" for at in range(count)]
    table = pd.DataFrame({"photo": names, "cluster": names, "category": "any"})
    for name, mean in GOOD.items():
        table[name] = mean + changes.get(name, 0.0) + random.normal(0, spread[name], count)
    fixed = {f"{PRIMARY}_grey": 0.8, f"{PRIMARY}_median_ab": 0.81, "colourfulness_true": 50.0}
    return table.assign(**fixed | {name: value for name, value in changes.items() if name not in GOOD})


def failed(verdict: Verdict) -> list[tuple[str, str]]:
    return [(check.figure, check.against) for check in verdict.checks if not check.passed]


def test_a_better_challenger_passes_and_its_gain_is_the_reason() -> None:
    verdict = decide(scores(judge_similarity=0.02, seed=1), TOTALS, scores(), RULES)
    assert verdict.passed
    assert failed(verdict) == []
    (reason,) = verdict.reasons
    assert reason.startswith("similarity to the truth is higher than the champion’s by +0.0")
    assert (verdict.photos, verdict.clusters) == (40, 40)


def test_the_whole_interval_must_lie_above_min_gain() -> None:
    challenger, champion = scores(judge_similarity=0.02, seed=1), scores()
    low = differences(challenger, champion)[PRIMARY].low
    assert 0.01 < low < 0.02
    below, above = (RULES.model_copy(update={"min_gain": low + step}) for step in (-1e-6, 1e-6))
    assert decide(challenger, TOTALS, champion, below).passed
    verdict = decide(challenger, TOTALS, champion, above)
    assert failed(verdict) == [(PRIMARY, "champion")]
    assert verdict.reasons[0].startswith("a tie: ")


def test_a_tie_and_a_worse_one_are_told_apart() -> None:
    assert decide(scores(seed=1), TOTALS, scores(), RULES).reasons[0].startswith("a tie: ")
    worse = decide(scores(judge_similarity=-0.02, seed=1), TOTALS, scores(), RULES)
    assert worse.reasons[0].startswith("worse: similarity to the truth changes by −0.0")
    little = RULES.model_copy(update={"min_gain": 0.05})
    verdict = decide(scores(judge_similarity=0.02, seed=1), TOTALS, scores(), little)
    assert verdict.reasons[0].startswith("too little gain: ")
    assert not worse.passed
    assert not verdict.passed


def test_identical_tables_are_a_tie_with_min_gain_0() -> None:
    verdict = decide(scores(), TOTALS, scores().sample(frac=1, random_state=3), RULES)
    assert not verdict.passed
    assert verdict.reasons == ("a tie: both models colour every photograph alike",)
    assert failed(verdict) == [(PRIMARY, "champion")]


@pytest.mark.parametrize(
    ("changes", "fault", "reason"),
    [
        ({"psnr": -1.5}, ("psnr", "champion"), r"PSNR may be worse by .*tolerance\.psnr is 1"),
        ({"delta_e00": 1.5}, ("delta_e00", "champion"), r"ΔE00 may be worse by .*tolerance\.delta_e00 is 1"),
        ({"ssim": -0.02}, ("ssim", "champion"), r"SSIM may be worse by .*tolerance\.ssim is 0\.01"),
        ({"colourfulness": -10.0}, ("colourfulness_share", "true"), "40% of the true .*50% to 110%"),
        ({"colourfulness": 40.0}, ("colourfulness_share", "true"), "140% of the true .*50% to 110%"),
        ({f"{PRIMARY}_grey": 0.95}, (PRIMARY, "grey"), "not surely better than grey’s"),
        ({f"{PRIMARY}_median_ab": 0.95}, (PRIMARY, "median_ab"), "not surely better than the median"),
    ],
)
def test_each_condition_alone_stops_a_better_challenger(
    changes: dict[str, float], fault: tuple[str, str], reason: str
) -> None:
    for champion in (scores(), None):
        verdict = decide(scores(judge_similarity=0.02, seed=1, **changes), TOTALS, champion, RULES)
        if champion is None and fault[1] == "champion":
            assert verdict.passed
            continue
        assert not verdict.passed
        assert failed(verdict) == [fault]
        assert len(verdict.reasons) == 1
        assert re.search(reason, verdict.reasons[0])


def test_a_kernel_distance_like_greys_stops_it() -> None:
    totals = TOTALS | {"model": {"judge_kernel_distance": 0.02}}
    verdict = decide(scores(judge_similarity=0.02, seed=1), totals, scores(), RULES)
    assert failed(verdict) == [("judge_kernel_distance", "grey")]


def test_the_worse_end_of_the_interval_must_be_within_tolerance() -> None:
    challenger = scores(judge_similarity=0.02, psnr=-0.9, seed=1)
    spread = differences(challenger, scores())["psnr"]
    assert spread.low < -1 < spread.mean
    assert failed(decide(challenger, TOTALS, scores(), RULES)) == [("psnr", "champion")]


def test_without_a_champion_the_baselines_decide() -> None:
    verdict = decide(scores(), TOTALS, None, RULES)
    assert verdict.passed
    assert verdict.smallest_difference is None
    assert "first model" in verdict.reasons[0]
    assert {check.against for check in verdict.checks} == {"grey", "median_ab", "true"}


def test_faults() -> None:
    with pytest.raises(TintlabError, match=r"prove nothing.*split\.test"):
        decide(scores(5, cluster="one"), TOTALS, None, RULES)
    with pytest.raises(ValueError, match="'photo'"):
        differences(scores(5), scores(6))
    with pytest.raises(ValueError, match="'cluster'"):
        differences(scores(5), scores(5, cluster="one"))


@pytest.mark.parametrize(("clusters", "twins"), [(12, 1), (47, 1), (25, 3)])
@pytest.mark.parametrize("distribution", ["normal", "laplace"])
def test_intervals_cover_the_truth_as_often_as_they_say(clusters: int, twins: int, distribution: str) -> None:
    """Each column is a set of photographs of its own; twins share a part of their difference."""
    sets = 1500
    random = np.random.default_rng(clusters)
    own = getattr(random, distribution)(size=(clusters, twins, sets))
    shared = random.normal(0, 1, (clusters, 1, sets)) if twins > 1 else 0.0
    values = 0.3 + (own + shared).reshape(clusters * twins, sets)
    names = [f"cluster{at // twins}" for at in range(clusters * twins)]
    found = spreads(values, names, n=2000)
    covered = sum(spread.low <= 0.3 <= spread.high for spread in found)
    low, high = stats.binom.interval(0.9999, sets, decision.LEVEL)
    assert low <= covered <= high


def test_twins_that_are_photographed_again_prove_nothing_more() -> None:
    own = np.random.default_rng(0).normal(0, 1, (30, 1))
    names = [f"photo{at}" for at in range(30)]
    (once,) = spreads(own, names)
    (thrice,) = spreads(np.repeat(own, 3, axis=0), list(np.repeat(names, 3)))
    assert (thrice.low, thrice.high, thrice.error) == pytest.approx((once.low, once.high, once.error))
    (mistaken,) = spreads(np.repeat(own, 3, axis=0), [str(at) for at in range(90)])
    assert mistaken.high - mistaken.low < 0.65 * (once.high - once.low)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(0, 5)), min_size=3, max_size=30).filter(
        lambda rows: len({cluster for _, _, cluster in rows}) > 1
    )
)
def test_swapping_the_sides_negates(rows: list[tuple[float, float, int]]) -> None:
    first, second = (
        pd.DataFrame(
            {
                "photo": [f"photo{at}" for at in range(len(rows))],
                "cluster": [str(row[2]) for row in rows],
                PRIMARY: [row[side] for row in rows],
            }
        )
        for side in (0, 1)
    )
    there = differences(first, second, [PRIMARY])[PRIMARY]
    back = differences(second, first, [PRIMARY])[PRIMARY]
    assert (there.mean, there.low, there.high, there.error) == pytest.approx(
        (-back.mean, -back.high, -back.low, back.error), abs=1e-12
    )


def test_the_smallest_difference_is_detected_in_80_percent() -> None:
    """Simulated: a gain of that size, many sets of photographs, how often the interval leaves 0 out."""
    count, noise = 47, 0.02
    random = np.random.default_rng(1)
    champion = scores(count)
    challenger = champion.assign(**{PRIMARY: champion[PRIMARY] + random.normal(0, noise, count)})
    smallest = decide(challenger, TOTALS, champion, RULES).smallest_difference
    assert smallest is not None
    own = float((challenger[PRIMARY] - champion[PRIMARY]).std(ddof=1))
    assert smallest == pytest.approx((1.96 + 0.8416) * own / math.sqrt(count), rel=0.03)
    values = random.normal(smallest, own, (count, 2000))
    seen = sum(spread.low > 0 for spread in spreads(values, [str(at) for at in range(count)], n=2000))
    assert seen / 2000 == pytest.approx(decision.POWER, abs=0.04)
    asked = RULES.model_copy(update={"min_gain": 0.5})
    assert decide(challenger, TOTALS, champion, asked).smallest_difference == pytest.approx(0.5 + smallest)


def test_gains_are_ranked_against_grey_without_a_champion() -> None:
    champion = scores(6)
    own = champion.assign(**{PRIMARY: champion[PRIMARY] + [0, 0.3, -0.2, 0.1, 0, 0.2]})
    gains = decision.gains(own.sample(frac=1, random_state=1), champion)
    assert [int(name[5:8]) for name in gains.index] == [1, 5, 3, 0, 4, 2]
    assert gains.iloc[0] == pytest.approx(0.3)
    assert decision.gains(own, None)["photo001.webp"] == pytest.approx(own[PRIMARY][1] - 0.8)


def test_categories_tell_what_was_learnt_and_what_forgotten() -> None:
    champion = scores(30)
    category = np.repeat(["reef", "cat", "few", "too-few"], [10, 10, 6, 4])
    learnt = np.where(category == "reef", 0.05, np.where(category == "cat", -0.02, 0.0))
    own = champion.assign(category=category, **{PRIMARY: champion[PRIMARY] + learnt})
    groups = {group.category: group for group in decision.by_category(own, champion, smallest=8)}
    assert {name: group.photos for name, group in groups.items()} == {"cat": 10, "reef": 10, "others": 10}
    assert groups["reef"].differences[PRIMARY].low == pytest.approx(0.05)
    assert groups["cat"].differences[PRIMARY].mean == pytest.approx(-0.02)
    assert groups["others"].differences["delta_e00"].mean == 0


def test_the_same_tables_give_the_same_verdict() -> None:
    first, second = (decide(scores(seed=1), TOTALS, scores(), RULES) for _ in range(2))
    assert first == second
