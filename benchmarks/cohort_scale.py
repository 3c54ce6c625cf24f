"""What a large cohort takes, on paper: ``python -m benchmarks.cohort_scale [--data BIDS_DIR] [--subjects 10000]``.

One subject of real size (the phantom SIM2 at 1 mm with four echoes and background, written as BIDS) is reconstructed
with V-SHARP and FANSI by the cohort's command, by one worker with one thread.  Its figures times the number of subjects
are what a cohort takes; ``--stored`` prints the table from the stored figures.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.suite.command import BenchmarkParser, guarded
from benchmarks.timing import RESULTS, save_rows
from qsm_recon.cohort.command import main as cohort_main
from qsm_recon.cohort.derivatives import GROUP
from qsm_recon.cohort.record import read_records

METHOD = ("--algo", "fansi", "--background", "vsharp")
CORES = (16, 128, 1024)
NAME = "cohort_scale"


def main() -> None:
    """Run and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("--data", type=Path, metavar="BIDS_DIR", help="a data set with one subject of real size")
    parser.add_argument("--subjects", type=int, default=10_000, help="size of the cohort (default %(default)s)")
    parser.add_argument("--stored", action="store_true", help="measure nothing")
    options = parser.parse_args()
    if not options.stored:
        with tempfile.TemporaryDirectory() as folder:
            data = options.data or export(Path(folder) / "data")
            save_rows(NAME, [measure(data, Path(folder) / "results")], ("data",))
    for row in json.loads((RESULTS / f"{NAME}.json").read_text())["rows"]:
        print("\n".join(lines(row, options.subjects)))


def export(folder: Path) -> Path:
    """Write the phantom."""
    from qsm_recon.phantom import PhantomParameters, build_phantom
    from qsm_recon.phantom.export import export_phantom

    return export_phantom(build_phantom(PhantomParameters(case="sim2", size="full", background=True)), folder, "bids")


def measure(data: Path, out: Path) -> dict[str, Any]:
    """Figures of one subject."""
    began = time.perf_counter()
    code = cohort_main([str(data), str(out), "participant", *METHOD, "--workers", "1", "--threads", "1"])
    seconds = time.perf_counter() - began
    (record,) = read_records(out)
    if code != 0:
        raise SystemExit(record.reason)
    return {
        "data": record.name,
        "method": " ".join(METHOD),
        "image": f"{record.facts['echoes']} echoes, voxels of {record.facts['voxel_size']} mm",
        "iterations": record.facts["iterations"],
        "processor_seconds": round(record.facts["processor_seconds"], 1),
        "seconds": round(record.facts["seconds"], 1),
        "command_seconds": round(seconds, 1),
        "memory_gib": round(record.facts["memory"], 2),
        "input_mb": round(sum(file.bytes for file in record.inputs.values()) / 1e6, 1),
        "output_mb": round(sum(record.outputs.values()) / 1e6, 1),
        "map_mb": round(record.outputs[record.facts["chimap"]] / 1e6, 1),
        "page_kb": round((out / f"{GROUP}.html").stat().st_size / 1e3, 1),
        "record_kb": round((out / "logs" / f"{record.name}.json").stat().st_size / 1e3, 1),
    }


def lines(row: dict[str, Any], subjects: int) -> list[str]:
    """The table for a cohort."""
    core_hours = row["processor_seconds"] * subjects / 3600
    days = ", ".join(f"{core_hours / cores / 24:.2g} days on {cores}" for cores in CORES)
    memory = ", ".join(f"{row['memory_gib'] * cores:,.0f} GiB for {cores}" for cores in CORES)
    terabytes = {name: f"{row[f'{name}_mb'] * subjects / 1e6:,.2f} TB" for name in ("input", "output", "map")}
    megabytes = {name: f"{row[f'{name}_kb'] * subjects / 1e3:,.0f} MB" for name in ("page", "record")}
    return [
        f"one subject ({row['image']}; {row['method']}; {row['iterations']} iterations): "
        f"{row['processor_seconds']:.0f} s of one core, {row['memory_gib']:.2f} GiB",
        "",
        f"| {subjects:,} subjects | |",
        "|---|---|",
        f"| processors | {core_hours:,.0f} core-hours: {days} cores |",
        f"| memory | {row['memory_gib']:.1f} GiB for each run at a time: {memory} |",
        f"| images | {terabytes['input']}, read for the hash, the field and the report |",
        f"| written | {terabytes['output']}, of which maps {terabytes['map']} |",
        f"| overview and records | at most {megabytes['page']} and {megabytes['record']} |",
    ]


if __name__ == "__main__":
    raise SystemExit(guarded(main, interrupted="interrupted"))
