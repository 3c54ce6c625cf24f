"""Fast arithmetic: Fourier transforms (pyFFTW), fused element-wise kernels (numba), threads and memory.

The rest of the package knows these by what they compute only; a twin of this room for other hardware would
offer the same names.
"""
