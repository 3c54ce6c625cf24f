"""The transform of a grid size, on whichever device."""

from __future__ import annotations

from functools import cache

from qsm_recon.backend.device import CPU, require_device, torch_name
from qsm_recon.backend.fft import FourierTransform


def fourier_transform(shape: tuple[int, int, int], dtype: str = "float32", device: str = CPU) -> FourierTransform:
    """Return the transform of a grid size, the same object (and plans) every time.

    Parameters
    ----------
    shape
        Number of voxels along x, y and z.
    dtype
        ``"float32"`` or ``"float64"``.
    device
        Where its buffers are; see :func:`qsm_recon.backend.device.set_device`.

    Raises
    ------
    ParameterError, MissingDependencyError, ResourceError
        If the device cannot be had.
    """
    if device == CPU:
        return _transform_here(shape, dtype)
    require_device(device)
    from qsm_recon.backend.tensors.transform import tensor_transform

    return tensor_transform(shape, dtype, torch_name(device))


@cache
def _transform_here(shape: tuple[int, int, int], dtype: str) -> FourierTransform:
    return FourierTransform(shape, dtype)
