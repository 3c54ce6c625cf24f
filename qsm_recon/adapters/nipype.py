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
from qsm_recon.report.outputs import FIGURE_NAME, MAP_NAME, REPORT_NAME

try:
    from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, TraitedSpec, traits
except ImportError as error:
    raise MissingDependencyError(
        "the nipype interface needs the library 'nipype', not installed: pip install 'qsm_recon[nipype]'"
    ) from error


class ReconstructInputSpec(CommandLineInputSpec):
    """Options of ``python -m qsm_recon.run``, by its names."""

    algorithm = traits.Str("fansi", usedefault=True, argstr="--algo %s", desc="method; see --list")
    parameters = traits.Dict(traits.Str, traits.Any, argstr="--set %s", desc="parameters of the method by name")
    regularisation = traits.Float(argstr="--regularisation %r", desc="main regularisation parameter")
    select = traits.Str(argstr="--select %s", xor=["regularisation"], desc="rule to choose it by")
    two_pass = traits.Bool(argstr="--two-pass", desc="second pass without unreliable voxels")
    reference = traits.Str(argstr="--reference %s", desc="mean, none or a mask file")
    dataset = traits.Str(argstr="--dataset %s", xor=["phase", "field"], desc="data set, such as bids:DIR?subject=01")
    field = File(exists=True, argstr="--field %s", xor=["phase", "dataset"], requires=["field_unit"], desc="field map")
    field_unit = traits.Enum("ppm", "ppb", "Hz", "rad", "rad/s", argstr="--field-unit %s", desc="its unit")
    phase = traits.List(File(exists=True), argstr="--phase %s", xor=["field", "dataset"], desc="phase of the echoes")
    magnitude = traits.List(File(exists=True), argstr="--magnitude %s", desc="magnitude of the echoes")
    mask = File(exists=True, argstr="--mask %s", desc="binary mask; made where there is none")
    b0 = traits.Float(argstr="--b0 %r", desc="field strength in T")
    te = traits.List(traits.Float, argstr="--te %s", desc="echo times in s")
    background = traits.Str(argstr="--background %s", desc="method of background removal")
    background_parameters = traits.Dict(
        traits.Str, traits.Any, argstr="--background-set %s", requires=["background"], desc="its parameters by name"
    )
    threads = traits.Int(argstr="--threads %d", desc="threads", nohash=True)
    out_folder = traits.Str("qsm_recon", usedefault=True, argstr="--out %s", desc="folder of the results")
    quiet = traits.Bool(True, usedefault=True, argstr="--quiet", desc="warnings only")


class ReconstructOutputSpec(TraitedSpec):
    """What the command leaves."""

    susceptibility = File(exists=True, desc="susceptibility in ppm")
    report = File(exists=True, desc="record of the run")
    figure = File(exists=True, desc="picture")


class Reconstruct(CommandLine):
    """Reconstruct a susceptibility map; a run that did not converge has its result and is marked in the report."""

    _cmd = f"{shlex.quote(sys.executable)} -m qsm_recon.run"
    input_spec = ReconstructInputSpec
    output_spec = ReconstructOutputSpec

    def _format_arg(self, name: str, spec: Any, value: Any) -> str:
        if name in ("parameters", "background_parameters"):
            option = spec.argstr.split()[0]
            return " ".join(f"{option} {shlex.quote(f'{key}={item}')}" for key, item in value.items())
        text: str = super()._format_arg(name, spec, value)
        return text

    def _run_interface(self, runtime: Any, correct_return_codes: tuple[int, ...] = (0,)) -> Any:
        return super()._run_interface(runtime, (*correct_return_codes, EXIT_NOT_CONVERGED))

    def _list_outputs(self) -> dict[str, str]:
        folder = Path(self.inputs.out_folder).absolute()
        names = {"susceptibility": MAP_NAME, "report": REPORT_NAME, "figure": FIGURE_NAME}
        return {name: str(folder / file) for name, file in names.items()}
