"""Tune a regularisation parameter: ``python -m qsm_recon.lcurve --algo fansi --out session``.

Reconstructs along the parameter from strong to weak, says which value each rule picks, and writes all of it, with a
page to judge by (``session.html``), to the folder ``--out``.  Whatever stops it, the same command goes on.  Exit code
0: done; 2: bad usage or input; 3: done, but the chosen rule found no interior optimum; 130: interrupted.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.commands.background import BACKGROUND_OPTIONS, prepared_case
from qsm_recon.commands.line import (
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_CONVERGED,
    CommandParser,
    logger,
    require_writable,
    run_command,
)
from qsm_recon.commands.options import (
    add_data_options,
    add_machine_options,
    add_method_options,
    case_from_options,
    data_arguments,
    describe_mask,
    solver_from_options,
)
from qsm_recon.commands.reconstruct import require_memory_for
from qsm_recon.errors import ParameterError
from qsm_recon.io import write_json
from qsm_recon.parameters import parse_settings
from qsm_recon.select.choosers import CHOOSERS
from qsm_recon.select.path import PathPoint, require_number, sweep_values
from qsm_recon.select.tune import REFINEMENTS, Follower, Metrics, require_rounds, run_session
from qsm_recon.solvers.registry import find_solver

if TYPE_CHECKING:
    from qsm_recon.datasets.case import Case
    from qsm_recon.report.tuning import TuningSession
    from qsm_recon.result import IterationState
    from qsm_recon.solvers.base import Solver

SECONDS_BETWEEN_LINES = 5.0
MAPS = "maps"
"""Folder of a session for its maps as images."""
MAPS_RECORD = "maps.json"
"""What is said of them there: their zero point is the one of the method, which ``run`` moves to that of a region."""


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = CommandParser(
        prog="python -m qsm_recon.lcurve",
        description="Choose a regularisation parameter without the truth, and keep every map on the way.",
    )
    general = parser.add_argument_group("what to do")
    add_method_options(general)
    general.add_argument("--parameter", metavar="NAME", help="what to vary (default: the main parameter)")
    general.add_argument(
        "--points", type=int, default=15, metavar="N", help="points of the sweep (default: %(default)s)"
    )
    general.add_argument(
        "--from", dest="strongest", type=float, metavar="VALUE", help="strong end (default: 20 × default)"
    )
    general.add_argument("--to", dest="weakest", type=float, metavar="VALUE", help="weak end (default: default / 25)")
    general.add_argument(
        "--refine", type=int, default=REFINEMENTS, metavar="N",
        help="rounds of two more points around what is chosen (default: %(default)s)",
    )  # fmt: skip
    general.add_argument(
        "--select", choices=tuple(CHOOSERS), default="auto", help="rule to choose by (default: %(default)s)"
    )
    general.add_argument(
        "--also", action="append", default=[], metavar="SPEC", help="another data set that shares the parameter"
    )
    add_data_options(parser)
    output = parser.add_argument_group("output and machine")
    output.add_argument(
        "--out", type=Path, default=Path("session"), metavar="DIR", help="folder of the session (default: %(default)s)"
    )
    output.add_argument(
        "--keep-maps",
        action="store_true",
        help=f"write the map of every point as NIfTI, into DIR/{MAPS}; "
        "as the method left it, without the zero reference of run",
    )
    add_machine_options(output)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: _run(options), quiet=options.quiet)


def _run(options: argparse.Namespace) -> int:
    from qsm_recon.backend.device import set_device
    from qsm_recon.backend.memory import set_memory_limit
    from qsm_recon.backend.threads import set_thread_count
    from qsm_recon.report.tuning import TuningSession
    from qsm_recon.select.session import SessionCase

    set_memory_limit(options.memory_limit)
    if options.threads is not None:
        set_thread_count(options.threads)
    set_device(options.device)
    solver = solver_from_options(options)
    require_left_open(options)
    require_rounds(options.refine)
    require_writable(options.out, f"--out {options.out}", "choose another")
    cases, arguments = [_read(options, solver)], [data_arguments(options)]
    same = {name: getattr(options, name) for name in ("quiet", "no_cache", *BACKGROUND_OPTIONS)}
    for specification in options.also:
        further = argparse.Namespace(**{**vars(build_parser().parse_args([])), **same, "dataset": specification})
        cases.append(_read(further, solver))
        arguments.append(data_arguments(further))
    for remark in dict.fromkeys(remark for case in cases for remark in solver.remarks(case.problem)):
        logger.warning("warning: %s", remark)
    # Ends that are not given follow the first data set.
    around = solver.resolved(cases[0].problem)
    values = sweep_values(around, options.parameter, options.points, options.strongest, options.weakest)
    described = [
        SessionCase.of(name, case.problem, case.affine, words)
        for name, case, words in zip(different_names([case.name for case in cases]), cases, arguments, strict=True)
    ]
    session = TuningSession.open(options.out, solver, options.parameter, described)
    if session.points:
        logger.info("%s: going on after %d points", options.out, len(session.points))
    progress = Progress(session, quiet=options.quiet)
    problems = [case.problem for case in cases]
    try:
        pick = run_session(
            session, problems, values,
            metrics=[scores(case) for case in cases], refinements=options.refine, method=options.select,
            follower=progress,
        )  # fmt: skip
    except KeyboardInterrupt:
        progress.clear()
        print(f"interrupted; {len(session.points)} points are safe in {options.out}/, the same command goes on")
        return EXIT_INTERRUPTED
    progress.clear()
    page = session.write_page(pick)
    if options.keep_maps:
        written = _write_maps(session, cases)
        print(
            f"maps: {len(written)} files in {session.folder / MAPS}/, without zero reference (as run --reference none)"
        )
    if not options.quiet:
        print(describe_picks(session))
    print(f"page to judge by: {page}")
    if pick.value is None:
        print(f"{pick.method}: {pick.reason}")
        return EXIT_NOT_CONVERGED
    print(f"{session.parameter} = {pick.value:.4g} by {pick.method} (confidence {pick.confidence:.2f}): {pick.reason}")
    rounded = float(f"{pick.value:.6g}")  # of which no map was computed
    for index in range(len(session.cases)):
        print(f"reconstruct with: {session.command(rounded, index)}")
    return EXIT_DONE


def require_left_open(options: argparse.Namespace) -> None:
    """Refuse a value for the parameter that is swept.

    Raises
    ------
    ParameterError
        If it is set, or is no real number of the algorithm.
    """
    kind = find_solver(options.algo)
    swept = options.parameter or kind.main_parameter().name
    require_number(kind, swept)
    if swept in parse_settings(kind, options.set, "--set"):
        raise ParameterError(
            f"--set {swept}: the sweep chooses it; do not set it as well, or give its ends by --from and --to"
        )


def _read(options: argparse.Namespace, solver: Solver) -> Case:
    """A data set without its background, if that is asked for; says which mask it has."""
    case = prepared_case(case_from_options(options), solver, options)[0]
    require_memory_for(solver, case)
    if not options.quiet:
        print(describe_mask(case))
    return case


def _write_maps(session: TuningSession, cases: list[Case]) -> list[Path]:
    """Write the map of every point as NIfTI, placed as its data set is, and what their zero point is."""
    written = []
    for case in cases:
        index = session.index_of(case.problem)
        name = re.sub(r"[^\w.-]+", "_", session.cases[index].name)
        for point in session.of_case(index):
            path = session.folder / MAPS / f"{name}_{session.parameter}_{point.value:.6e}.nii.gz"
            written.append(case.save(path, session.susceptibility_ppm(point)))
    record = {"unit": "ppm", "zero_reference": "none", "as_of": "run --reference none", "parameter": session.parameter}
    write_json(session.folder / MAPS / MAPS_RECORD, {**record, "maps": [path.name for path in written]})
    return written


def different_names(names: list[str]) -> list[str]:
    """Number names that occur before."""
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return numbered


def scores(case: Case) -> Metrics | None:
    """Return what scores a map against the truth of a case; None where there is none."""
    if case.truth is None:
        return None

    def score(susceptibility_ppm: NDArray) -> dict[str, float | None]:
        from qsm_recon.metrics.of_case import evaluate_case

        found = evaluate_case(case, susceptibility_ppm, case.problem.mask, similarity=False)
        return {} if found is None else found.values

    return score


def describe_picks(session: TuningSession) -> str:
    """Table of what each rule picks, with the error there where a truth is known."""
    lines = [f"{'rule':<15}{session.parameter:>24}{'confidence':>12}{'NRMSE %':>9}  reason"]
    for pick in session.picks():
        error = session.error_at(pick)
        cells = f"{'-' if pick.value is None else f'{pick.value:.4g}':>24}{pick.confidence:>12.2f}"
        lines.append(f"{pick.method:<15}{cells}{'-' if error is None else f'{error:.1f}':>9}  {pick.reason}")
    return "\n".join(lines)


class Progress(Follower):
    """Says on standard error how a session goes on: points done, current costs, time left."""

    def __init__(self, session: TuningSession, *, quiet: bool) -> None:
        self._session = session
        self._quiet = quiet
        self._live = sys.stderr.isatty()
        self._seconds: list[float] = []
        self._last_line = time.monotonic()
        self._open_line = False
        self._todo = 0

    def begin(self, case: int, values: list[float]) -> None:
        """See :class:`Follower`."""
        self._todo = len(values)
        self._case = self._session.cases[case].name
        if values:
            logger.info("%s: %d points from %g to %g", self._case, len(values), values[0], values[-1])

    def iteration(self, value: float, state: IterationState) -> None:
        """See :class:`Follower`."""
        if self._quiet or time.monotonic() - self._last_line < (0.2 if self._live else SECONDS_BETWEEN_LINES):
            return
        self._last_line = time.monotonic()
        costs = ", ".join(f"{n} {state.values[n]:.5g}" for n in ("fidelity", "regularisation") if n in state.values)
        self._say(
            f"{len(self._session.points)} points done, {self._todo} to go{self._time_left()}; "
            f"{self._session.parameter} {value:.4g}, iteration {state.iteration}: {costs}"
        )

    def point(self, point: PathPoint) -> None:
        """See :class:`Follower`."""
        self._todo -= 1
        self._seconds.append(point.seconds)
        self.clear()
        settled = "" if point.settled else f" NOT SETTLED: {point.stop_reason}"
        logger.info(
            "  %s %.4g: data cost %.5g, regularisation cost %.5g, %d iterations, %.1f s%s%s",
            self._session.parameter, point.value, point.data_cost, point.regularisation_cost,
            point.iterations, point.seconds, self._time_left(), settled,
        )  # fmt: skip

    def clear(self) -> None:
        """Remove the live line."""
        if self._open_line:
            sys.stderr.write("\r\033[K")
            self._open_line = False

    def _time_left(self) -> str:
        if not self._seconds or not self._todo:
            return ""
        return f", about {max(1.0, float(np.median(self._seconds)) * self._todo):.0f} s left"

    def _say(self, text: str) -> None:
        if self._live:
            sys.stderr.write("\r\033[K" + text)
            sys.stderr.flush()
            self._open_line = True
        else:
            logger.info("%s", text)
