"""Empirical Bayes for the rates of many pixels: each rate from the pixel's own counts and from those of all others.

Rates are drawn from a bulk and, with a small chance, from a hot tail, both log-normal. The numbers of this prior are
those that make the counts of all pixels most likely; a pixel with few counts then gets a rate near the bulk's, one with
many counts the rate that it measured. In u = ln(rate) the product of a Poisson likelihood and a normal prior has one
maximum, known in closed form (Wright's omega function), and falls off faster than the prior on both sides: a sum over
evenly spaced nodes around it is exact to rounding.

Sources: empirical Bayes: Robbins, Proc. 3rd Berkeley Symposium 1 (1956) 157; Poisson-log-normal: Bulmer, Biometrics 30
(1974) 101; normal approximation by cubature: Arasaratnam & Haykin, IEEE TAC 54 (2009) 1254.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, wrightomega

from noise_model.arrays import Floats

_NODES = 33
_DEPTH = 25.0  # nodes reach at least to where the density has fallen by e^-25
_GROUP_WIDTH = 0.1  # of a pixel's own uncertainty: pixels closer than that are taken for equal
_AT_ONCE = 1024  # groups: bounds the memory
_STARTS = (0.5, 0.8, 0.95)  # shares of pixels that are taken for the bulk, to start with

#: Weak prior knowledge, true of any array, for what the counts leave open: mean and standard deviation of ln(bulk),
#: ln(its sigma), logit(hot fraction), ln(hot median / bulk), ln(hot sigma).
_USUAL = np.array([math.log(100), math.log(0.3), -3.0, 4.0, math.log(1.5)])
_USUAL_SD = np.array([4.0, 1.0, 1.5, 2.0, 0.5])
_CONTRAST = np.eye(5) - np.outer(np.eye(5)[3], np.eye(5)[0])  # from the numbers of a prior to those above


@dataclass(frozen=True)
class Evidence:
    """Counts of pixels; pixels whose counts hardly differ form a group.

    Attributes:
        counts, live: (G,) counts of a Poisson process, not always whole, and the time in which they came, s.
        pixels: (G,) number of pixels in a group.
        group: (H, W) group of each pixel.
    """

    counts: Floats
    live: Floats
    pixels: NDArray[np.int64]
    group: NDArray[np.int64]

    @classmethod
    def of(cls, counts: Floats, live: Floats) -> "Evidence":
        """The evidence of pixels with counts (H, W) in live times (H, W), grouped."""
        root = np.rint(2 * np.sqrt(counts) / _GROUP_WIDTH)  # the square root of counts has a standard deviation of 1/2
        time = np.rint(np.log(live) * np.sqrt(np.maximum(counts, 1)) / _GROUP_WIDTH)
        _, group, pixels = np.unique(
            np.stack([root, time], axis=-1).reshape(-1, 2), axis=0, return_inverse=True, return_counts=True
        )
        group = group.ravel()
        mean = [np.bincount(group, one.ravel()) / pixels for one in (counts, live)]
        return cls(mean[0], mean[1], pixels, group.reshape(counts.shape))

    def subset(self, groups: slice) -> "Evidence":
        """The evidence of some groups alone."""
        return replace(self, counts=self.counts[groups], live=self.live[groups], pixels=self.pixels[groups])


@dataclass(frozen=True)
class Prior:
    """The distribution of dark count rates over an array: a log-normal bulk and a log-normal hot tail.

    Attributes:
        theta: (5,) ln(bulk), ln(bulk sigma), logit(hot fraction), ln(hot median) and ln(hot sigma); sigma is the
            standard deviation of ln(rate).
        covariance: (5, 5) of their errors.
    """

    theta: Floats
    covariance: Floats

    @property
    def interval(self) -> Floats:
        """Ends (2, 5) of the 95 % intervals of `theta`."""
        reach = 1.96 * np.sqrt(np.diag(self.covariance))
        return np.array([self.theta - reach, self.theta + reach])

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Which of `theta` (5,) the counts decide, beyond what is usual for any array."""
        return np.diag(_CONTRAST @ self.covariance @ _CONTRAST.T) < _USUAL_SD**2 / 2

    @property
    def likely(self) -> Floats:
        """Ten values of `theta` (10, 5) with the mean and covariance of those that the counts leave possible."""
        root = np.linalg.cholesky(self.covariance) * math.sqrt(len(self.theta))
        return np.concatenate([self.theta + root.T, self.theta - root.T])


@dataclass(frozen=True)
class Rates:
    """Posterior dark count rates of pixels.

    Attributes:
        mean, low, high: (H, W) mean and 95 % credible interval.
        above: (H, W) probability that the rate exceeds `factor` times the median of the bulk.
    """

    mean: Floats
    low: Floats
    high: Floats
    above: Floats


def fit_prior(evidence: Evidence) -> Prior:
    """Fits the prior by its marginal likelihood: the one under which the counts of all pixels are most likely."""
    from scipy.optimize import minimize

    def misfit(theta: Floats) -> tuple[float, Floats]:
        return _misfit(theta, evidence)

    starts = [_rough_prior(evidence, share) for share in _STARTS]
    enough = 1e-2  # slope: a few per cent of the numbers' errors
    fits = [minimize(misfit, start, jac=True, method="BFGS", options={"gtol": enough}) for start in starts]
    theta = min(fits, key=lambda fit: float(fit.fun)).x
    return Prior(theta, np.asarray(np.linalg.inv(_curvature(theta, evidence)), dtype=np.float64))


def posterior(evidence: Evidence, prior: Prior, factor: float) -> Rates:
    """Posterior rate of each pixel, averaged over the priors that the counts leave possible."""
    pieces = range(0, len(evidence.counts), _AT_ONCE)
    found = [_posterior(evidence.subset(slice(first, first + _AT_ONCE)), prior, factor) for first in pieces]
    return Rates(*(np.concatenate(one)[evidence.group] for one in zip(*found, strict=True)))


def _posterior(evidence: Evidence, prior: Prior, factor: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, ends of the interval and probability to exceed `factor` times the bulk, (G,) each."""
    nodes, weights, above = [], [], np.zeros(len(evidence.counts))
    for index, theta in enumerate(prior.likely):
        bulk, hot, share = _components(theta, evidence, index / len(prior.likely))
        for part, chance in ((bulk, 1 - share), (hot, share)):
            nodes.append(part.nodes)
            weights.append(part.weights * chance[:, None] / len(prior.likely))
            above += (weights[-1] * (part.nodes > theta[0] + math.log(factor))).sum(axis=1)
    u, weight = np.concatenate(nodes, axis=1), np.concatenate(weights, axis=1)
    ends = np.exp(_quantiles(u, weight, (0.025, 0.975)))
    return (weight * np.exp(u)).sum(axis=1), ends[:, 0], ends[:, 1], above


def _quantiles(values: Floats, weights: Floats, shares: tuple[float, ...]) -> Floats:
    """Values (G, n) below which these shares of the weights (G, K) lie."""
    order = np.argsort(values, axis=1)
    values, weights = (np.take_along_axis(one, order, axis=1) for one in (values, weights))
    below = np.cumsum(weights, axis=1) - weights / 2
    return np.array([np.interp(shares, *row) for row in zip(below, values, strict=True)])


@dataclass(frozen=True)
class _Component:
    """One log-normal component of the prior, multiplied by the likelihood.

    Attributes:
        nodes, weights: (G, _NODES) values of ln(rate) and their chances, which add up to 1.
        evidence: (G,) ln of the probability of the counts, without terms that do not depend on the prior.
    """

    nodes: Floats
    weights: Floats
    evidence: Floats

    @classmethod
    def of(cls, evidence: Evidence, centre: float, sigma: float, offset: float) -> "_Component":
        """The component of a centre and sigma of ln(rate).

        Its nodes are shifted by `offset` of a step, so that those of several components do not fall together.
        """
        counts, live = evidence.counts, evidence.live
        expected = wrightomega(np.log(sigma**2 * live) + centre + sigma**2 * counts) / sigma**2  # counts, at the mode
        mode = np.log(expected / live)
        reach = _reach(expected, sigma)
        step = (reach[1] + reach[0]) / (_NODES - 1)
        away = step[:, None] * (np.arange(_NODES) + offset) - reach[0][:, None]
        weights = np.exp(-(away**2) / (2 * sigma**2) - expected[:, None] * (np.expm1(away) - away))
        total = weights.sum(axis=1)
        peak = counts * mode - expected - (mode - centre) ** 2 / (2 * sigma**2)
        log = peak + np.log(total * step / sigma)
        return cls(mode[:, None] + away, weights / total[:, None], log)


def _reach(expected: Floats, sigma: float) -> tuple[Floats, Floats]:
    """Distances below and above the mode at which ln of the density has fallen by _DEPTH, or a little more.

    From lower bounds of x^2 / (2 sigma^2) + expected (e^x - 1 - x).
    """
    prior = sigma * math.sqrt(2 * _DEPTH)
    few = _DEPTH / expected
    below = np.where(math.e * few < 1, np.sqrt(math.e * few), math.e * few)
    above = np.minimum(np.sqrt(2 * few), np.maximum(2, np.log(2 * few)))
    return np.minimum(prior, below), np.minimum(prior, above)


def _components(theta: Floats, evidence: Evidence, offset: float = 0.0) -> tuple[_Component, _Component, Floats]:
    """The bulk, the hot tail, and the probability of each group to belong to the tail."""
    bulk = _Component.of(evidence, theta[0], math.exp(theta[1]), offset)
    hot = _Component.of(evidence, theta[3], math.exp(theta[4]), offset)
    return bulk, hot, np.asarray(expit(theta[2] + hot.evidence - bulk.evidence))


def _misfit(theta: Floats, evidence: Evidence) -> tuple[float, Floats]:
    """-ln of the probability of all counts and of the prior itself, and its slope."""
    bulk, hot, share = _components(theta, evidence)
    odds = theta[2] + hot.evidence - bulk.evidence
    log = bulk.evidence + np.logaddexp(0, odds) - np.logaddexp(0, theta[2])
    slope = np.array(
        [
            *_slope(bulk, theta[0], math.exp(theta[1]), evidence.pixels * (1 - share)),
            evidence.pixels @ (share - expit(theta[2])),
            *_slope(hot, theta[3], math.exp(theta[4]), evidence.pixels * share),
        ]
    )
    away = (_CONTRAST @ theta - _USUAL) / _USUAL_SD
    return float(away @ away / 2 - evidence.pixels @ log), _CONTRAST.T @ (away / _USUAL_SD) - slope


def _slope(part: _Component, centre: float, sigma: float, pixels: Floats) -> tuple[float, float]:
    """Slope of ln of the probability of counts by the centre and by ln(sigma) of a component.

    The counts are those of `pixels` (G,) pixels in each group.
    """
    away = (part.nodes - centre) / sigma
    first, second = ((part.weights * away**power).sum(axis=1) for power in (1, 2))
    return float(pixels @ first / sigma), float(pixels @ (second - 1))


def _curvature(theta: Floats, evidence: Evidence) -> Floats:
    """Second derivatives (5, 5) of the misfit, by differences of its slope."""
    step = 1e-4
    rows = [_misfit(theta + d, evidence)[1] - _misfit(theta - d, evidence)[1] for d in step * np.eye(len(theta))]
    return np.asarray((np.array(rows) + np.array(rows).T) / (4 * step))


def _rough_prior(evidence: Evidence, share: float) -> Floats:
    """A rough prior, as if `share` of the pixels, those with the lowest rates, were the bulk."""
    order = np.argsort(evidence.counts / evidence.live)
    counts, live = (np.cumsum((one * evidence.pixels)[order]) for one in (evidence.counts, evidence.live))
    last = int(np.searchsorted(np.cumsum(evidence.pixels[order]), share * evidence.pixels.sum()))
    bulk = (counts[last] + 0.5) / live[last]
    rest = (counts[-1] - counts[last] + 0.5) / (live[-1] - live[last] + live[-1] / len(evidence.group.flat))
    hot = math.log(max(rest / bulk, 5.0))
    return np.array([math.log(bulk), math.log(0.3), math.log((1 - share) / share), math.log(bulk) + hot, 0.5])
