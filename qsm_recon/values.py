"""What counts as a number, or as an image of numbers, where Python code gives it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from qsm_recon.errors import DataError, ParameterError


def real_numbers(values: Any) -> NDArray[np.float64]:
    """Return real numbers in double precision, in the shape that they have; one NaN where these are something else.

    Texts, truth values and complex numbers are something else, and so is None.
    """
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        return np.full(1, np.nan)
    return array.astype(np.float64) if array.dtype.kind in "iuf" else np.full(1, np.nan)


def real_number(name: str, value: Any, expected: str) -> float:
    """Return one finite number; it may be an array's only element, as files of MATLAB hold it.

    Parameters
    ----------
    name
        What it is called in errors.
    value
        What was given.
    expected
        What was expected, for errors.

    Raises
    ------
    DataError
        If it is none.
    """
    numbers = real_numbers(value)
    if numbers.size != 1 or not math.isfinite(numbers.item()):
        raise DataError(f"{name}: expected {expected}, found {value!r}")
    return float(numbers.item())


def precision(dtype: DTypeLike) -> np.dtype[np.floating]:
    """Return single or double precision as numpy's type.

    Raises
    ------
    ParameterError
        If another type is asked for.
    """
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except TypeError as error:
        raise ParameterError(f"dtype: expected float32 or float64, found {dtype!r}") from error
    if found not in (np.float32, np.float64):
        raise ParameterError(f"dtype: expected float32 or float64, found {found}")
    return found


def plain_value(value: Any) -> Any:
    """Return Python's number, truth value or text where numpy's was given, and all else as it is."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value


def image_array(name: str | Path, values: ArrayLike) -> NDArray[Any]:
    """Return an image as numpy has it, of whatever type.

    Parameters
    ----------
    name
        What it is called in errors.
    values
        The image; nested lists are one, too.

    Raises
    ------
    DataError
        If its rows are of different lengths.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"{name}: expected an image, found rows of different lengths; give as many values in each",
            argument=str(name),
        ) from error


def floating_image(name: str, values: ArrayLike) -> NDArray:
    """Bring an image into single or double precision: differences and squares of whole numbers wrap around.

    Voxels that a masked array hides are not known, and become NaN.

    Parameters
    ----------
    name
        What it is called in errors; ``"echoes"`` are complex, all others real.
    values
        The image.

    Raises
    ------
    DataError
        If it holds other numbers, or none.
    """
    array, expected = image_array(name, values), "complex" if name == "echoes" else "real"
    usable = "c" if name == "echoes" else "biuf"
    if array.dtype.kind not in usable:
        advice = "magnitude * exp(1j * phase)" if name == "echoes" else "the image itself, or its .real or abs()"
        raise DataError(f"{name}: expected {expected} numbers, found {array.dtype}; give {advice}", argument=name)
    smallest, largest = (np.complex64, np.complex128) if name == "echoes" else (np.float32, np.float64)
    wanted = np.result_type(array.dtype, smallest)
    array = array.astype(wanted if wanted.itemsize <= np.dtype(largest).itemsize else largest, copy=False)
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        return np.where(np.ma.getmaskarray(values), array.dtype.type(np.nan), array)
    return array


def storable(name: str | Path, values: ArrayLike) -> NDArray:
    """Return an image as NIfTI and other tools have them.

    Truth values become bytes, half precision single, long whole numbers those of 32 bits; what a masked array hides
    becomes NaN or 0.

    Parameters
    ----------
    name
        The file, for errors.
    values
        The image.

    Raises
    ------
    DataError
        If it does not hold numbers, or whole numbers of more than 32 bits.
    """
    data = image_array(name, values)
    if isinstance(values, np.ma.MaskedArray):
        data = np.ma.filled(values, np.nan if data.dtype.kind in "fc" else 0)
    if data.dtype.kind not in "biufc":
        raise DataError(f"{name}: expected numbers to write, found {data.dtype}")
    if data.dtype.kind in "iu" and data.dtype.itemsize > np.dtype(np.int32).itemsize:
        known = np.iinfo(np.int32)
        if data.size and not (known.min <= data.min() and data.max() <= known.max):
            raise DataError(f"{name}: whole numbers beyond 32 bits cannot be written; give floating-point ones")
        return data.astype(np.int32)
    smaller = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}
    return data.astype(smaller.get(data.dtype, data.dtype), copy=False)
