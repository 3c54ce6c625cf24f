"""What the phantom refuses, and how it is cached."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.commands.options import build_parser, case_from_options
from qsm_recon.datasets.registry import load_case
from qsm_recon.errors import ParameterError
from qsm_recon.phantom import PhantomParameters, build_phantom
from qsm_recon.phantom.cache import cached, cached_files, key


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"case": "sim3"}, "did you mean"),
        ({"size": "tiny"}, "known: full, reduced"),
        ({"snr": 0.0}, "snr"),
        ({"snr": "high"}, "snr"),
        ({"snr": math.nan}, "snr"),
        ({"seed": -1}, "seed"),
        ({"noise_seed": 1.5}, "noise_seed"),
        ({"b0_tesla": 0.0}, "b0_tesla"),
        ({"echo_times_s": (4.0, 12.0)}, "divided by 1000"),
        ({"echo_times_s": (0.012, 0.004)}, "increasing"),
        ({"echo_times_s": ()}, "echo_times_s"),
        ({"b0_direction": (0.0, 0.0, 0.0)}, "B0 direction"),
        ({"voxel_size_mm": (1.0, 1.0)}, "voxel_size_mm"),
        ({"voxel_size_mm": (0.1, 1.0, 1.0)}, "0.6 to 8"),
        ({"rf_phase_offset_rad": math.inf}, "rf_phase_offset_rad"),
    ],
)
def test_refused(options, words):
    with pytest.raises(ParameterError, match=words):
        PhantomParameters(**options)


def test_defaults_are_those_of_the_challenge():
    parameters = PhantomParameters()
    assert parameters.echo_times_s == (0.004, 0.012, 0.020, 0.028)
    assert parameters.b0_tesla == 7.0
    assert parameters.snr == 100.0
    assert parameters.output_voxel_mm == (1.0, 1.0, 1.0)
    assert parameters.fine_voxel_mm == 0.65
    assert not parameters.background


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("QSM_RECON_CACHE", str(tmp_path))
    cache_folder.cache_clear()
    yield tmp_path
    cache_folder.cache_clear()


def test_cache_gives_back_the_same_arrays(own_cache):
    parameters = PhantomParameters(case="sim2", size="reduced", voxel_size_mm=(5.0, 5.0, 5.0))
    first = build_phantom(parameters)
    assert len(cached_files()) == 2
    again = build_phantom(parameters)
    for name in ("susceptibility_ppm", "labels", "mask", "evaluation_mask", "echoes", "field_ppm", "r2star_per_s"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert not list((own_cache / "phantom").glob("*.part"))
    # Another noise level keeps the anatomy: one new file.
    build_phantom(PhantomParameters(case="sim2", size="reduced", voxel_size_mm=(5.0, 5.0, 5.0), snr=1000.0))
    assert len(cached_files()) == 3


def test_damaged_cache_is_computed_again(own_cache):
    calls = []

    def compute():
        calls.append(1)
        return {"values": np.arange(3)}

    cached("stage", {"a": 1}, compute)
    path = own_cache / "phantom" / key("stage", {"a": 1})
    assert path.exists()
    cached("stage", {"a": 1}, compute)
    assert len(calls) == 1
    path.write_bytes(path.read_bytes()[:40])
    assert np.array_equal(cached("stage", {"a": 1}, compute)["values"], [0, 1, 2])
    assert len(calls) == 2
    cached("stage", {"a": 1}, compute)
    assert len(calls) == 2


def test_key_depends_on_every_parameter():
    assert key("images", {"snr": 100.0}) != key("images", {"snr": 1000.0})
    assert key("images", {"snr": 100.0}) != key("anatomy", {"snr": 100.0})


@pytest.mark.slow  # three phantoms are built
def test_no_cache_means_none(own_cache):
    specification = "phantom:sim1?size=reduced&voxel_size=8,8,8&field=true"
    options = build_parser().parse_args(["--dataset", specification, "--no-cache"])
    without = case_from_options(options).problem
    assert cached_files() == []
    kept = load_case(specification).problem
    assert len(cached_files()) == 2
    for path in cached_files():
        path.write_bytes(b"what is there is not read either")
    again = load_case(specification, cache=False).problem
    assert np.array_equal(without.field_ppm, kept.field_ppm)
    assert np.array_equal(again.field_ppm, kept.field_ppm)
    assert {path.read_bytes() for path in cached_files()} == {b"what is there is not read either"}
