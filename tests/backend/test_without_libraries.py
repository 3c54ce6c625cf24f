"""Without numba, without pyFFTW, and without both: the same maps, and a word about it, once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from oracles.own import own_removals, own_solvers

METHODS = tuple(name for name, solver in own_solvers().items() if not solver.missing())
QUICK = ("tkd", "fansi", "medi")
REFERENCE: list = []
"""What comes out with all libraries, made once."""
SCRIPT = """
import json, logging, sys
for name in {missing!r}:
    sys.modules[name] = None
said = []
class Keep(logging.Handler):
    def emit(self, record):
        said.append([record.levelname, record.getMessage()])
logging.getLogger().addHandler(Keep())
logging.getLogger("qsm_recon").setLevel(logging.INFO)
import numpy as np
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.background.registry import make_removal
from qsm_recon.backend.fft import library_name
from qsm_recon.checkup.known_answer import B0_TESLA, PROTON_MHZ_PER_TESLA, known_scan
from qsm_recon.field import EchoSeries, estimate_field
from qsm_recon.units import hz_to_ppm

scan = known_scan()
grid = Grid.from_affine(scan.mask.shape, scan.affine)
times = (0.005, 0.012, 0.020)
hz = scan.field_ppm * PROTON_MHZ_PER_TESLA * B0_TESLA
ramp = np.linspace(-80, 80, scan.mask.shape[0])[:, None, None]
phase = 2 * np.pi * (hz + ramp)[..., None] * np.array(times) + 0.4
rng = np.random.default_rng(1)
signal = np.exp(1j * phase - 25 * np.array(times)) + 0.01 * (rng.normal(size=(*phase.shape, 2)) @ [1, 1j])
estimate = estimate_field(EchoSeries(abs(signal), np.angle(signal), times, B0_TESLA), scan.mask, grid=grid)
maps = dict(frequency=estimate.frequency_hz, r2star=estimate.r2star_per_s)
total = hz_to_ppm(estimate.frequency_hz, B0_TESLA)
for name in {removals!r}:
    found = make_removal(name).remove(np.where(estimate.mask, total, 0), estimate.mask, grid)
    maps["removed by " + name] = np.where(found.mask, found.field_ppm, 0)
scaled = abs(signal[..., 0]).astype(np.float32)
problem = Problem(
    scan.field_ppm.astype(np.float32), scan.mask, grid, magnitude=scaled, b0_tesla=B0_TESLA, echo_times_s=times,
    echoes=(np.exp(-2j * np.pi * ramp[..., None] * np.array(times)) * signal).astype(np.complex64), field_kind="local",
    r2star_per_s=estimate.r2star_per_s,
)
for name in {solvers!r}:
    maps[name] = make_solver(name).solve(problem).susceptibility_ppm
np.savez({path!r}, **maps)
print(json.dumps([library_name().split()[0], said]))
"""


def maps_without(missing, run_python, folder, *, methods=QUICK, backgrounds=("vsharp",)):
    """All maps of a session where libraries are missing, what computed the transforms, and what was said."""
    path = folder / f"{'_'.join(missing) or 'all'}.npz"
    script = SCRIPT.format(missing=tuple(missing), removals=backgrounds, solvers=methods, path=str(path))
    library, said = json.loads(run_python(script).splitlines()[-1])
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}, library, said


def assert_same(found, expected):
    for name, image in expected.items():
        error = np.linalg.norm(found[name] - image) / np.linalg.norm(image)
        # What a removal leaves is small beside what it takes: an iteration more or less (pdf) makes percents of it.
        bound = 0.05 if name.startswith("removed by") else 2e-3
        assert error < bound, f"{name}: {100 * error:.3f} %"


@pytest.mark.parametrize("missing", [("numba",), ("pyfftw",), ("numba", "pyfftw")], ids="+".join)
def test_maps_are_the_same_and_it_is_said_once(missing, run_python, tmp_path):
    pytest.importorskip("numba")
    if not REFERENCE:
        REFERENCE.extend(maps_without((), run_python, tmp_path))
    reference, _, nothing = REFERENCE
    found, library, said = maps_without(missing, run_python, tmp_path)
    assert_same(found, reference)
    assert (library == "scipy.fft") == ("pyfftw" in missing)
    for name, word in (("numba", "numba cannot be imported"), ("pyfftw", "pyFFTW is not importable")):
        assert sum(word in text for _, text in said) == (name in missing), said
        assert not any(word in text for _, text in nothing)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(METHODS), 3))
def test_every_method_is_the_same_without_both(first, run_python, tmp_path):
    pytest.importorskip("numba")
    every = {
        "methods": METHODS[first : first + 3],
        "backgrounds": tuple(own_removals()) if first == 0 else (),
    }
    reference, _, _ = maps_without((), run_python, tmp_path, **every)
    found, _, _ = maps_without(("numba", "pyfftw"), run_python, tmp_path, **every)
    assert_same(found, reference)
