"""What an ablation varies: one factor, some levels, everything else as it was."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.suite.cases import PHANTOM
from benchmarks.suite.job import Job
from qsm_recon.errors import ParameterError
from qsm_recon.solvers.registry import find_solver, make_solver


@dataclass(frozen=True)
class Level:
    """One level of a factor.

    Parameters
    ----------
    parameters
        Of the method.
    options
        Of the data set.
    solver
        Another method than the base.
    magnitude
        Whether the method gets more than the field and the mask.
    prepare
        Function of a case that returns another, see :class:`benchmarks.suite.job.Job`.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    solver: str = ""
    magnitude: bool = True
    prepare: str = ""


@dataclass(frozen=True)
class Factor:
    """Something that is varied by itself.

    Parameters
    ----------
    name
        For tables and the command line.
    description
        One line.
    levels
        By name, in order.
    base
        Method that is varied where the user names none.
    axis
        Label, with unit, of a numeric axis where levels are numbers; empty where they are words.
    options
        Of the data set, at all levels.
    """

    name: str
    description: str
    levels: Mapping[str, Level]
    base: str = "tv"
    axis: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    def job(self, level: str, base: str, case: str, weight: str) -> Job:
        """The job of a level.

        Raises
        ------
        ParameterError
            If the level sets the very parameter that is looked for at every level, or options of no phantom.
        """
        chosen = self.levels[level]
        specification = with_options(case, {**self.options, **chosen.options})
        solver = chosen.solver or base
        main = find_solver(solver).main_parameter().name
        if main in chosen.parameters and weight != "default":
            raise ParameterError(
                f"{self.name}: level '{level}' sets {main}, the main parameter of '{solver}', and --weight {weight} "
                "would put another value in its place; give --weight default"
            )
        return Job.of(
            solver, specification, weight, chosen.parameters, magnitude=chosen.magnitude,
            prepare=chosen.prepare,
        )  # fmt: skip


def with_options(specification: str, options: Mapping[str, str]) -> str:
    """A data set with other options; those it has are replaced.

    Raises
    ------
    ParameterError
        If it is not the phantom, whose options alone can be varied.
    """
    if not options:
        return specification
    if not specification.startswith(PHANTOM):
        raise ParameterError(
            f"{specification}: this factor varies the phantom; give --case phantom:sim1 or phantom:sim2"
        )
    location, _, query = specification.partition("?")
    kept = [part for part in query.split("&") if part and part.partition("=")[0] not in options]
    return f"{location}?{'&'.join([*kept, *(f'{name}={value}' for name, value in options.items())])}"


def parameter_factor(text: str, base: str) -> Factor:
    """A factor from the command line: ``PARAMETER=VALUE,VALUE,...`` of a method.

    Raises
    ------
    ParameterError
        If the method has no such parameter, or a value does not fit.
    """
    name, equals, values = text.partition("=")
    if not equals or not values:
        raise ParameterError(f"--vary {text}: expected PARAMETER=VALUE,VALUE,...")
    find_solver(base).require_known({name: None})
    declared = find_solver(base).declared()[name]
    levels = {value: Level({name: declared.parse(value)}) for value in values.split(",")}
    for level in levels.values():
        make_solver(base, **level.parameters)
    numeric = declared.kind in (int, float) and None not in [level.parameters[name] for level in levels.values()]
    axis = f"{name} ({declared.unit})" if numeric else ""
    return Factor(name, declared.help, levels, base, axis)


def _words(name: str, *values: str, **more: Any) -> dict[str, Level]:
    return {value: Level({name: value, **more}) for value in values}


def _phantoms(name: str, **values: str) -> dict[str, Level]:
    return {label: Level(options={name: value}) for label, value in values.items()}


def _tilted(degrees: float) -> str:
    angle = math.radians(degrees)
    return f"0,{math.sin(angle):.6f},{math.cos(angle):.6f}"


NO_SOURCE = {"calcification": "none"}
FACTORS: dict[str, Factor] = {
    factor.name: factor
    for factor in (
        Factor(
            "fidelity", "how the misfit counts, with total variation",
            {
                **_words("fidelity", "quadratic", "huber", "nonlinear", "l1", "nonlinear-l1"),
                "l1, then l2": Level(solver="wl1l2"),
            },
            base="admm",
        ),
        Factor(
            "weight", "data weight W",
            _words("weighting", "uniform", "mask", "magnitude", "magnitude-squared", "noise"),
        ),
        Factor(
            "input", "what the method is given",
            {
                "fit": Level(options={"field": "fit"}),
                "difference": Level(options={"field": "difference"}),
                "fit, field only": Level(options={"field": "fit"}, magnitude=False),
                "difference, field only": Level(options={"field": "difference"}, magnitude=False),
                "echoes (mctfi)": Level(options={"field": "fit"}, solver="mctfi"),
                "noise-free field": Level(options={"field": "true"}),
            },
        ),
        Factor(
            "preconditioner", "what scales the unknown of total field inversion",
            _words("preconditioner", "none", "circulant", "binary", "r2star", "adaptive", background="present"),
            base="tfi", options={"background": "yes"},
        ),
        Factor("kernel", "dipole kernel", _words("kernel", "continuous", "discrete", "green")),
        Factor(
            "padding", "zeros added around what is computed",
            {str(n): Level({"padding": n}) for n in (0, 4, 8, 16, 32)}, axis="padding (voxels)",
        ),
        Factor(
            "regulariser", "what is kept small",
            {
                "tv": Level({"regulariser": "tv"}),
                "tgv": Level({"regulariser": "tgv"}),
                **{
                    f"tv, weaker at edges of {name}": Level({"regulariser": "tv", "regularisation_weighting": name})
                    for name in ("magnitude", "r2star")
                },
                "tv, none at edges": Level({"regulariser": "tv", "regularisation_weighting": "edges"}),
                "squared gradient": Level({"regulariser": "gradient"}, solver="tikhonov"),
                "squared susceptibility": Level({"regulariser": "identity"}, solver="tikhonov"),
            },
            base="admm",
        ),
        Factor(
            "voxel-size", "voxel of the images (mm)",
            {
                size: Level(options={"voxel_size": size.replace("×", ",")})
                for size in ("2×2×2", "2×2×3", "2×2×4", "3×3×3")
            },
        ),
        Factor(
            "obliquity", "angle between the main field and the third axis",
            {str(angle): Level(options={"b0_direction": _tilted(angle)}) for angle in (0, 10, 20, 30, 45)},
            axis="angle (degrees)",
        ),
        Factor(
            "snr", "peak signal-to-noise ratio",
            {str(snr): Level(options={"snr": str(snr)}) for snr in (25, 50, 100, 300, 1000)}, axis="peak SNR",
        ),
        Factor(
            "strong-source", "one strong source of 3 to 4 mm radius in the brain",
            {
                "none": Level(options=NO_SOURCE),
                **{
                    f"{ppm} ppm": Level(options={"calcification": f"{ppm}@20,-6,4:3"})
                    for ppm in ("-0.5", "-1.5", "-3")
                },
                "+1.4 ppm": Level(options={**NO_SOURCE, "haemorrhage": "1.4@-22,38,8:4"}),
            },
        ),
        Factor(
            "model-error", "what the dipole model does not explain",
            {
                "none": Level(),
                "remnant of 3 ppb": Level(options={"remnant": "0.003"}),
                "remnant of 10 ppb": Level(options={"remnant": "0.01"}),
                "microstructure": Level(options={"microstructure": "-0.01"}),
                "direction off by 5°": Level(prepare="benchmarks.suite.model_errors:direction_off_by_5_degrees"),
            },
        ),
    )
}  # fmt: skip
"""Factors by name."""
