"""Compiled kernels in a cache folder that several processes share."""

import shutil

USE = """
import numpy as np
from qsm_recon.backend.kernels.image import replace_planes
image = np.full((2, 3, 4), 5, np.{kind})
assert replace_planes(image, np.arange(24, dtype=np.{kind}).reshape(2, 3, 4), 0, 4)[1] == 4324
assert image.sum() == 276
print(sum(replace_planes.made().stats.cache_hits.values()))
"""


def test_processes_that_compile_a_kernel_at_once_do_not_mix_it_up(tmp_path, run_python):
    """Each reads the index before the other writes it: the second index stays, and the first machine code is last."""

    def hits(folder, kind):
        return run_python(USE.format(kind=kind), NUMBA_CACHE_DIR=str(folder))

    first, second = tmp_path / "first", tmp_path / "second"
    assert hits(first, "float32") == hits(second, "float64") == "0\n"
    for path in first.rglob("*.nbc"):
        shutil.copy(path, second / path.relative_to(first))
    assert hits(second, "float64") == "1\n"
