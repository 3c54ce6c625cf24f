"""A multi-echo gradient-echo series, checked once when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError
from qsm_recon.problem import check_echo_times
from qsm_recon.units import hz_per_ppm
from qsm_recon.values import floating_image, image_array, real_number

STRONGEST_FIELD_T = 25.0
LARGEST_PHASE_RAD = 1000.0
# Transverse magnetisation decays: an echo that is on average this much brighter than the one before it is misplaced.
LARGEST_GROWTH = 1.5


@dataclass(frozen=True, eq=False)
class EchoSeries:
    """Magnitude and phase of a multi-echo gradient-echo acquisition.

    Parameters
    ----------
    magnitude
        (nx, ny, nz, n), finite, not negative, any unit; kept as float32.
    phase_rad
        (nx, ny, nz, n), finite, in rad, wrapped or not; kept as float32.  Raw scanner units are brought to rad
        by :func:`qsm_recon.field.rescale_phase`.  The phase grows with ``+2 pi * frequency * echo time``.
    echo_times_s
        The n echo times in s, increasing.
    b0_tesla
        Main field in T.

    Raises
    ------
    DataError
        If shapes, echo times or values do not fit together or are physically impossible.

    Notes
    -----
    A magnitude that grows from one echo to the next by more than half is refused: its echoes are in another order
    than the echo times.  What looks likely to be in another order is found by :func:`qsm_recon.field.order.order_test`.
    """

    magnitude: NDArray[np.float32]
    phase_rad: NDArray[np.float32]
    echo_times_s: tuple[float, ...]
    b0_tesla: float

    def __post_init__(self) -> None:
        """Check everything and keep read-only views."""
        times = check_echo_times(self.echo_times_s)
        if not times:
            raise DataError("echo times: expected one for each image, found none")
        strength = check_b0(self.b0_tesla)
        magnitude = _series(self.magnitude, "magnitude", len(times))
        phase = _series(self.phase_rad, "phase", len(times))
        if magnitude.shape != phase.shape:
            raise DataError(
                f"magnitude has shape {magnitude.shape} but phase has shape {phase.shape}: "
                "both must come from the same acquisition",
                argument="magnitude",
            )
        _check_magnitude(magnitude)
        largest = max(float(phase.max()), -float(phase.min()))
        if largest > LARGEST_PHASE_RAD:
            raise DataError(
                f"phase reaches {largest:g}, too much for rad: these look like raw scanner units; "
                "convert them with rescale_phase",
                argument="phase",
            )
        object.__setattr__(self, "magnitude", magnitude)
        object.__setattr__(self, "phase_rad", phase)
        object.__setattr__(self, "echo_times_s", times)
        object.__setattr__(self, "b0_tesla", strength)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Image size in voxels."""
        nx, ny, nz, _ = self.magnitude.shape
        return nx, ny, nz

    @property
    def echo_count(self) -> int:
        """Number of echoes."""
        return len(self.echo_times_s)

    @property
    def nyquist_hz(self) -> float:
        """Largest frequency (Hz) that neighbouring echoes tell from its alias; ``1 / (2 TE)`` for a single echo."""
        times = np.asarray(self.echo_times_s)
        return float(0.5 / (np.min(np.diff(times)) if times.size > 1 else times[0]))


def stack_echoes(images: Sequence[ArrayLike], names: Sequence[str], kind: str) -> NDArray[np.float32]:
    """Join one 4-D image, or one 3-D image per echo, to a (nx, ny, nz, n) array.

    Parameters
    ----------
    images
        One array of shape (nx, ny, nz, n), or n arrays of shape (nx, ny, nz) in the order of the echo times.
    names
        What to call each image in an error, usually its file name.
    kind
        ``"magnitude"`` or ``"phase"``, for errors.

    Raises
    ------
    DataError
        If there is no image, or the shapes differ.
    """
    if len(images) == 0 or len(names) != len(images):
        raise DataError(f"{kind}: expected at least one image and one name for each, found {len(images)}, {len(names)}")
    arrays = [image_array(f"{kind} {name}", image) for name, image in zip(names, images, strict=True)]
    if len(arrays) == 1:
        if arrays[0].ndim not in (3, 4):
            raise DataError(f"{kind} {names[0]}: expected a 3-D or 4-D image, found shape {arrays[0].shape}")
        only = arrays[0] if arrays[0].ndim == 4 else arrays[0][..., np.newaxis]
        return np.ascontiguousarray(only, dtype=np.float32)
    for array, name in zip(arrays, names, strict=True):
        if array.ndim != 3 or array.shape != arrays[0].shape:
            raise DataError(
                f"{kind} {name}: has shape {array.shape}, but {names[0]} has shape {arrays[0].shape}; "
                "expected one 3-D image per echo, all of one size, or a single 4-D image"
            )
    return np.stack([array.astype(np.float32, copy=False) for array in arrays], axis=-1)


def check_b0(b0_tesla: float) -> float:
    """Return the main field as a float after checking that it is a possible number of tesla.

    Raises
    ------
    DataError
        If it is not.
    """
    strength = real_number("b0_tesla", b0_tesla, "a field strength in T, such as 3 or 7")
    if not 0 < strength <= STRONGEST_FIELD_T:
        frequency = f"; {strength:g} MHz would be {strength / hz_per_ppm(1.0):.3g} T" if strength > 0 else ""
        raise DataError(f"b0_tesla is {strength:g}: expected a field strength in T, such as 3 or 7{frequency}")
    return strength


def _series(values: ArrayLike, name: str, echo_count: int) -> NDArray[np.float32]:
    if np.iscomplexobj(image_array(name, values)):
        raise DataError(f"{name} is complex: give magnitude and phase apart", argument=name)
    array = floating_image(name, values)
    if array.ndim == 3 and echo_count == 1:
        array = array[..., np.newaxis]
    if array.ndim != 4 or array.size == 0:
        raise DataError(f"{name} has shape {array.shape}: expected (nx, ny, nz, echoes)", argument=name)
    if array.shape[3] != echo_count:
        raise DataError(
            f"{name} holds {array.shape[3]} echoes (shape {array.shape}), but {echo_count} echo times given",
            argument=name,
        )
    array = np.ascontiguousarray(array, dtype=np.float32).view()
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        finite = np.isfinite(array)
        where = tuple(int(i) for i in np.unravel_index(int(np.argmin(finite)), array.shape))
        raise DataError(
            f"{name} holds {array.size - int(np.count_nonzero(finite))} values that are not finite, the first at "
            f"voxel {where[:3]} of echo {where[3] + 1}; set them to 0 and leave those voxels out of the mask",
            argument=name,
        )
    array.flags.writeable = False
    return array


def _check_magnitude(magnitude: NDArray[np.float32]) -> None:
    if float(magnitude.min()) < 0:
        raise DataError("magnitude has negative values: were magnitude and phase exchanged?", argument="magnitude")
    planes = magnitude.reshape(len(magnitude), -1, magnitude.shape[3])
    share = np.full(planes.shape[1], 1.0 / planes.shape[1], np.float32)
    means = np.array([share @ plane for plane in planes]).mean(axis=0, dtype=np.float64)
    if not np.all(means > 0):
        echo = int(np.argmin(means)) + 1
        raise DataError(f"magnitude of echo {echo} is zero everywhere", argument="magnitude")
    growth = means[1:] / means[:-1]
    if np.any(growth > LARGEST_GROWTH):
        echo = int(np.argmax(growth)) + 1
        raise DataError(
            f"magnitude of echo {echo + 1} is on average {growth[echo - 1]:.2g} times that of echo {echo}, but signal "
            "decays: the images are in another order than the echo times",
            argument="magnitude",
        )
