"""The estimate that ADMM stops on: how far the objective is from its minimum."""

import math

import pytest

from qsm_recon.engines.admm import WINDOW, distance_left


def falling(power, iterations, minimum=3.0, size=5.0):
    return [minimum * (1 + size / k**power) for k in range(1, iterations + 1)]


@pytest.mark.parametrize("power", [1.6, 2.0, 2.5, 2.9])
@pytest.mark.parametrize("iterations", [150, 400])
def test_power_laws_are_seen_through(power, iterations):
    """A little too large, never too small: a window brings less at its end than at its start."""
    expected = 5.0 / iterations**power
    assert expected <= distance_left(falling(power, iterations)) < 1.6 * expected


def test_slow_fall_is_not_taken_for_the_end():
    assert distance_left(falling(0.5, 200)) > 0.25 * 5.0 / 200**0.5


def test_oscillation_counts():
    steady = [1.0] * 200
    assert distance_left(steady) == 0
    assert distance_left([1.0 + 0.01 * math.sin(k) for k in range(200)]) > 0.01


def test_nothing_can_be_said_before_a_whole_window():
    assert distance_left(falling(2.0, WINDOW)) == math.inf
    assert math.isfinite(distance_left(falling(2.0, WINDOW + 1)))


def test_a_vanishing_objective_is_at_its_minimum():
    assert distance_left([0.0] * 50) == 0


def test_what_came_before_a_change_is_forgotten():
    """A leap before the change says nothing of the power, nor of what the last iterations brought."""
    after = falling(2.0, 200)
    leap = [1e3 * value for value in after[:64]]
    assert distance_left(leap + after[64 : 64 + WINDOW], changed=64) == math.inf
    assert distance_left(leap + after[64:], changed=64) == distance_left(after, changed=64)
    assert distance_left(leap + after[64:], changed=64) == pytest.approx(5.0 / 200**2, rel=0.6)
    assert distance_left(leap + after[64 : 63 + WINDOW]) > 1  # what it would say without
