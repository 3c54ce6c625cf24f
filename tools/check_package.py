"""Build sdist and wheel, install the wheel into an environment of its own, and run it there.

The environment sees the libraries of the one that runs this script, but not the package: what is tested is what a user
gets from the wheel, not the sources.  ``--fresh`` installs the libraries anew as well, which takes a minute and the
network.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("run", "evaluate", "lcurve", "phantom", "learn", "cohort", "doctor")
IN_SDIST = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "qsm_recon/references.bib")
IN_WHEEL = (
    "qsm_recon/py.typed",
    "qsm_recon/references.bib",
    "qsm_recon/report/page/run.html",
    "qsm_recon/report/page/session.html",
    "qsm_recon/cohort/page/overview.html",
    "qsm_recon/backend/plain/field_sweep.py",
    "qsm_recon/backend/tensors/field_sweep.py",
    "qsm_recon/learned/weights.safetensors",
)
KNOWN_ANSWER = """
from pathlib import Path
from qsm_recon.checkup.known_answer import reconstruct_known_scan
answer = reconstruct_known_scan(Path("scan")).answer
print(answer.right, answer)
"""
PLACE = "import qsm_recon; print(qsm_recon.__file__)"


def main() -> int:
    """Run the checks; returns 0 where all passed."""
    parser = argparse.ArgumentParser(description="Build, install and run the package as a user gets it.")
    parser.add_argument("--fresh", action="store_true", help="install the libraries anew; needs the network")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environment (with --fresh)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        sdist, wheel = build(Path(folder))
        check_contents(sdist, wheel)
        python = make_environment(Path(folder) / "environment", wheel, options)
        check_installed(python, Path(folder))
    print(f"package: {sdist.name} and {wheel.name} built, installed and run in {time.monotonic() - began:.0f} s")
    return 0


def build(folder: Path) -> tuple[Path, Path]:
    """Build the sdist from a copy of the sources, and the wheel from the sdist: so the sdist is complete."""
    source = folder / "source"
    shutil.copytree(ROOT / "qsm_recon", source / "qsm_recon", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    run([sys.executable, "-m", "build", "--outdir", str(folder), str(source)])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_contents(sdist: Path, wheel: Path) -> None:
    """Make sure that nothing is missing, and nothing in the wheel that does not belong there."""
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    require(set(IN_SDIST) <= inside, f"{sdist.name} lacks {sorted(set(IN_SDIST) - inside)}")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "qsm_recon").rglob("*.py")} | set(IN_WHEEL)
    require(sources <= names, f"{wheel.name} lacks {sorted(sources - names)}")
    rooms = {name.split("/")[0] for name in names}
    require(
        all(room == "qsm_recon" or room.endswith(".dist-info") for room in rooms), f"{wheel.name} holds {sorted(rooms)}"
    )


def make_environment(folder: Path, wheel: Path, options: argparse.Namespace) -> Path:
    """An environment with the wheel, and the libraries; returns its interpreter."""
    if options.fresh:
        run([options.python, "-m", "venv", str(folder)])
        python = folder / "bin" / "python"
        run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)])
        return python
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
            str(wheel),
        ]
    )
    # Behind the wheel, and as a plain folder: what .pth files there say of the sources is not read.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def check_installed(python: Path, folder: Path) -> None:
    """Run every command, by its two names, away from the sources, and one reconstruction whose answer is known."""
    place = Path(run([str(python), "-c", PLACE], cwd=folder).strip())
    require(place.is_relative_to(folder), f"the package that runs is not the wheel's but {place}")
    program = python.with_name("qsm-recon")
    listed = run([str(program)], cwd=folder)
    require(all(f"qsm_recon.{name} " in listed for name in COMMANDS), f"qsm-recon lists {listed}")
    version = run([str(program), "--version"], cwd=folder)
    for name in COMMANDS:
        ways = [str(program), name], [str(python), "-m", f"qsm_recon.{name}"]
        for words in ways:
            said = run([*words, "--version"], cwd=folder)
            require(said.split()[:2] == version.split()[:2], f"{' '.join(words)} --version says {said}")
    answer = run([str(python), "-c", KNOWN_ANSWER], cwd=folder).strip()
    require(answer.startswith("True "), answer)
    print("package:", answer.removeprefix("True "))


def run(words: list[str], cwd: Path | None = None) -> str:
    """Run a command without what would lead it back to the sources; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def require(holds: bool, otherwise: str) -> None:
    """End with a line where something does not hold."""
    if not holds:
        raise SystemExit(f"package: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
