"""``qsminvnet`` and ``fine`` as solvers: what they say of their domain, where they are refused, and their error."""

from __future__ import annotations

import numpy as np
import pytest

from qsm_recon import Problem, make_solver
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.learned.domain import outside_domain, spread_and_peak
from qsm_recon.learned.heads import head
from qsm_recon.operators.grid import Grid
from qsm_recon.solvers.registry import find_solver

from .conftest import little_head

FACTS = {"field_spread_ppm": [0.004, 0.03], "field_peak_ppm": 0.9}


def problem(**changes):
    one = little_head(13)
    known = {"field_ppm": one.field_ppm, "mask": one.mask, "grid": one.grid, "field_kind": "local"}
    return Problem(**{**known, **changes})


def scaled(spread):
    one = little_head(13)
    return one.field_ppm * np.float32(spread / spread_and_peak(one.field_ppm, one.mask)[0])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, None),
        ({"grid": Grid((36, 40, 34), (1.05, 1.05, 1.05))}, None),
        ({"grid": Grid((36, 40, 34), (1.0, 1.0, 1.0), (1.0, 0.0, 0.1))}, None),
        ({"grid": Grid((36, 40, 34), (0.5, 0.5, 0.5))}, "voxels of 0.5 × 0.5 × 0.5 mm"),
        ({"grid": Grid((36, 40, 34), (1.0, 1.0, 1.3))}, "voxels of 1 × 1 × 1.3 mm"),
        ({"grid": Grid((36, 40, 34), (1.0, 1.0, 1.0), (0.0, 1.0, 1.0))}, "45° from the nearest axis"),
        ({"field_ppm": 0.2}, "spread of 0.2 ppm, where training had 0.004 to 0.03 ppm"),
        ({"field_ppm": 0.0005}, "spread of 0.0005 ppm"),
    ],
)
def test_what_training_did_not_have_is_said(changes, word):
    if "field_ppm" in changes:
        changes = {"field_ppm": scaled(changes["field_ppm"])}
    else:
        changes = {"field_ppm": scaled(0.01), **changes}
    found = outside_domain(problem(**changes), FACTS)
    if word is None:
        assert found == []
    else:
        found = [text for text in found if "field of up to" not in text]  # there is a test of that below
        assert len(found) == 1
        assert found[0].startswith("outside of what the network was trained on: ")
        assert word in found[0]


def test_a_source_stronger_than_any_in_training_is_said():
    field = scaled(0.01)
    field[18, 20, 17] = 2.0
    (found,) = outside_domain(problem(field_ppm=field), FACTS)
    assert "a field of up to 2 ppm, where training had 0.9 ppm at most" in found


def test_both_are_registered_with_or_without_their_extra():
    for name in ("qsminvnet", "fine"):
        solver = find_solver(name)
        assert solver.extra == "torch"
        assert solver.needs == ("torch", "safetensors")
    assert not find_solver("tv").missing()


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("safetensors", reason="needs the extra qsm_recon[torch]")
    return pytest.importorskip("torch", reason="needs the extra qsm_recon[torch]")


def test_warnings_are_in_the_result(torch):
    grid = Grid((36, 40, 34), (1.0, 1.0, 2.0))
    result = make_solver("qsminvnet").solve(problem(grid=grid))
    assert any("voxels of 1 × 1 × 2 mm" in text for text in result.details["warnings"])


def test_a_share_of_the_correction(torch):
    given = problem()
    maps = [make_solver("qsminvnet", correction=c).solve(given).susceptibility_ppm for c in (0.0, 0.5, 1.0)]
    middle = (maps[0] + maps[2]) / 2
    inside = given.mask
    assert np.ptp((maps[1] - middle)[inside]) < 1e-4 * np.ptp(maps[0][inside])
    assert np.linalg.norm(maps[2] - maps[0]) > 0.01 * np.linalg.norm(maps[0])


def test_edited_weights_fit_better_than_those_they_started_from(torch):
    given = problem(field_noise_ppm=little_head(13).noise_ppm)
    result = make_solver("fine", max_iterations=8, regularisation_weight=0.0, tolerance=0.0).solve(given)
    plain = make_solver("qsminvnet").solve(given)
    assert result.iterations == 8
    assert result.details["fidelity_before"] == pytest.approx(plain.details["fidelity"], rel=1e-3)
    assert result.history["fidelity"][-1] < result.details["fidelity_before"]
    misfits = [np.std((given.field_ppm - one.fitted_field_ppm)[given.mask]) for one in (plain, result)]
    assert misfits[1] < misfits[0]


def test_it_ends_at_the_noise_where_that_is_known(torch):
    given = problem(field_noise_ppm=np.where(little_head(13).mask, np.float32(0.05), 0))
    result = make_solver("fine", max_iterations=8, noise_factor=1.0).solve(given)
    assert result.converged
    assert "noise" in result.stop_reason
    assert result.iterations == 1


def test_the_axis_along_the_field_may_be_any(torch):
    one = little_head(13)
    expected = make_solver("qsminvnet").solve(problem()).susceptibility_ppm
    turned = Grid((34, 36, 40), b0_direction=tuple(np.array(one.grid.b0_direction)[[2, 0, 1]]))
    given = problem(grid=turned, field_ppm=one.field_ppm.transpose(2, 0, 1), mask=one.mask.transpose(2, 0, 1))
    found = make_solver("qsminvnet").solve(given).susceptibility_ppm
    assert np.allclose(found, expected.transpose(2, 0, 1), atol=1e-5)


def test_a_map_to_start_from_is_refused(torch):
    with pytest.raises(ParameterError, match="starts from the map of its network"):
        make_solver("fine").solve(problem(), start_ppm=np.zeros((36, 40, 34), np.float32))


def test_other_weights_can_be_named(torch, monkeypatch, tmp_path):
    monkeypatch.setenv("QSM_RECON_WEIGHTS", str(tmp_path / "mine.safetensors"))
    with pytest.raises(DataError, match=r"mine.safetensors: there is no such file of weights"):
        make_solver("qsminvnet").solve(problem())
    from qsm_recon.learned.network import initial_weights
    from qsm_recon.learned.weights import save_weights

    save_weights(tmp_path / "mine.safetensors", initial_weights(0), {"step": 0})
    mine = make_solver("qsminvnet").solve(problem())
    assert mine.details["weights"] == "mine.safetensors"
    first = make_solver("qsminvnet", correction=0.0).solve(problem())
    inside = first.mask
    assert np.ptp((mine.susceptibility_ppm - first.susceptibility_ppm)[inside]) < 1e-5


def test_a_head_that_training_did_not_see(torch, tmp_path):
    """One of those held out, at 2 mm, where the network was not trained either: an example, no proof."""
    one = head(tmp_path, 202, "reduced")
    given = Problem(one.field_ppm, one.mask, one.grid, field_noise_ppm=one.noise_ppm, field_kind="local")
    truth = one.susceptibility_ppm[one.mask] - one.susceptibility_ppm[one.mask].mean()
    methods = {"tkd": {}, "tv": {}, "qsminvnet": {}, "fine": {"max_iterations": 5}}
    errors = []
    for name, settings in methods.items():
        found = make_solver(name, **settings).solve(given).susceptibility_ppm[one.mask]
        errors.append(np.linalg.norm(found - found.mean() - truth) / np.linalg.norm(truth))
    assert np.all(np.diff(errors[:3]) < 0), errors
    assert errors[3] < errors[1], errors


def test_the_device_of_the_run_is_that_of_the_network(torch):
    from qsm_recon.backend.device import TORCH_CPU, on_device

    automatic, chosen = make_solver("qsminvnet"), make_solver("qsminvnet", device="cuda")
    assert automatic._device() == "auto"
    with on_device(TORCH_CPU):
        assert automatic._device() == "cpu"
        assert chosen._device() == "cuda"
