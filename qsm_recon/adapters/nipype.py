"""The reconstruction command as an interface of nipype, for workflows.

>>> from qsm_recon.adapters.nipype import Reconstruct  # doctest: +SKIP
>>> Reconstruct(algorithm="fansi", phase=["phase.nii.gz"], magnitude=["mag.nii.gz"], mask="mask.nii.gz",
...             background="vsharp", out_folder="chi").run().outputs.susceptibility  # doctest: +SKIP
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from qsm_recon.commands.line import EXIT_NOT_CONVERGED
from qsm_recon.errors import MissingDependencyError
from qsm_recon.report.outputs import FIGURE_NAME, MAP_NAME, PAGE_NAME, REPORT_NAME

try:
    from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, TraitedSpec, isdefined, traits
except ImportError as error:
    raise MissingDependencyError(
        "the nipype interface needs the library 'nipype', not installed: pip install 'qsm_recon[nipype]'"
    ) from error


SOURCES = ("dataset", "field", "phase", "real")
"""What a map is made from; one of them is given."""


def _without(source: str) -> list[str]:
    return [name for name in SOURCES if name != source]


class ReconstructInputSpec(CommandLineInputSpec):
    """Options of ``python -m qsm_recon.run``, with ``_`` for ``-``.

    Four have longer names: ``algorithm`` (``--algo``), ``parameters`` (``--set``), ``background_parameters``
    (``--background-set``) and ``out_folder`` (``--out``).
    """

    algorithm = traits.Str("fansi", usedefault=True, argstr="--algo %s", desc="method; see --list")
    parameters = traits.Dict(traits.Str, traits.Any, argstr="--set %s", desc="parameters of the method by name")
    regularisation = traits.Float(argstr="--regularisation %r", desc="main regularisation parameter")
    select = traits.Str(argstr="--select %s", xor=["regularisation"], desc="rule to choose it by")
    two_pass = traits.Bool(argstr="--two-pass", desc="second pass without unreliable voxels")
    reference = traits.Str(argstr="--reference %s", desc="auto, mean, none or a mask file")
    dataset = traits.Str(argstr="--dataset %s", xor=_without("dataset"), desc="data set, such as bids:DIR?subject=01")
    field = File(exists=True, argstr="--field %s", xor=_without("field"), requires=["field_unit"], desc="field map")
    field_unit = traits.Enum("ppm", "ppb", "Hz", "rad", "rad/s", argstr="--field-unit %s", desc="its unit")
    phase = traits.List(File(exists=True), argstr="--phase %s", xor=_without("phase"), desc="phase of the echoes")
    magnitude = traits.List(File(exists=True), argstr="--magnitude %s", desc="magnitude of the echoes")
    real = traits.List(
        File(exists=True), argstr="--real %s", xor=_without("real"), requires=["imaginary"], desc="real part"
    )
    imaginary = traits.List(File(exists=True), argstr="--imaginary %s", requires=["real"], desc="imaginary part")
    mask = File(exists=True, argstr="--mask %s", desc="binary mask; made where there is none")
    weight = File(exists=True, argstr="--weight %s", desc="data weight, any scale")
    b0 = traits.Float(argstr="--b0 %r", desc="field strength in T")
    te = traits.List(traits.Float, argstr="--te %s", desc="echo times in s")
    truth = File(exists=True, argstr="--truth %s", desc="true susceptibility in ppm: adds error metrics")
    labels = File(exists=True, argstr="--labels %s", requires=["truth"], desc="label map in the challenge's numbering")
    phase_unit = traits.Str(argstr="--phase-unit=%s", desc="unit of the phase, a name or LOW:HIGH")
    phase_sign = traits.Enum(
        "positive", "negative", argstr="--phase-sign %s", desc="negative where phase falls with a growing field"
    )
    bipolar = traits.Enum("auto", "yes", "no", argstr="--bipolar %s", desc="echoes were read in alternating directions")
    field_estimate = traits.Enum("fit", "difference", argstr="--field-estimate %s", desc="field from echoes")
    b0_direction = traits.Tuple(
        traits.Float, traits.Float, traits.Float, argstr="--b0-direction %s", desc="field direction in voxel axes"
    )
    accept_range = traits.Bool(argstr="--accept-range", desc="accept a range that does not fit the unit")
    background = traits.Str(argstr="--background %s", desc="method of background removal")
    background_parameters = traits.Dict(
        traits.Str, traits.Any, argstr="--background-set %s", requires=["background"], desc="its parameters by name"
    )
    accept_background = traits.Bool(argstr="--accept-background", desc="take a field for local that seems not to be")
    threads = traits.Int(argstr="--threads %d", desc="threads", nohash=True)
    memory_limit = traits.Float(argstr="--memory-limit %r", desc="most memory in GiB", nohash=True)
    device = traits.Str(argstr="--device %s", desc="where the algorithm computes: cpu, cuda or cuda:N")
    seed = traits.Int(argstr="--seed %d", desc="seed of the phantom's noise")
    no_cache = traits.Bool(argstr="--no-cache", desc="neither read nor keep a phantom in the cache", nohash=True)
    keep_stages = traits.Bool(argstr="--keep-stages", desc="write the maps of every stage as well")
    html = traits.Bool(argstr="--html", desc="write a page with a viewer as well")
    out_folder = traits.Str("qsm_recon", usedefault=True, argstr="--out %s", desc="folder of the results")
    quiet = traits.Bool(True, usedefault=True, argstr="--quiet", desc="warnings only")


class ReconstructOutputSpec(TraitedSpec):
    """What the command leaves."""

    susceptibility = File(exists=True, desc="susceptibility in ppm")
    report = File(exists=True, desc="record of the run")
    figure = File(exists=True, desc="picture")
    page = File(exists=True, desc="page with a viewer, where html asks for it")


class Reconstruct(CommandLine):
    """Reconstruct a susceptibility map; a run that did not converge has its result and is marked in the report."""

    _cmd = f"{shlex.quote(sys.executable)} -m qsm_recon.run"
    input_spec = ReconstructInputSpec
    output_spec = ReconstructOutputSpec

    def _format_arg(self, name: str, spec: Any, value: Any) -> str:
        if name in ("parameters", "background_parameters"):
            option = spec.argstr.split()[0]
            return " ".join(f"{option} {shlex.quote(f'{key}={item}')}" for key, item in value.items())
        if name == "b0_direction":  # an option would be read in -1e-17
            return f"--b0-direction {' '.join(f'{part:.12f}' for part in value)}"
        text: str = super()._format_arg(name, spec, value)
        return text

    def _run_interface(self, runtime: Any, correct_return_codes: tuple[int, ...] = (0,)) -> Any:
        return super()._run_interface(runtime, (*correct_return_codes, EXIT_NOT_CONVERGED))

    def _list_outputs(self) -> dict[str, str]:
        folder = Path(self.inputs.out_folder).absolute()
        names = {"susceptibility": MAP_NAME, "report": REPORT_NAME, "figure": FIGURE_NAME}
        names |= {"page": PAGE_NAME} if isdefined(self.inputs.html) and self.inputs.html else {}
        return {name: str(folder / file) for name, file in names.items()}
