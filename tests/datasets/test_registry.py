import numpy as np
import pytest

from qsm_recon.datasets import KINDS, load_case
from qsm_recon.datasets.phantom_case import phantom_case
from qsm_recon.errors import ParameterError
from qsm_recon.phantom import PhantomParameters
from qsm_recon.units import rad_per_ppm

COARSE = "size=reduced&voxel_size=5,5,5"


def test_phantom_from_its_echoes(phantom):
    case = phantom_case(phantom)
    problem = case.problem
    np.testing.assert_array_equal(case.truth.susceptibility_ppm, phantom.susceptibility_ppm)
    np.testing.assert_array_equal(case.truth.labels, phantom.labels)
    np.testing.assert_array_equal(case.evaluation_mask, phantom.evaluation_mask)
    np.testing.assert_allclose(problem.echoes, phantom.echoes, rtol=1e-4, atol=1e-5 * np.abs(phantom.echoes).max())
    np.testing.assert_allclose(problem.magnitude, np.linalg.norm(phantom.echoes, axis=-1), rtol=1e-4)
    assert np.corrcoef(problem.field_ppm[problem.mask], phantom.field_ppm[problem.mask])[0, 1] > 0.9
    assert problem.phase_scale == pytest.approx(rad_per_ppm(7, 0.016))
    assert "snr=1000.0" in case.sources["phantom"]


def test_phantom_with_its_true_field(phantom):
    case = phantom_case(phantom, "true")
    np.testing.assert_array_equal(case.problem.field_ppm, phantom.field_ppm + phantom.background_field_ppm)
    np.testing.assert_array_equal(case.problem.mask, phantom.mask)
    assert case.problem.field_noise_ppm is None


def test_options_reach_the_phantom(monkeypatch, tmp_path, phantom):
    asked = []
    monkeypatch.setattr(
        "qsm_recon.datasets.phantom_case.build_phantom", lambda parameters, **_: (asked.append(parameters), phantom)[1]
    )
    load_case(
        f"phantom:sim1?{COARSE}&snr=50&seed=3&noise_seed=4&b0=3&te=0.005,0.01&b0_direction=0,0.6,0.8&background=yes"
        "&rf_phase=1.5&field=true"
    )
    load_case("phantom:sim2", b0_direction=(0, 1, 0))
    assert asked == [
        PhantomParameters(
            case="sim1", size="reduced", voxel_size_mm=(5.0, 5.0, 5.0), snr=50.0, seed=3, noise_seed=4, b0_tesla=3.0,
            echo_times_s=(0.005, 0.01), b0_direction=(0, 0.6, 0.8), background=True, rf_phase_offset_rad=1.5,
        ),
        PhantomParameters(case="sim2", b0_direction=(0, 1, 0)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ("rc3:folder", ["'rc3' is no kind", "did you mean 'rc"]),
        ("nonsense", ["'nonsense' is no kind", "phantom"]),
        ("bids", ["expected bids:DIR"]),
        ("phantom", ["expected phantom:sim1|sim2"]),
        ("phantom:sim3", ["unknown simulation 'sim3'", "did you mean 'sim"]),
        ("phantom:sim2?sn=3", ["'sn' is unknown for phantom", "did you mean 'snr'"]),
        ("phantom:sim2?snr", ["expected option=value"]),
        ("phantom:sim2?snr=", ["'snr' has no value"]),
        ("phantom:sim2?snr=1&snr=2", ["'snr' is given twice"]),
        ("phantom:sim2?snr=loud", ["option snr", "'loud'"]),
        ("phantom:sim2?seed=1.5", ["option seed", "whole number"]),
        ("phantom:sim2?voxel_size=1,2", ["option voxel_size", "3 numbers"]),
        ("phantom:sim2?background=perhaps", ["option background", "yes or no"]),
        ("phantom:sim2?field=fitt", ["option field", "did you mean 'fit'"]),
        ("phantom:sim2?size=ful", ["size", "did you mean 'full'"]),
        ("rc1:.?case=Sim1", ["'case' is unknown for rc1"]),
    ],
)
def test_bad_specifications(specification, words):
    with pytest.raises(ParameterError) as caught:
        load_case(specification)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_describes_itself(kind):
    assert kind.description
    assert all(kind.options.values())


def test_importing_data_sets_is_light(run_python):
    heavy = run_python(
        "import sys, qsm_recon.datasets as d; d.KINDS['rc2'].reader; "
        "print([m for m in ('numba', 'scipy', 'nibabel', 'pyfftw', 'matplotlib') if m in sys.modules])"
    )
    assert heavy.strip() == "[]"
