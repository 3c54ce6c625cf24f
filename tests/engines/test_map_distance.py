"""The estimate that ADMM stops on: how far a map is from its limit."""

import math

import numpy as np
import pytest

from qsm_recon.engines.map_distance import FIRST, MapDistance, distance_left

SHAPE, PADDED = (20, 18, 16), (20, 20, 18)


def way(rate, iterations, *, directions=1, seed=0):
    """Maps that approach a limit geometrically, the error turning from one direction to the next."""
    rng = np.random.default_rng(seed)
    limit = rng.standard_normal(SHAPE)
    errors = rng.standard_normal((directions, *SHAPE))
    errors *= np.linalg.norm(limit) / np.linalg.norm(errors[0])
    return limit, [limit + rate**k * errors[k % directions] for k in range(iterations + 1)]


def estimates(maps, mask=None, sample=1 << 16):
    watch = MapDistance(np.ones(SHAPE, bool) if mask is None else mask, sample=sample)
    padded = np.full(PADDED, 7.0)
    told = []
    for iteration, values in enumerate(maps):
        padded[:, : SHAPE[1], : SHAPE[2]] = values
        if iteration == 0:
            watch.begin(padded)
        else:
            told.append(watch.observe(padded, iteration, told[-1] if told else math.inf))
    return told


@pytest.mark.parametrize("rate", [0.9, 0.95, 0.98])
@pytest.mark.parametrize("directions", [1, 7])
def test_estimate_is_honest_on_a_geometric_way(rate, directions):
    limit, maps = way(rate, 120, directions=directions)
    for iteration, told in enumerate(estimates(maps), start=1):
        if iteration >= FIRST and rate**iteration < 0.3:  # before, nobody knows how long the way is
            true = np.linalg.norm(maps[iteration] - limit) / np.linalg.norm(limit)
            assert 0.5 * true < told
            if rate**iteration > 0.01:  # nearer the end it assumes that the rest is slow
                assert told < 6 * true


def test_nothing_is_told_at_first():
    told = estimates(way(0.5, FIRST + 1)[1])
    assert all(math.isinf(value) for value in told[: FIRST - 1])
    assert math.isfinite(told[FIRST - 1])


def test_what_lies_outside_the_mask_does_not_count():
    _, maps = way(0.9, 60)
    mask = np.zeros(SHAPE, bool)
    mask[4:12, 3:15, 5:11] = True
    shaken = [values + np.where(mask, 0, k % 3) for k, values in enumerate(maps)]
    assert estimates(shaken, mask) == pytest.approx(estimates(maps, mask))


def test_a_sample_tells_about_the_same():
    maps = way(0.95, 60)[1]
    whole, some = estimates(maps), estimates(maps, sample=500)
    assert some[-1] == pytest.approx(whole[-1], rel=0.15)


def test_map_that_stays_is_at_its_limit():
    limit, _ = way(0.9, 1)
    assert estimates([limit] * 50)[-1] == 0
    assert estimates([np.zeros(SHAPE)] * 50)[-1] == 0


def test_rounding_around_nothing_is_nothing():
    noise = [1e-9 * np.random.default_rng(k).standard_normal(SHAPE) for k in range(50)]
    watch = {level: MapDistance(negligible=level) for level in (0.0, 1e-6)}
    for level, watched in watch.items():
        watched.begin(noise[0])
        told = [watched.observe(values, k) for k, values in enumerate(noise[1:], start=1)]
        assert (told[-1] < 0.015) == (level > 0)


def test_further_from_the_start_means_further_from_the_end():
    assert distance_left(0.1, 1.0) < distance_left(0.2, 1.0) < distance_left(0.2, 0.3)
    assert distance_left(0.0, 0.0) == 0


def test_only_maps_since_half_of_the_way_are_kept():
    watch = MapDistance(sample=100)
    image = np.zeros(PADDED)
    watch.begin(image)
    for iteration in range(1, 2000):
        watch.observe(image, iteration)
        assert len(watch._kept) <= 64
