"""How much memory a run is expected to take, and how a machine is shared out."""

import re

import psutil
import pytest

from qsm_recon.backend.memory import GIB
from qsm_recon.background.registry import find_removal
from qsm_recon.cohort.acquisitions import find_acquisitions
from qsm_recon.cohort.footprint import Footprint, Share, footprint, require_room, runs_on_device, share_out
from qsm_recon.commands.reconstruct import OVERHEAD_BYTES
from qsm_recon.errors import ParameterError, ResourceError
from qsm_recon.solvers.footprint import SOLVE_BYTES
from qsm_recon.solvers.registry import make_solver


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (8, 1)),  # one thread each
        ({"runs": 3}, (3, 2)),
        ({"needed": 10 * GIB}, (5, 1)),  # 85 % of 64 GiB hold five
        ({"needed": 40 * GIB}, (1, 8)),
        ({"needed": 100 * GIB}, (1, 8)),  # it will be refused, by name
        ({"threads": 4}, (2, 4)),
        ({"workers": 3}, (3, 2)),
        ({"workers": 3, "threads": 1}, (3, 1)),
        ({"memory": 8}, (2, 4)),
        ({"device": 2}, (2, 4)),  # what a graphics processor holds
        ({"device": 2, "workers": 3}, (3, 2)),
    ],
)
def test_share(asked, expected):
    share = share_out(
        asked.get("runs", 100), asked.get("needed", 4 * GIB),
        cores=8, available_bytes=64 * GIB,
        threads=asked.get("threads"), workers=asked.get("workers"), memory_gib=asked.get("memory"),
        at_most=asked.get("device"),
    )  # fmt: skip
    assert (share.workers, share.threads) == expected
    assert share.memory_gib == (None if "memory" not in asked else 4)


def test_runs_that_a_graphics_processor_holds():
    assert runs_on_device(4e9, 80e9) == 13  # 85 % of it, in parts of 1.15 · 4 GB and what a process takes
    assert runs_on_device(4e9, 2e9) == 1  # it will be refused, by name


@pytest.mark.parametrize("asked", [{"threads": 0}, {"workers": -1}, {"memory_gib": 0.0}])
def test_numbers_must_be_positive(asked):
    with pytest.raises(ParameterError, match="expected a positive number"):
        share_out(1, 1.0, cores=1, available_bytes=1.0, **asked)


def test_footprint_is_that_of_the_largest_which_can_be_read(study):
    for name in ("sub-01", "sub-02", "sub-03"):
        study.add(name)
    study.file("sub-01", "echo-1_part-mag_MEGRE.nii.gz").write_bytes(bytes(200_000))  # large, and no image
    found = find_acquisitions(study.root)
    small = footprint(study.root, found, make_solver("tkd"), None)
    assert small.acquisition in ("sub-02", "sub-03")
    assert small.shape == (20, 24, 18)
    large = footprint(study.root, found, make_solver("tgv", padding=40), find_removal("pdf")())
    fixed = OVERHEAD_BYTES + SOLVE_BYTES
    assert large.bytes - fixed > 5 * (small.bytes - fixed) > 0
    assert footprint(study.root, found[:1], make_solver("tkd"), None) is None


def test_the_smallest_run_decides_what_is_refused(study):
    for name in ("sub-01", "sub-02"):
        study.add(name)
    path = study.file("sub-01", "echo-1_part-mag_MEGRE.nii.gz")
    path.write_bytes(path.read_bytes() + bytes(100_000))
    found = find_acquisitions(study.root)
    assert footprint(study.root, found, make_solver("tkd"), None).acquisition == "sub-01"
    assert footprint(study.root, found, make_solver("tkd"), None, least=True).acquisition == "sub-02"


def test_room_for_the_smallest_run():
    least = Footprint(2 * GIB, "sub-01", (1, 1, 1), 0.0)
    require_room(least, Share(2, 1, 8.0), 3 * GIB)
    require_room(least, Share(2, 1, None), None)
    with pytest.raises(ResourceError, match="take 2 GiB; give more, or fewer --workers"):
        require_room(least, Share(2, 1, 2.0), 8 * GIB)
    with pytest.raises(ResourceError, match=r"take 2 GiB; give more$"):
        require_room(least, Share(2, 1, 2.0), None)
    with pytest.raises(ResourceError, match=r"sub-01, takes about .* each of 2 .* take 2 GiB") as refused:
        require_room(least, Share(2, 1, 2.0), 8 * GIB)
    (needed,) = re.findall(r"about (\S+) GiB with the program", str(refused.value))
    program = psutil.Process().memory_info().rss / GIB  # whatever the tests before this one left in the process
    assert float(needed) == pytest.approx(2 + program, abs=0.1)
    with pytest.raises(ResourceError, match="takes about 2 GiB of memory, and 1 GiB are free"):
        require_room(least, Share(1, 1, None), GIB)
