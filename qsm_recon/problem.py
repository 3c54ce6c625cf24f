"""What goes into a solver: one validated, immutable description of the measurement."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError, did_you_mean
from qsm_recon.operators.grid import Grid, require_grid
from qsm_recon.units import rad_per_ppm
from qsm_recon.values import floating_image, image_array, real_number, real_numbers

logger = logging.getLogger(__name__)

FieldKind = Literal["unknown", "local", "total"]

LONGEST_ECHO_TIME_S = 1.0
NO_SIGNAL = 0.05
"""Share of the median below which a voxel's field is noise, and has next to no weight in any fidelity."""
MOSTLY = 0.5
"""Share of the mask without a known noise above which that is spoken of."""
DEFAULT_PHASE_SCALE = 20.0
"""rad per ppm assumed where field strength or echo time is unknown: close to 3 T at an echo time of 25 ms."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A dipole inversion problem.  Solvers trust it: everything is checked here, once.

    Parameters
    ----------
    field_ppm
        (nx, ny, nz) local (or total) field in ppm of the main field, with the sign of the susceptibility.  Images of
        whole numbers, here and below, are turned into floating point; what a masked array hides counts as NaN.
    mask
        (nx, ny, nz) boolean; the voxels whose field is known, which those that a masked array hides are not.
    grid
        Geometry.
    magnitude
        (nx, ny, nz) non-negative magnitude image, any scale.
    weight
        (nx, ny, nz) non-negative data weight W given by the user, any scale.
    field_noise_ppm
        (nx, ny, nz) standard deviation of the field, in ppm.  0 stands for unknown, as maps have it where no field
        could be fitted: such a voxel has no weight where the weight is made of the noise.
    echoes
        (nx, ny, nz, n_echoes) complex signal.
    echo_times_s
        Echo times in s, increasing.
    b0_tesla
        Field strength in T.
    r2star_per_s
        (nx, ny, nz) R2* in 1/s.
    reliability
        (nx, ny, nz) factor in [0, 1] on the weight of each voxel, below 1 where its field is in doubt for another
        reason than noise; see :class:`qsm_recon.field.FieldEstimate`.
    field_offset_ppm
        Constant that has been taken out of the field, in ppm; the echoes still hold it.
    field_kind
        ``"local"``: of the sources inside the mask; ``"total"``: with the background field of those outside;
        ``"unknown"``: methods for local fields find out.
    notes
        Filled in: what validation changed.

    Raises
    ------
    DataError
        If shapes disagree, the grid is none, an image does not hold numbers of its kind (echoes complex ones, all
        others real ones), the mask is empty, values inside the mask are not finite, the magnitude or weight is negative
        or zero everywhere, the reliability exceeds 1, echo times are not positive, increasing and in seconds, field
        strength or offset is no number, or the kind of the field is none of the three.
    """

    field_ppm: NDArray[np.floating]
    mask: NDArray[np.bool_]
    grid: Grid
    magnitude: NDArray[np.floating] | None = None
    weight: NDArray[np.floating] | None = None
    field_noise_ppm: NDArray[np.floating] | None = None
    echoes: NDArray[np.complexfloating] | None = None
    echo_times_s: tuple[float, ...] = ()
    b0_tesla: float | None = None
    r2star_per_s: NDArray[np.floating] | None = None
    reliability: NDArray[np.floating] | None = None
    field_offset_ppm: float = 0.0
    field_kind: FieldKind = "unknown"
    notes: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        """Validate; replace what is not finite outside the mask by zero; lock the arrays."""
        notes: list[str] = []
        require_grid(self.grid)
        hiding = isinstance(self.mask, np.ma.MaskedArray)
        mask = image_array("mask", np.ma.filled(self.mask, False) if hiding else self.mask)
        if mask.dtype != bool:
            raise DataError(
                f"mask: expected booleans, found {mask.dtype}; use io.binary_mask to convert", argument="mask"
            )
        _require_shape("mask", mask, self.grid.shape)
        if not mask.any():
            raise DataError("mask: it is empty; it must mark the voxels to reconstruct", argument="mask")
        object.__setattr__(self, "mask", _locked(mask))
        for name in ("field_ppm", "magnitude", "weight", "field_noise_ppm", "r2star_per_s", "reliability", "echoes"):
            values = getattr(self, name)
            if values is not None or name == "field_ppm":
                array = floating_image(name, values)
                _require_shape(name, array, self.grid.shape)
                array = finite_in_mask(name, array, mask, notes)
                if name in ("magnitude", "weight", "field_noise_ppm", "reliability"):
                    require_non_negative(name, array, mask)
                object.__setattr__(self, name, _locked(array))
        self._note_unknown_noise(notes)
        if self.reliability is not None and self.reliability[mask].max() > 1:
            largest = self.reliability[mask].max()
            raise DataError(f"reliability: expected values from 0 to 1, found {largest:g}", argument="reliability")
        object.__setattr__(self, "echo_times_s", check_echo_times(self.echo_times_s))
        if self.field_kind not in get_args(FieldKind):
            raise DataError(
                f"field kind '{self.field_kind}' is unknown{did_you_mean(self.field_kind, get_args(FieldKind))}"
            )
        if self.b0_tesla is not None:
            strength = real_number("B0", self.b0_tesla, "a field strength in tesla")
            if not 0.01 < strength < 30:
                raise DataError(f"B0: expected a field strength in tesla, found {strength:g}")
            object.__setattr__(self, "b0_tesla", strength)
        offset = real_number("field_offset_ppm", self.field_offset_ppm, "a number of ppm")
        object.__setattr__(self, "field_offset_ppm", offset)
        if self.echoes is not None and self.echoes.shape[3:] != (len(self.echo_times_s),):
            raise DataError(
                f"echoes: {self.echoes.shape[3]} images but {len(self.echo_times_s)} echo times; give one per echo",
                argument="echoes",
            )
        object.__setattr__(self, "notes", tuple(notes))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Lock the arrays of a copy, or of what another process sent: neither comes through the checks again."""
        for name, value in state.items():
            object.__setattr__(self, name, _locked(value) if isinstance(value, np.ndarray) else value)

    def _note_unknown_noise(self, notes: list[str]) -> None:
        """Warn of a noise map that is 0 in most of the mask: those voxels would have no say."""
        if self.field_noise_ppm is None:
            return
        voxels = int(self.mask.sum())
        unknown = voxels - int(np.count_nonzero(self.field_noise_ppm[self.mask]))
        if unknown > MOSTLY * voxels:
            notes.append(
                f"field_noise_ppm: it is 0, which counts as unknown, in {unknown} of the {voxels} voxels of the mask; "
                "with weighting=noise they have no weight: give positive standard deviations, or another weighting"
            )
            logger.warning("%s", notes[-1])

    def with_offset(self, constant_ppm: float) -> Problem:
        """Return the same problem with a constant, in ppm, taken out of its field."""
        field = self.field_ppm - self.field_ppm.dtype.type(constant_ppm)
        return self.changed(field_ppm=field, field_offset_ppm=self.field_offset_ppm + constant_ppm)

    def changed(self, **members: Any) -> Problem:
        """Return the same problem with other members, which are trusted: nothing is checked or copied again.

        Parameters
        ----------
        members
            By name; arrays must be what :class:`Problem` would have made of them.
        """
        made = object.__new__(Problem)
        members = {"notes": (), **members}
        for item in fields(self):
            value = members.pop(item.name, getattr(self, item.name))
            object.__setattr__(made, item.name, _locked(value) if isinstance(value, np.ndarray) else value)
        if members:
            raise TypeError(f"a problem has no member {', '.join(members)}")
        return made

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Voxels of the mask (nx, ny, nz) that have a signal: weight, magnitude and reliability above next to nothing.

        That is a twentieth of their median in the mask.  All of the mask where that leaves none.
        """
        found = self.mask.copy()
        for image in (self.weight, self.magnitude, self.reliability):
            if image is not None:
                found &= image > NO_SIGNAL * float(np.median(image[self.mask]))
        return found if found.any() else self.mask

    @property
    def phase_scale(self) -> float:
        """Rad of phase per ppm of field that nonlinear fidelities use: at the mean echo time."""
        if self.b0_tesla is None or not self.echo_times_s:
            return DEFAULT_PHASE_SCALE
        return rad_per_ppm(self.b0_tesla, float(np.mean(self.echo_times_s)))

    @property
    def phase_scale_origin(self) -> str:
        """How :attr:`phase_scale` came about, for reports."""
        if self.b0_tesla is None or not self.echo_times_s:
            return "assumed (no field strength or echo time given)"
        return "from field strength and mean echo time"


def require_problem(problem: object) -> None:
    """Check that what was given for a problem is one.

    Raises
    ------
    DataError
        If it is something else.
    """
    if isinstance(problem, Problem):
        return
    inside = isinstance(getattr(problem, "problem", None), Problem)
    advice = "give its .problem" if inside else "make one: Problem(field_ppm, mask, grid)"
    raise DataError(f"problem: expected a Problem, found {type(problem).__name__}; {advice}")


def check_echo_times(echo_times_s: ArrayLike) -> tuple[float, ...]:
    """Return echo times (s) as floats after checking them; there may be none, and they may be a row or a column.

    Raises
    ------
    DataError
        If they are not positive and increasing, or look like milliseconds.
    """
    given = real_numbers(echo_times_s)
    times = tuple(float(t) for t in given.ravel())
    table = given.size > max(given.shape, default=1)
    if table or not all(np.isfinite(t) and t > 0 for t in times):
        raise DataError(f"echo times: expected positive numbers of seconds, one per echo, found {echo_times_s!r}")
    if any(t > LONGEST_ECHO_TIME_S for t in times):
        raise DataError(f"echo times: {times} look like milliseconds; give seconds, for example 0.020")
    if any(b <= a for a, b in pairwise(times)):
        raise DataError(f"echo times: {times} do not increase; sort them, and the images with them, and give each once")
    return times


def _require_shape(name: str, array: NDArray, shape: tuple[int, int, int]) -> None:
    expected_ndim = 4 if name == "echoes" else 3
    if array.ndim != expected_ndim or array.shape[:3] != shape:
        raise DataError(f"{name}: expected shape {shape}, found {array.shape}", argument=name)


def finite_in_mask(name: str, array: NDArray, mask: NDArray[np.bool_], notes: list[str]) -> NDArray:
    """Return an array whose values outside the mask that are not finite count as zero; note their number.

    Raises
    ------
    DataError
        If values inside the mask are not finite.
    """
    parts = array.view(array.real.dtype) if array.dtype.kind == "c" and array.flags.c_contiguous else array
    if parts.dtype.kind == "f" and array.size and np.isfinite(parts.min()) and np.isfinite(parts.max()):
        return array  # NaN is both the smallest and the largest value wherever there is one
    bad = ~np.isfinite(array)
    if not bad.any():
        return array
    bad_voxels = bad.any(axis=tuple(range(3, bad.ndim))) if bad.ndim > 3 else bad
    inside = bad_voxels & mask
    if inside.any():
        first = tuple(int(i) for i in np.argwhere(inside)[0])
        raise DataError(
            f"{name}: {int(inside.sum())} voxels inside the mask are NaN or infinite, the first at {first}; "
            "repair them or take them out of the mask",
            argument=name,
        )
    notes.append(f"{name}: {int(bad_voxels.sum())} values outside the mask were NaN or infinite and count as zero")
    logger.info(notes[-1])
    return np.where(bad, array.dtype.type(0), array)


def require_non_negative(name: str, array: NDArray, mask: NDArray[np.bool_]) -> None:
    """Check that an image is nowhere negative, and somewhere positive, inside the mask.

    Raises
    ------
    DataError
        If it is not.
    """
    some = (slice(None, None, 8),) * 3
    if array.min() >= 0 and (array[some][mask[some]] > 0).any():  # far quicker than to pick the voxels of the mask
        return
    inside = array[mask]
    if inside.min() < 0:
        raise DataError(f"{name}: expected no negative values, found {inside.min():g} inside the mask", argument=name)
    if inside.max() == 0:
        raise DataError(f"{name}: it is zero everywhere inside the mask; give another image, or none", argument=name)


def _locked(array: NDArray) -> NDArray:
    view = array.view()
    view.flags.writeable = False
    return view
