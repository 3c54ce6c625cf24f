"""Write the table of what the package needs, with licences, into ``docs/inside/licences.md``.

Everything comes from the metadata of the installed packages.  ``--check`` writes nothing and ends with code 1 where the
page is another than what would be written.
"""

from __future__ import annotations

import argparse
import configparser
import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "inside" / "licences.md"
OWN = "qsm_recon"
BEGIN, END = "<!-- table: tools/licences.py -->", "<!-- end of table -->"
PURPOSE = {
    "numpy": "arrays",
    "scipy": "filters, sparse graphs, MATLAB files; Fourier transforms where pyFFTW is missing",
    "numba": "compiles the kernels; plain numpy stands in where it is missing",
    "pyfftw": "Fourier transforms (FFTW); scipy.fft stands in where it is missing",
    "nibabel": "NIfTI and other image files",
    "isal": "compressed images (ISA-L); Python's zlib stands in where it is missing",
    "matplotlib": "pictures",
    "pillow": "pictures of the overview page",
    "tqdm": "progress bars",
    "platformdirs": "where the user's cache is",
    "psutil": "memory of the machine",
    "packaging": "versions of installed packages",
    "distributed": "workers of a cohort and of the benchmarks (extra `cohort`)",
    "dask-jobqueue": "SLURM (extra `cohort`)",
    "nipype": "interface for nipype (extra `nipype`)",
    "torch": "solvers on a graphics processor, the learned methods (extra `torch`)",
    "safetensors": "files of the weights of the learned methods (extra `torch`)",
}


def declared() -> dict[str, list[str]]:
    """Names of what ``setup.cfg`` requires, by the extra that requires it; the package's own under an empty name."""
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    groups = {"": settings["options"]["install_requires"]}
    groups |= {extra: settings["options.extras_require"][extra] for extra in ("cohort", "nipype", "torch")}
    return {extra: [Requirement(line).name for line in text.split("\n") if line] for extra, text in groups.items()}


def normal(name: str) -> str:
    """A name of a package as others write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def found(name: str) -> Distribution | None:
    """The installed package of a name; None where there is none."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def licence(package: Distribution) -> str:
    """The licence that a package declares."""
    metadata = package.metadata
    if metadata.get("License-Expression"):
        return str(metadata["License-Expression"])
    classifiers = [
        line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")
    ]
    if classifiers:
        return ", ".join(classifiers)
    return (metadata.get("License") or "not declared").strip().split("\n")[0][:60]


def needed_by(names: list[str]) -> list[str]:
    """What installed packages need in turn, extras and other systems aside, without the given names."""
    known, waiting = {normal(name) for name in names}, list(names)
    further: set[str] = set()
    while waiting:
        package = found(waiting.pop())
        for line in (package.requires if package else None) or []:
            requirement = Requirement(line)
            name = normal(requirement.name)
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if wanted and name not in known | further and found(name) is not None:
                further.add(name)
                waiting.append(name)
    return sorted(further)


def table() -> str:
    """The tables of the page."""
    groups = declared()
    lines = ["| package | licence | for |", "|---|---|---|"]
    for extra, names in groups.items():
        for name in names:
            package = found(name)
            if package is None and extra:
                continue
            lines.append(f"| {name} | {licence(package) if package else 'not installed'} | {PURPOSE[normal(name)]} |")
    direct = [name for names in groups.values() for name in names if found(name) is not None]
    lines += ["", "These need in turn:", "", "| package | licence |", "|---|---|"]
    lines += [f"| {name} | {licence(distribution(name))} |" for name in needed_by(direct)]
    return "\n".join(lines)


def main() -> int:
    """Write the page or check it; returns 0, or 1 where a check fails."""
    parser = argparse.ArgumentParser(description="List the licences of what the package needs.")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    text = PAGE.read_text("utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    fresh = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    if options.check:
        print("licences: as the page says" if fresh == text else f"licences: {PAGE} differs; run tools/licences.py")
        return int(fresh != text)
    PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
