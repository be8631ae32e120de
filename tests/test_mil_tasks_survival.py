"""Tasks of survival against lifelines, brute force and the formulae as they are printed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mil.errors import ExperimentError, LabelError
from mil.tasks.cox import Cox
from mil.tasks.hazard import Hazard

follow_ups = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(-5, 5, width=32)), min_size=2, max_size=12)


def efron(times: NDArray[np.float64], events: NDArray[np.bool_], risk: NDArray[np.float64]) -> float:
    """The log partial likelihood as it is printed, one tied event after another."""
    total = 0.0
    for time in np.unique(times[events]):
        tied = np.flatnonzero(events & (times == time))
        at_risk = np.exp(risk[times >= time]).sum()
        total += risk[tied].sum()
        for order in range(len(tied)):
            total -= np.log(at_risk - order / len(tied) * np.exp(risk[tied]).sum())
    return total


@settings(max_examples=60)
@given(follow_ups)
def test_the_terms_of_cox_sum_to_the_partial_likelihood_of_efron(rows: list[tuple[int, bool, float]]) -> None:
    times, events, risk = (np.array(column, float) for column in zip(*rows, strict=True))
    targets = torch.tensor(np.stack([times, events], axis=1), dtype=torch.float32)
    losses = Cox().losses(torch.tensor(risk, dtype=torch.float32)[:, None], targets)
    assert -float(losses.sum()) == pytest.approx(efron(times, events == 1, risk), rel=1e-4, abs=1e-4)
    assert not losses[events == 0].any()


def test_the_terms_of_cox_sum_to_what_lifelines_reports() -> None:
    lifelines, pd = pytest.importorskip("lifelines"), pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "x": rng.normal(size=60),
        "time": rng.integers(1, 12, 60).astype(float),
        "event": rng.integers(0, 2, 60),
    })
    fitted = lifelines.CoxPHFitter().fit(frame, "time", "event")
    logits = torch.tensor(frame["x"].to_numpy() * fitted.params_["x"], dtype=torch.float32)[:, None]
    targets = torch.tensor(frame[["time", "event"]].to_numpy(), dtype=torch.float32)
    assert -float(Cox().losses(logits, targets).sum()) == pytest.approx(fitted.log_likelihood_, rel=1e-5)


def test_events_of_one_time_share_their_loss_evenly_in_any_order() -> None:
    targets = torch.tensor([[2.0, 1], [2, 1], [3, 0], [1, 1], [2, 1]])
    logits = torch.tensor([[0.5], [-1], [2], [0], [1]])
    order = torch.tensor([4, 2, 0, 3, 1])
    losses = Cox().losses(logits, targets)
    torch.testing.assert_close(Cox().losses(logits[order], targets[order]), losses[order])
    assert losses[0] == losses[1] == losses[4]


def test_cox_does_not_depend_on_cases_without_a_label_or_on_a_shift() -> None:
    targets = torch.tensor([[2.0, 1], [float("nan"), float("nan")], [3, 0], [1, 1]])
    logits = torch.tensor([[0.5], [9], [2], [-80]])
    losses = Cox().losses(logits, targets)
    torch.testing.assert_close(losses[[0, 2, 3]], Cox().losses(logits[[0, 2, 3]], targets[[0, 2, 3]]))
    torch.testing.assert_close(losses, Cox().losses(logits + 50, targets), atol=1e-4, rtol=1e-4)


def test_a_follow_up_is_known_only_whole() -> None:
    targets = Cox().targets({"time": ("1", "", "3"), "event": ("1", "1", "")})
    assert np.isnan(targets).all(axis=1).tolist() == [False, True, True]
    with pytest.raises(LabelError, match="Row 1: column time"):
        Cox().targets({"time": ("-1",), "event": ("1",)})


def test_intervals_end_at_quantiles_of_the_training_events() -> None:
    targets = np.array([[1, 1], [2, 1], [3, 1], [4, 1], [5, 1], [9, 0], [0.5, 0], [np.nan, np.nan]], np.float32)
    task = Hazard(bins=4).fit_to(targets)
    assert task.edges == (2.0, 3.0, 4.0, 9.0)
    with pytest.raises(LabelError, match="too few different times"):
        Hazard(bins=4).fit_to(np.array([[1, 1], [1, 1], [2, 0]], np.float32))
    with pytest.raises(ExperimentError, match="settled by fit_to"):
        Hazard(bins=4).losses(torch.zeros(1, 4), torch.ones(1, 2))


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_the_loss_of_hazards_is_that_of_zadeh_and_schmid(alpha: float) -> None:
    task = Hazard(bins=3, alpha=alpha, edges=(2.0, 4.0, 8.0))
    h = np.array([0.2, 0.5, 0.7])
    logits = torch.tensor(np.log(h / (1 - h)), dtype=torch.float32).expand(6, 3)
    targets = torch.tensor([[1.0, 1], [2.0, 1], [5.0, 1], [1.0, 0], [3.9, 0], [20.0, 0]])
    s = np.concatenate([[1], np.cumprod(1 - h)])
    wanted = [-np.log(s[k]) - np.log(h[k]) for k in (0, 1, 2)] + [-(1 - alpha) * np.log(s[k + 1]) for k in (0, 1, 2)]
    np.testing.assert_allclose(task.losses(logits, targets), wanted, rtol=1e-5)


@given(st.lists(st.floats(-30, 30, width=32), min_size=3, max_size=3))
def test_survival_falls_from_one_and_meets_the_intervals_at_their_ends(row: list[float]) -> None:
    task = Hazard(bins=3, edges=(2.0, 4.0, 8.0))
    logits = np.array([row], np.float32)
    curve = task.survival(logits, np.linspace(0, 8, 17))[0]
    assert curve[0] == 1
    assert (np.diff(curve) <= 0).all()
    np.testing.assert_allclose(task.survival(logits, np.array([2.0, 4.0, 8.0])), task.probabilities(logits))
    assert np.isnan(task.survival(logits, np.array([8.1]))).all()
    assert task.score(logits)[0] == pytest.approx(-task.probabilities(logits).sum())


def test_half_way_through_an_interval_half_of_its_hazard_has_been_met() -> None:
    task = Hazard(bins=2, edges=(2.0, 4.0))
    logits = np.zeros((1, 2), np.float32)  # hazards of a half
    np.testing.assert_allclose(task.survival(logits, np.array([1.0, 3.0])), [[0.5**0.5, 0.5**1.5]])


def test_a_survival_needs_an_event_and_somebody_still_at_risk() -> None:
    Cox().check(np.array([[1, 1], [2, 0]], np.float32))
    for lonely in ([[2, 1], [1, 0]], [[2, 0], [1, 0]], [[np.nan, np.nan]]):
        with pytest.raises(LabelError, match="needs an event"):
            Cox().check(np.array(lonely, np.float32))
