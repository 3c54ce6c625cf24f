"""The checks: each says ``ok``, ``note`` (works, but slower or with less) or ``wrong``, and figures or a way out."""

from __future__ import annotations

import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsm_recon.checkup import machine
from qsm_recon.checkup.known_answer import reconstruct_known_scan
from qsm_recon.errors import QSMError

LEAST_DISK_GB = 1.0
MOST_TRANSFORM_ERROR = 1e-5
"""Deviation of a single-precision transform, relative to its largest entry; rounding makes some 1e-7."""
WHOLE_HEAD = (164, 205, 205)
"""Voxels of a whole head at 1 mm, the challenge's."""
REPLACEABLE = {
    "pyfftw": "scipy.fft stands in, which is slower",
    "numba": "plain numpy stands in, which is slower",
}
"""Required packages that the others can do without."""


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Parameters
    ----------
    name
        What was looked at.
    verdict
        ``ok``, ``note`` or ``wrong``.
    text
        Figures, and what to do where it is not ``ok``.
    seconds
        How long it took.
    trace
        Where an unexpected error came from; empty without one.
    """

    name: str
    verdict: str
    text: str
    seconds: float = 0.0
    trace: str = ""


def run_checks(facts: dict[str, Any]) -> Iterator[Finding]:
    """Run all checks, one after another; none stops those after it.

    Parameters
    ----------
    facts
        Of :func:`qsm_recon.checkup.machine.machine_facts`.
    """
    checks: tuple[tuple[str, Callable[[], tuple[str, str]]], ...] = (
        ("required packages", lambda: check_requirements(machine.requirements())),
        ("processor", lambda: check_processor(facts["threads"])),
        ("memory", lambda: check_memory(facts["memory_gib"]["available"])),
        ("cache", lambda: check_cache(facts["cache"])),
        ("temporary folder", lambda: check_temporary_folder(facts["temporary_folder"])),
        ("Fourier transforms", check_transforms),
        ("reconstruction", check_reconstruction),
    )
    for name, check in checks:
        yield _found(name, check)


def _found(name: str, check: Callable[[], tuple[str, str]]) -> Finding:
    began = time.perf_counter()
    trace = ""
    try:
        verdict, text = check()
    except QSMError as error:
        verdict, text = "wrong", str(error)
    except Exception as error:  # whatever is broken on this machine: it is what was looked for
        verdict, text = "wrong", f"{type(error).__name__}: {error}"
        trace = traceback.format_exc()
    return Finding(name, verdict, text, time.perf_counter() - began, trace)


def check_requirements(known: list[str] | None) -> tuple[str, str]:
    """Whether each required package is there, can be imported and is new enough."""
    from packaging.requirements import Requirement

    if known is None:
        return "note", "the package runs from its sources; which versions it needs is not known without installing it"
    missing: list[str] = []
    old: list[str] = []
    replaced: list[str] = []
    for text in known:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        found = machine.installed_version(requirement.name)
        if found == "not installed" or not _importable(requirement.name):
            (replaced if requirement.name in REPLACEABLE else missing).append(requirement.name)
        elif not requirement.specifier.contains(found, prereleases=True):
            old.append(f"{requirement.name} {found}, expected {requirement.specifier}")
    if missing or old:
        absent = [f"{name} is missing or cannot be imported" for name in missing]
        return "wrong", "; ".join([*absent, *old]) + "; install the package again with pip"
    if replaced:
        return "note", "; ".join(f"{name} cannot be imported: {REPLACEABLE[name]}" for name in replaced)
    return "ok", f"{len(known)} there and new enough"


def _importable(package: str) -> bool:
    from importlib import import_module

    try:
        import_module(machine.module_of(package))
    except Exception:  # a broken library may raise anything
        return False
    return True


def check_processor(threads: dict[str, Any]) -> tuple[str, str]:
    """Whether others use the processor."""
    text = f"{threads['used']} threads on {threads['cores']} cores"
    load = threads["load"]
    if load is not None and threads["cores"] and load > 1.5 * threads["cores"]:
        return "note", f"{text}, on which {load:.0f} processes want to run: expect to wait longer"
    return "ok", text


def check_memory(available_gib: float) -> tuple[str, str]:
    """Whether a whole head fits by the default algorithm."""
    from qsm_recon.backend.fft import fast_length
    from qsm_recon.backend.memory import GIB
    from qsm_recon.commands.reconstruct import OUTPUT_VOLUMES, OVERHEAD_BYTES
    from qsm_recon.solvers.registry import make_solver

    voxels = float(np.prod([fast_length(n) for n in WHOLE_HEAD]))
    needed = (4 * voxels * (make_solver("fansi").memory_volumes() + OUTPUT_VOLUMES) + OVERHEAD_BYTES) / GIB
    text = f"{available_gib:.1f} GiB available; fansi takes about {needed:.1f} GiB on a whole head of 1 mm"
    if available_gib < needed:
        return "note", f"{text}: close other programs, or reconstruct on a machine with more"
    return "ok", text


def check_cache(cache: dict[str, Any]) -> tuple[str, str]:
    """Whether the cache can be used, and has room."""
    size = f"{cache['bytes'] / 1e9:.2f} of at most {cache['limit_gb']:g} GB in {cache['place']}"
    if not cache["writable"]:
        return "note", (
            f"{cache['place']} cannot be written: kernels are compiled anew in every run; "
            "name a folder that can with QSM_RECON_CACHE"
        )
    if cache["free_gb"] is not None and cache["free_gb"] < LEAST_DISK_GB:
        return "note", f"{size}, and only {cache['free_gb']:.2f} GB are free there; --clear-cache makes room"
    return "ok", size


def check_temporary_folder(folder: dict[str, Any]) -> tuple[str, str]:
    """Whether temporary files can be written."""
    with tempfile.TemporaryFile() as file:
        file.write(bytes(1 << 20))
        file.flush()
    free = folder["free_gb"]
    text = folder["place"] if free is None else f"{free:.1f} GB free in {folder['place']}"
    return ("note" if free is not None and free < LEAST_DISK_GB else "ok"), text


def check_transforms() -> tuple[str, str]:
    """Whether a Fourier transform of an odd and even size is numpy's, and its inverse leads back."""
    from qsm_recon.backend.fft import FourierTransform

    shape = (20, 25, 18)
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    transform = FourierTransform(shape)
    spectrum = transform.forward(transform.load_image(image), transform.empty_spectrum())
    expected = np.fft.rfftn(image)
    there = float(np.abs(transform.spectrum_view(spectrum) - expected).max() / np.abs(expected).max())
    back = transform.image_view(transform.inverse(spectrum, transform.empty_image())) / transform.n_voxels
    again = float(np.abs(back - image).max() / np.abs(image).max())
    text = f"off by {there:.1g} there and {again:.1g} back (at most {MOST_TRANSFORM_ERROR:g})"
    if there <= MOST_TRANSFORM_ERROR and again <= MOST_TRANSFORM_ERROR:  # false for what is not a number
        return "ok", text
    return "wrong", f"{text}: the library of the Fourier transforms is broken; install pyfftw and scipy again"


def check_reconstruction() -> tuple[str, str]:
    """Whether three balls of known susceptibility come out right, from files to file."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        found = reconstruct_known_scan(Path(folder))
        seconds = time.perf_counter() - began
    text = f"{found.answer}; {found.algorithm}, {found.iterations} iterations, {seconds:.1f} s"
    if not found.converged:
        return "wrong", f"{text}: it did not converge, which it does where all is well"
    if not found.answer.right:
        return "wrong", f"{text}: susceptibility maps of this installation are not to be trusted"
    return "ok", text
