"""Fused kernels: the only place, with the sweeps beside it, that numba compiles loops of."""
