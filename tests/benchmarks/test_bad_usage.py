"""Bad usage of a benchmark is one line and exit code 2, before anything is measured or stored."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BAD = [
    ("learned", ["nowhere"], "data set 'nowhere': expected KIND:LOCATION"),
    ("guard", ["{absent}"], "no such folder"),
    ("guard", ["--heads", "{absent}"], "expected a folder with simulated heads"),
    ("slab", ["{absent}"], "no such folder"),
    ("phantom_realism", ["{absent}"], "no such folder"),
    ("phantom_realism", ["--heads", "{empty}"], "expected a folder with simulated heads"),
    ("unseen", ["{empty}"], "expected a folder with simulated heads"),
    ("unseen", ["--data", "nothing"], "no data set begins with 'nothing'; known: sim1"),
    ("study", ["selection", "--only", "tvv"], "--only: study 'selection' has no method 'tvv'; did you mean 'tv'?"),
    ("study", ["preconditioner", "--only", "medi"], "--only: study 'preconditioner' has no method 'medi'; known: tfi"),
    ("study", ["rc1", "--only", "tv"], "this study needs data: give --data rc1:DIR"),
    ("memory", ["--algo", "tvv"], "'tvv' is not measured; did you mean 'tv'?"),
    ("speed", ["--data", "phantom:sim1"], "--data: what is to be measured does not take it; it goes with --against"),
    ("speed", ["--scaling", "--limit", "3"], "--limit: what is to be measured does not take it"),
    ("speed", ["--baseline", "HEAD", "--converge", "tv"], "--converge: what is to be measured does not take it"),
]


@pytest.mark.parametrize(("module", "arguments", "message"), BAD)
def test_bad_usage_is_one_line(module, arguments, message, tmp_path):
    places = {"absent": tmp_path / "absent", "empty": tmp_path}
    command = [sys.executable, "-m", f"benchmarks.{module}", *(text.format(**places) for text in arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr
