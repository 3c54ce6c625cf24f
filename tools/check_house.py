"""Check what imports what: floors, circles, libraries in their only place, files of a bearable length, dead code.

``python tools/check_house.py`` prints what is wrong and ends with code 1; ``make lint`` runs it.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "qsm_recon"
LONGEST_FILE = 400

# From the ground up: a module may import from its own floor and those below it.
FLOORS = [
    {"units", "errors", "version", "summary", "unfinished", "interruption"},
    {"file_names", "gzipped", "masks", "values"},
    {"parameters", "citations"},
    {"plugins"},
    {"backend"},
    {"operators"},
    {"problem", "result"},
    {"region"},
    {"io", "header"},
    {"field"},
    {"phantom"},
    {"datasets"},
    {"metrics"},
    {"terms"},
    {"engines"},
    {"background"},
    {"learned"},
    {"solvers"},
    {"select"},
    {"report"},
]
ONLY_PLACE = {
    "matplotlib": ("report/",),
    "nibabel": ("io.py",),
    "isal": ("gzipped.py",),
    "pyfftw": ("backend/fft.py",),
    "numba": ("backend/",),
    "torch": ("backend/tensors/", "learned/"),
    "safetensors": ("learned/",),
    "PIL": ("report/",),
    "distributed": ("cohort/",),
    "dask": ("cohort/",),
    "dask_jobqueue": ("cohort/scheduling.py",),
    "nipype": ("adapters/nipype.py",),
}


def sources() -> list[Path]:
    """All modules of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def floor(room: str) -> int:
    """Height of a room; everything that is not listed is a command, on the top floor."""
    return next((height for height, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def room_of(path: Path) -> str:
    """The room that a file is in; the ``__main__`` of a room is a command."""
    return "__main__" if path.name == "__main__.py" else path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> Iterator[str]:
    """Names of all modules that a file imports, wherever in it."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import: write the package's name"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            inside = [name for name in names if _is_module(name)]
            yield from inside
            if len(inside) < len(names):
                yield node.module


def climbing(path: Path) -> list[str]:
    """Imports of a file from a floor above its own."""
    room, found = room_of(path), []
    for module in imported_modules(path):
        parts = module.split(".")
        if parts[0] == "qsm_recon" and len(parts) > 1 and floor(parts[1]) > floor(room):
            found.append(f"{room} imports {module}, which is on a floor above")
    return found


def _is_module(name: str) -> bool:
    place = ROOT.joinpath(*name.split("."))
    return name.startswith("qsm_recon.") and (place.is_dir() or place.with_suffix(".py").is_file())


def misplaced(path: Path) -> list[str]:
    """Libraries that a file imports though only another place may."""
    place, found = path.relative_to(PACKAGE).as_posix(), []
    for module in imported_modules(path):
        allowed = ONLY_PLACE.get(module.partition(".")[0])
        if allowed is not None and not place.startswith(allowed):
            found.append(f"{place} imports {module}; only {allowed} may")
    return found


def circles() -> list[list[str]]:
    """Groups of modules that import each other, wherever in the file, for type checkers too."""
    modules = {_name(path): path for path in sources()}
    arrows = {
        name: {other for other in imported_modules(path) if other in modules and other != name}
        for name, path in modules.items()
    }
    reached = {name: _reach(name, arrows) for name in modules}
    groups = {frozenset(o for o in reached[name] if name in reached[o]) for name in modules if name in reached[name]}
    return sorted(sorted(group) for group in groups)


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _reach(start: str, arrows: dict[str, set[str]]) -> set[str]:
    """All that a module imports, at first or second hand; itself only where there is a circle."""
    reached: set[str] = set()
    waiting = list(arrows[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += arrows[name]
    return reached


def main() -> int:
    """Print what is wrong; return the exit code."""
    found = []
    for path in sources():
        found += [*climbing(path), *misplaced(path)]
        lines = len(path.read_text("utf-8").splitlines())
        if lines > LONGEST_FILE:
            found.append(f"{path.relative_to(ROOT)} has {lines} lines: split it by idea ({LONGEST_FILE} at most)")
    found += ["imports in a circle: " + ", ".join(circle) for circle in circles()]
    found += dead_code()
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


def dead_code() -> list[str]:
    """What of the package nothing names, neither here nor in its tests, benchmarks and examples."""
    done = subprocess.run([sys.executable, "-m", "vulture"], cwd=ROOT, check=False, capture_output=True, text=True)
    if done.stderr:
        return [done.stderr.strip()]
    return [line for line in done.stdout.splitlines() if line.startswith("qsm_recon/")]


if __name__ == "__main__":
    sys.exit(main())
