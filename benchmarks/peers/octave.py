"""FANSI and the MEDI toolbox under Octave, by their public functions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat, savemat

from benchmarks.peers.exchange import OUTPUT, Exchange
from benchmarks.peers.peer import Given, Limits, Peer
from benchmarks.peers.process import run_measured
from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.io import save_image

DRIVERS = Path(__file__).with_name("octave")
PATHS = "QSM_OCTAVE_PATH"
"""Environment variable with folders of toolboxes, separated as in PATH."""


@dataclass(frozen=True)
class Toolbox:
    """What is known of a toolbox.

    Parameters
    ----------
    function
        That is called, and must be on Octave's path.
    defaults
        Its parameters with the values they have where none is given.
    """

    function: str
    defaults: Mapping[str, float]


# Where none is given: MEDI_L1's own, and for nlTV, which has none, those of the example it was published with by NDI.
TOOLBOXES = {
    "fansi": Toolbox("nlTV", {"alpha1": 4e-5, "mu1": 1e-2, "mu2": 1, "iterations": 100, "tolerance": 1}),
    "medi": Toolbox("MEDI_L1", {"lambda": 1000, "percentage": 0.9}),
}


@dataclass(frozen=True)
class Octave(Peer):
    """A toolbox under Octave.

    Parameters
    ----------
    label
        Its name in tables.
    toolbox
        One of ``TOOLBOXES``.
    path
        Folder of the toolbox; empty where it is on Octave's path, or in ``QSM_OCTAVE_PATH``.
    options
        Its parameters.

    Raises
    ------
    ParameterError
        If toolbox or parameter is unknown, or a value no number.
    """

    label: str
    toolbox: str
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check names and values."""
        if self.toolbox not in TOOLBOXES:
            raise ParameterError(f"toolbox '{self.toolbox}' is unknown{did_you_mean(self.toolbox, TOOLBOXES)}")
        known = TOOLBOXES[self.toolbox].defaults
        for name, value in self.options.items():
            if name not in known:
                raise ParameterError(f"{self.toolbox}: parameter '{name}' is unknown{did_you_mean(name, known)}")
            try:
                float(value)
            except ValueError:
                raise ParameterError(f"{self.toolbox}: {name} is '{value}'; expected a number") from None

    def missing(self) -> str:
        """Whether Octave and the toolbox's function are there."""
        if shutil.which("octave-cli") is None and shutil.which("octave") is None:
            return "Octave is not installed (octave-cli is not on the path)"
        function = TOOLBOXES[self.toolbox].function
        folders = self._folders()
        if folders and not any(found for folder in folders for found in folder.rglob(f"{function}.m")):
            return f"no {function}.m in {', '.join(map(str, folders))}"
        if not folders:
            return f"where {function}.m is, is not known; give path=DIR, or set {PATHS}"
        return ""

    def run(self, files: Exchange, limits: Limits) -> Given:
        """Write the input as a .mat file, run the driver, and read its map."""
        out = files.clean()
        savemat(out / "input.mat", self._input(files), do_compression=False)
        program = shutil.which("octave-cli") or str(shutil.which("octave"))
        found = [DRIVERS / "shims", *(inner for folder in self._folders() for inner in _with_subfolders(folder))]
        folders = [option for folder in found for option in ("--path", str(folder))]
        driver = DRIVERS / f"{'medi' if self.toolbox == 'medi' else 'fansi'}.m"
        command = [program, "--no-gui", "--no-history", "--no-init-file", "--quiet", *folders, str(driver)]
        usage = run_measured(command, out, threads=limits.threads, limit_s=limits.seconds)
        written = out / "output.mat"
        if not written.is_file():
            raise DataError("it ended without an error, but wrote no map")
        chi = np.asarray(loadmat(str(written))["chi"], np.float32)
        save_image(out / OUTPUT, chi, files.case.affine, files.case.scanner_affine)
        values, remark = files.read(out / OUTPUT)
        return Given(values, usage, remark)

    def _folders(self) -> list[Path]:
        given = [self.path] if self.path else os.environ.get(PATHS, "").split(os.pathsep)
        return [Path(text).expanduser().resolve() for text in given if text]

    def _input(self, files: Exchange) -> dict[str, Any]:
        """What the drivers read: doubles, as the toolboxes expect them."""
        problem = files.problem
        chosen: dict[str, Any] = {**TOOLBOXES[self.toolbox].defaults, **self.options}
        settings = {name: float(value) for name, value in chosen.items()}  # whole numbers would be integers there
        grid = problem.grid
        shared = {
            "rad_per_ppm": files.per_ppm("rad"), "mask": problem.mask.astype(float),
            "phase": np.where(problem.mask, problem.field_ppm, 0).astype(float) * files.per_ppm("rad"),
            "magnitude": files.magnitude_image().astype(float), "voxel_size": np.array(grid.voxel_size_mm, float),
            "b0_direction": np.array(files.b0_direction), "te": files.echo_time_s,
            "frequency": 1e6 * files.per_ppm("hz"),
        }  # fmt: skip
        if self.toolbox != "medi":
            shared["kernel"] = _full_kernel(files)
        return {**shared, "settings": settings}


def _with_subfolders(root: Path) -> list[Path]:
    """A toolbox's folder and those in it that Octave may look into: none that are private or a class."""
    inner = [path for path in sorted(root.rglob("*")) if path.is_dir()]
    hidden = (".", "@", "+")
    return [root] + [
        path for path in inner
        if not any(part.startswith(hidden) or part == "private" for part in path.relative_to(root).parts)
    ]  # fmt: skip


def _full_kernel(files: Exchange) -> np.ndarray:
    """Continuous dipole kernel of the unpadded grid in FFT order, zero at the origin."""
    grid = files.problem.grid
    frequencies = np.meshgrid(
        *(np.fft.fftfreq(n, d) for n, d in zip(grid.shape, grid.voxel_size_mm, strict=True)), indexing="ij"
    )
    along = sum(k * b for k, b in zip(frequencies, files.b0_direction, strict=True))
    squared = sum(k * k for k in frequencies)
    squared[0, 0, 0] = 1
    kernel: np.ndarray = 1 / 3 - np.asarray(along) ** 2 / squared
    kernel[0, 0, 0] = 0
    return kernel
