"""The published properties of the phantom at full size: ``python -m benchmarks.phantom_checks``.

Builds SIM1 and SIM2 afresh, each in its own process so that its peak memory is its own, and prints a table and JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from benchmarks.suite.command import BenchmarkParser
from qsm_recon.phantom import PhantomParameters, build_phantom
from qsm_recon.phantom.properties import PUBLISHED, TOLERANCE, published_properties

SECONDS_ALLOWED = 180.0
GIGABYTES_ALLOWED = 8.0


def measure(case: str) -> dict[str, float]:
    """Build one case without the cache; properties, seconds and peak memory of this process in GB."""
    start = time.perf_counter()
    phantom = build_phantom(PhantomParameters(case=case), cache=False)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {**published_properties(phantom), "seconds": seconds, "peak_memory_gb": peak}


def table(results: dict[str, dict[str, float]]) -> str:
    """Lay out the results beside what is published."""
    lines = [f"{'':32}{'published':>10}" + "".join(f"{case:>10}{'':>9}" for case in results)]
    for name in ("truth_norm", "white_matter_snr_first_echo", "white_matter_snr_last_echo"):
        line = f"{name:32}{'/'.join(f'{PUBLISHED[case][name]:g}' for case in dict.fromkeys(results)):>10}"
        for case, values in results.items():
            line += f"{values[name]:10.2f}{100 * (values[name] / PUBLISHED[case][name] - 1):+8.1f}%"
        lines.append(line)
    for name, allowed in (("seconds", SECONDS_ALLOWED), ("peak_memory_gb", GIGABYTES_ALLOWED)):
        lines.append(f"{name:32}{f'< {allowed:g}':>10}" + "".join(f"{v[name]:10.2f}{'':>9}" for v in results.values()))
    return "\n".join(lines)


def passed(results: dict[str, dict[str, float]]) -> bool:
    """Tell whether every published property is met within the tolerance, in the time and memory allowed."""
    return all(
        abs(values[name] / expected - 1) <= TOLERANCE
        for case, values in results.items()
        for name, expected in PUBLISHED[case].items()
    ) and all(v["seconds"] < SECONDS_ALLOWED and v["peak_memory_gb"] < GIGABYTES_ALLOWED for v in results.values())


def main() -> int:
    """Run both cases and print."""
    parser = BenchmarkParser(description=__doc__)
    parser.add_argument("--case", choices=sorted(PUBLISHED), help="measure one case in this process; JSON only")
    case = parser.parse_args().case
    if case:
        print(json.dumps(measure(case)))
        return 0
    results = {}
    for name in sorted(PUBLISHED):
        command = [sys.executable, "-m", "benchmarks.phantom_checks", "--case", name]
        results[name] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(table(results))
    print(json.dumps(results))
    return 0 if passed(results) else 1


if __name__ == "__main__":
    sys.exit(main())
