"""One case: a problem to solve, where it came from, and the truth where it is known."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.datasets.truth import Truth
from qsm_recon.errors import DataError
from qsm_recon.problem import Problem, require_problem
from qsm_recon.result import Reconstruction
from qsm_recon.summary import html_table, one_line, sizes
from qsm_recon.values import image_array, real_numbers

SAME_SIZE = 0.02
"""By this much voxel sizes of affine and grid may differ, relative to these: headers are rounded."""


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """A data set made ready.

    Parameters
    ----------
    problem
        The validated input of a solver.
    affine
        (4, 4) voxel-to-world matrix in mm, for writing results.
    name
        Short name for reports.
    truth
        What to compare with; None where unknown.
    sources
        What came from where: ``field``, ``mask``, ``magnitude`` ... and the file (or generator) that gave it.
    notes
        What was converted, estimated, assumed or set to zero on the way; ``problem.notes`` tells of its validation.
    field_estimate
        How the field came from the echoes, see :func:`qsm_recon.field.estimate_field`; None where it was given.
    scanner_affine
        (4, 4) voxel-to-scanner matrix in mm; ``"affine"`` where that is the affine, None where it is not known.
    stages
        (nx, ny, nz) maps that arose on the way and no solver needs, by name and unit, such as ``initial_phase_rad``.

    Raises
    ------
    DataError
        If an image of the truth has another shape than the problem, or the affine is no matrix, or one of other voxel
        sizes than the problem's grid has.
    """

    problem: Problem
    affine: NDArray[np.floating]
    name: str
    truth: Truth | None = None
    sources: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    field_estimate: dict[str, Any] | None = None
    scanner_affine: NDArray[np.floating] | Literal["affine"] | None = "affine"
    stages: dict[str, NDArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the affine and the shapes of the truth."""
        require_problem(self.problem)
        self._check_affine()
        shape = self.problem.grid.shape
        for item in fields(Truth) if self.truth else ():
            image = getattr(self.truth, item.name)
            if isinstance(image, np.ndarray) and image.shape != shape:
                raise DataError(f"truth {item.name}: shape {image.shape} differs from {shape} of the problem")

    def _check_affine(self) -> None:
        """The grid is that of the scanner's affine; the world may be another, of a registration that scales."""
        affine = real_numbers(self.affine)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise DataError(
                f"affine: expected a finite (4, 4) matrix of real numbers, found shape {affine.shape}",
                argument="affine",
            )
        object.__setattr__(self, "affine", affine)
        scanner = affine if isinstance(self.scanner_affine, str) else self.scanner_affine
        if scanner is None:
            return
        found, expected = np.linalg.norm(scanner[:3, :3], axis=0), self.problem.grid.voxel_size_mm
        if not np.allclose(found, expected, rtol=SAME_SIZE, atol=0):
            raise DataError(
                f"affine: voxels of {sizes(tuple(float(f'{d:.4g}') for d in found))} mm, but the problem's grid has "
                f"{sizes(tuple(float(f'{d:.4g}') for d in expected))} mm; make the grid from the affine "
                "(Grid.from_affine), or give that of the image",
                argument="affine",
            )

    @property
    def evaluation_mask(self) -> NDArray[np.bool_]:
        """Where to compare with the truth: its own mask, or else the one given."""
        if self.truth is not None and self.truth.evaluation_mask is not None:
            return self.truth.evaluation_mask
        return self.given_mask

    @property
    def given_mask(self) -> NDArray[np.bool_]:
        """The mask before background removal made it smaller."""
        return self.stages.get("given_mask", self.problem.mask)

    def compared(self, covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where a map is compared with the truth: not in the voxels by which a method made the mask smaller.

        Parameters
        ----------
        covered
            (nx, ny, nz) the voxels that have a result.
        """
        return self.evaluation_mask & (covered | ~self.given_mask)

    def stage_maps(self) -> dict[str, NDArray]:
        """Maps of every stage up to the reconstruction, by name and unit."""
        problem = self.problem
        field = "local_field_ppm" if "total_field_ppm" in self.stages else "field_ppm"
        maps = {**self.stages, field: np.where(problem.mask, problem.field_ppm, 0), "mask": problem.mask}
        for name in ("field_noise_ppm", "r2star_per_s", "magnitude", "weight"):
            image = getattr(problem, name)
            if image is not None:
                maps[name] = image
        return {name: image if image.dtype == bool else np.asarray(image, np.float32) for name, image in maps.items()}

    @property
    def made_mask(self) -> bool:
        """Whether the mask was made rather than given."""
        return self.sources.get("mask", "").startswith("made ")

    def save(self, path: str | Path, image: ArrayLike | Reconstruction) -> Path:
        """Write an image of the case's shape (.nii or .nii.gz), placed as its input is.

        Parameters
        ----------
        path
            Where to; its folder is made where missing.
        image
            (nx, ny, nz) values, or a result, of which the susceptibility in ppm is written.  What a masked array
            hides is written as NaN or 0; int64 and float16, which other tools do not read, as int32 and float32.

        Raises
        ------
        DataError
            If the image has another shape or holds no numbers, or the name does not end in .nii or .nii.gz.
        ResourceError
            If it cannot be written.
        """
        from qsm_recon.io import save_image

        values = image.susceptibility_ppm if isinstance(image, Reconstruction) else image
        shape, found = self.problem.grid.shape, image_array(path, values).shape
        if found[:3] != shape:
            raise DataError(f"{path}: the image has shape {found}, the case '{self.name}' {shape}")
        if not str(path).endswith((".nii", ".nii.gz")):
            raise DataError(f"{path}: expected a name that ends in .nii or .nii.gz")
        return save_image(path, values, self.affine, self.scanner_affine)

    def __repr__(self) -> str:
        return one_line("Case", self.name, list(self._facts().values()))

    def _repr_html_(self) -> str:
        rows = {**self._facts(), "notes": "; ".join((*self.notes, *self.problem.notes))}
        rows |= {f"{role} from": source for role, source in self.sources.items()}
        return html_table(f"Case {self.name}", {name: text for name, text in rows.items() if text})

    def _facts(self) -> dict[str, str]:
        problem = self.problem
        grid, count = problem.grid, len(problem.echo_times_s)
        tesla = "" if problem.b0_tesla is None else f" of {problem.b0_tesla:g} T"
        facts = {
            "voxels": f"{sizes(grid.shape)} voxels of {sizes(tuple(round(d, 3) for d in grid.voxel_size_mm))} mm",
            "mask": f"{int(problem.mask.sum())} in the mask",
            "main field": f"B0{tesla} {grid.b0_angle_deg:.1f}° off the nearest axis",
            "echoes": f"{count} echo{'es' if count > 1 else ''}" if count else "",
            "field": f"{problem.field_kind} field" if problem.field_kind != "unknown" else "",
            "truth": "truth known" if self.truth is not None else "",
        }
        return {name: text for name, text in facts.items() if text}

    def with_truth(
        self,
        truth: str | Path,
        labels: str | Path | None = None,
        evaluation_mask: str | Path | None = None,
    ) -> Case:
        """Return the same case with the truth read from files; see :func:`qsm_recon.datasets.truth.load_truth`.

        Raises
        ------
        DataError
            If a file cannot be read or does not fit the case.
        """
        from qsm_recon.datasets.truth import load_truth
        from qsm_recon.io import Image

        first = next(iter(self.sources.values()), self.name)
        reference = Image(self.problem.field_ppm, self.affine, Path(first))
        sources, notes = dict(self.sources), list(self.notes)
        loaded = load_truth(truth, labels, evaluation_mask, reference, self.problem.mask, sources, notes)
        return replace(self, truth=loaded, sources=sources, notes=tuple(notes))
