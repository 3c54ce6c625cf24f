"""The kernels in plain numpy, for machines without numba: the same names, arguments and results, array by array.

``backend/kernels/NAME.py`` says what each function does; ``plain/NAME.py`` has it again.  Sums are made in double
precision.  Results agree with those of the compiled kernels to rounding.
"""
