"""Shares of small groups beside those of large ones."""

import numpy as np
import pytest
from scipy.stats import beta, betabinom

from fakevlm.metrics.shrinkage import MIN_WEIGHT, Prior, beta_quantile, fit_prior, rough_low, shrunk_shares

pytestmark = pytest.mark.unit


def test_quantiles_are_scipys() -> None:
    rng = np.random.default_rng(0)
    a = np.concatenate([rng.gamma(0.5, 2, 200) + 1e-3, [0.02, 500_000.0, 1e6, 3.0]])
    b = np.concatenate([rng.gamma(0.5, 200, 200) + 1e-3, [1.98, 500_000.0, 0.5, 1e6]])
    for probability in (0.025, 0.5, 0.975):
        assert np.allclose(beta_quantile(a, b, probability), beta.ppf(probability, a, b), atol=1e-9)


def test_the_prior_of_groups_is_found_again() -> None:
    rng = np.random.default_rng(1)
    trials = rng.integers(1, 400, 4000)
    prior = fit_prior(betabinom.rvs(trials, 0.8, 20, random_state=rng), trials)
    assert prior.mean == pytest.approx(0.8 / 20.8, rel=0.1)
    assert prior.hits + prior.misses == pytest.approx(20.8, rel=0.25)


def test_three_of_three_do_not_lead() -> None:
    hits, trials = [3, 300, 0, 1, 5], [3, 500, 900, 40, 1000]
    shares = shrunk_shares(hits, trials, fit_prior(hits, trials))
    assert shares.low.argmax() == 1
    assert 0.3 < shares.mean[0] < 1
    assert (shares.low <= shares.mean).all()
    assert (shares.mean <= shares.high).all()


@pytest.mark.parametrize(
    ("hits", "trials"), [([], []), ([0], [0]), ([0, 0], [5, 9]), ([4, 4], [4, 4]), ([1], [1]), ([0, 0], [0, 7])]
)
def test_nothing_to_learn_from(hits: list[int], trials: list[int]) -> None:
    prior = fit_prior(hits, trials)
    assert 0 < prior.mean < 1
    assert prior.hits + prior.misses >= MIN_WEIGHT * (1 - 1e-9)
    shares = shrunk_shares(hits, trials, prior)
    assert np.isfinite(np.array([shares.mean, shares.low, shares.high])).all()


def test_the_rough_end_is_near_the_exact_one() -> None:
    prior = Prior(0.5, 20)
    hits, trials = np.array([0, 3, 50, 400]), np.array([10, 30, 300, 1000])
    exact = shrunk_shares(hits, trials, prior).low
    assert np.abs(rough_low(hits, trials, prior) - exact).max() < 0.06
