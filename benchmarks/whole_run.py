"""Whole commands of two builds, stage by stage: ``python -m benchmarks.whole_run PATH_OR_TAG``.

Both builds run the same commands on the same files, in processes of one thread that take turns, after a first round
that compiles and plans.  CPU seconds are those of the whole process, from its start to its end; those of a stage leave
out what is counted to a stage inside it, so that stages add up.  Imports are a stage, wherever they happen.  What is
outside the solve is everything but the stage of that name: the search for the field's constant, planning of transforms
and the loading of compiled kernels are outside.  Peak memory is what Linux tells of the process.  Figures go to
``benchmarks/results/whole_run.json``.

Exit code 0: done; 2: bad usage or a build that failed; 130: interrupted.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baseline import baseline_folder
from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.suite.table import markdown, number
from benchmarks.timing import RESULTS, save_rows
from qsm_recon.errors import ParameterError
from qsm_recon.phantom.build import PhantomParameters, build_phantom
from qsm_recon.phantom.export import export_phantom

TABLE = "whole_run"
SOLVE = "solve"
OTHER, END = "everything else", "end of the process"
STAGES = {
    "io:load_image": "reading files",
    "io:load_mask": "reading files",
    "io:is_complex": "reading files",
    "datasets.files:case_from_files": "checks and copies of what is read",
    "field.estimate:estimate_field": "fit of the field",
    "field.polarity:turned_slices": "signs of the readout",
    "field.polarity:bipolar_test": "signs of the readout",
    "field.order:order_test": "signs of the readout",
    "field.unwrap:unwrap_in_space": "unwrapping",
    "field.doubt:settle": "voxels in doubt",
    "field.estimate:_decay": "R2*",
    "background.detection:background_test": "test for background",
    "terms.field_scale:field_scale": "default weight",
    "solvers.filter_weights:_measured": "default weight",
    "solvers.filter_weights:best_of_filter": "default weight",
    "solvers.constant_field:constant_of_field": "constant of the field",
    "backend.fft:_load_fftw": "planning transforms",
    "backend.fft:_FFTWBlocks._make_plan": "planning transforms",
    "backend.jit:Kernel.made": "loading kernels",
    "solvers.base:Solver.solve": SOLVE,
    "report.document:run_document": "report",
    "io:write_json": "report",
    "report.outputs:write_outputs": "writing",
    "io:save_image": "writing maps",
    "report.run_figure:run_figure": "figure",
    "report.run_figure:save_figure": "figure",
}
"""Functions of the package (either build may lack some) and the stage that their time counts to."""
CHILD = """
import _frozen_importlib, atexit, functools, json, sys, time
clock, spent, stack = time.process_time, {}, ["everything else"]
began = [0.0]  # of the process: the start of the interpreter counts too
def switch():
    now = clock()
    spent[stack[-1]] = spent.get(stack[-1], 0.0) + now - began[0]
    began[0] = now
def timed(function, stage):
    @functools.wraps(function)
    def run(*arguments, **named):
        switch(); stack.append(stage)
        try:
            return function(*arguments, **named)
        finally:
            switch(); stack.pop()
    return run
targets = json.loads(sys.argv[1])
find = timed(_frozen_importlib._find_and_load, "imports")
def find_and_time(name, import_):
    module = find(name, import_)
    for place, stage in targets.get(name, {}).items():
        *owners, last = place.split(".")
        owner = functools.reduce(lambda at, part: getattr(at, part, None), owners, module)
        if hasattr(owner, last):
            setattr(owner, last, timed(getattr(owner, last), stage))
    return module
_frozen_importlib._find_and_load = find_and_time
def told():
    switch()
    peak = [int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(json.dumps([spent, peak[0]]), file=sys.stderr)
atexit.register(told)
sys.argv[1:] = sys.argv[2:]
import runpy
runpy.run_module("qsm_recon.run", run_name="__main__")
"""


def commands(data: Path) -> dict[str, list[str]]:
    """The words of each command; all write to ``--out``, which is added."""
    mask = ["--mask", str(data / "mask.nii.gz")]
    echoes = ["--magnitude", str(data / "magnitude.nii.gz"), "--phase", str(data / "phase.nii.gz"), *mask]
    facts = json.loads((data / "phantom.json").read_text())["parameters"]
    scan = ["--b0", f"{facts['b0_tesla']:g}", "--te", *(f"{time:g}" for time in facts["echo_times_s"])]
    field = ["--field", str(data / "field.nii.gz"), "--field-unit", "ppm", *mask]
    return {
        "--list": ["--list"],
        "--algo tkd, field map": ["--algo", "tkd", *field, "--quiet"],
        "--algo tv, four echoes": ["--algo", "tv", *echoes, *scan, "--quiet"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, store and print."""
    parser = BenchmarkParser(description=__doc__.splitlines()[0])
    parser.add_argument("baseline", metavar="PATH_OR_TAG", help="the other build: a folder, commit or tag")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, which take turns (default: %(default)s)")
    parser.add_argument("--size", choices=("full", "reduced"), default="full", help="of the phantom (default: full)")
    options = parser.parse_args(arguments)
    return guarded(lambda: _measure(options.baseline, options.rounds, options.size), interrupted="interrupted")


def _measure(where: str, rounds: int, size: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        builds = {"old": baseline_folder(where, scratch / "old"), "new": Path(__file__).resolve().parents[1]}
        export_phantom(build_phantom(PhantomParameters(case="sim2", size=size)), scratch / "data")
        rows = []
        for name, words in commands(scratch / "data").items():
            rows.append(compared(name, words, builds, scratch, rounds))
            rows[-1] |= {"baseline": Path(where).name, "size": size, "rounds": rounds}
            save_rows(TABLE, rows[-1:], ("command", "baseline", "size"))
    print(f"{whole_table(rows)}\n\n{stages_table(rows)}\n\nstored in {RESULTS / TABLE}.json")
    return 0


def compared(name: str, words: list[str], builds: dict[str, Path], scratch: Path, rounds: int) -> dict[str, Any]:
    """Measure one command: medians of both builds, and how far their maps are apart.

    Raises
    ------
    ParameterError
        If a build fails.
    """
    runs: dict[str, list[dict[str, Any]]] = {build: [] for build in builds}
    for turn in range(rounds + 1):
        for build, folder in builds.items():
            found = run_once(folder, [*words, "--out", str(scratch / f"out_{build}")])
            if turn:  # the first compiles and plans
                runs[build].append(found)
    row: dict[str, Any] = {"command": name}
    for build, made in runs.items():
        stages = sorted({stage for run in made for stage in run["stages"]})
        row |= {
            f"{build}_cpu_s": statistics.median(run["cpu_s"] for run in made),
            f"{build}_outside_s": statistics.median(run["cpu_s"] - run["stages"].get(SOLVE, 0.0) for run in made),
            f"{build}_peak_mib": statistics.median(run["peak_mib"] for run in made),
            f"{build}_stages_s": {s: statistics.median(run["stages"].get(s, 0.0) for run in made) for s in stages},
        }
    row["ratio"] = row["new_cpu_s"] / row["old_cpu_s"]
    row["ratio_outside"] = row["new_outside_s"] / row["old_outside_s"]
    maps = [scratch / f"out_{build}" / "chi.nii.gz" for build in builds]
    row["distance"] = _distance(*maps) if all(path.is_file() for path in maps) else None
    return row


def run_once(folder: Path, words: list[str]) -> dict[str, Any]:
    """Run a command by the build in a folder; CPU seconds of all and of the stages, and peak memory in MiB.

    Raises
    ------
    ParameterError
        If it failed.
    """
    targets: dict[str, dict[str, str]] = {}
    for place, stage in STAGES.items():
        module, _, name = place.partition(":")
        targets.setdefault(f"qsm_recon.{module}", {})[name] = stage
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, json.dumps(targets), *words]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder
    )
    assert process.stderr is not None
    with process.stderr as words_of_it:
        told = words_of_it.read().strip().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not told:
        raise ParameterError(f"{folder}: {' '.join(words)} failed: {told[-1] if told else process.returncode}")
    stages, peak = json.loads(told[-1])
    whole = usage.ru_utime + usage.ru_stime
    stages[END] = whole - sum(stages.values())
    return {"stages": stages, "cpu_s": whole, "peak_mib": peak}


def _distance(first: Path, second: Path) -> float:
    """Norm of the difference of two maps over that of the first."""
    from qsm_recon.io import load_image

    one, other = (load_image(path, dtype=np.float64).data for path in (first, second))
    return float(np.linalg.norm(one - other) / np.linalg.norm(one))


def whole_table(rows: Sequence[dict[str, Any]]) -> str:
    """Old and new, command by command."""
    lines = [
        [f"`{row['command']}`", row.get("baseline", ""),
         f"{row['old_cpu_s']:.2f} → {row['new_cpu_s']:.2f}", number(row["ratio"], 2),
         f"{row['old_outside_s']:.2f} → {row['new_outside_s']:.2f}", number(row["ratio_outside"], 2),
         f"{row['old_peak_mib']:.0f} → {row['new_peak_mib']:.0f}",
         "" if row["distance"] is None else f"{row['distance']:.1e}"]
        for row in rows
    ]  # fmt: skip
    head = ["command", "beside", "CPU s", "ratio", "outside the solve, CPU s", "ratio", "peak MiB", "maps differ by"]
    return markdown(head, lines)


def stages_table(rows: Sequence[dict[str, Any]]) -> str:
    """CPU seconds of every stage, old and new, command by command; a table for each build that this one is beside."""
    baselines = dict.fromkeys(row.get("baseline", "") for row in rows)
    groups = ([row for row in rows if row.get("baseline", "") == name] for name in baselines)
    return "\n\n".join(_stages_beside(name, group) for name, group in zip(baselines, groups, strict=True))


def _stages_beside(baseline: str, rows: Sequence[dict[str, Any]]) -> str:
    order = dict.fromkeys(["imports", *STAGES.values(), OTHER, END])
    lines = []
    for stage in order:
        pairs = [(row["old_stages_s"].get(stage, 0.0), row["new_stages_s"].get(stage, 0.0)) for row in rows]
        lines.append([stage, *(f"{old:.2f} → {new:.2f}" if max(old, new) >= 0.005 else "" for old, new in pairs)])
    return markdown([f"stage, CPU s, beside {baseline}", *(f"`{row['command']}`" for row in rows)], lines)


if __name__ == "__main__":
    sys.exit(main())
