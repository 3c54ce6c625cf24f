"""The transforms and kernels again on torch tensors, on whole volumes at a time: the only place that imports torch.

``backend/kernels/NAME.py`` says what each function does; ``tensors/NAME.py`` has it again under the same name and with
the same arguments, for tensors on any device.  Sums are made in double precision and returned as Python's numbers: the
one thing that leaves the device.  Importing a module of this package needs the extra ``torch``.
"""
