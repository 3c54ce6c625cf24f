#!/bin/sh
# Of which type are the indexes run and echo that pybids reads from file names?
# Expected: numbers, both. Seen: run is a number and echo is text, so that sorting files by it puts echo 10 before echo 2
# (echo times are then given to the wrong files).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 pybids==0.22.0
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import json
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np

root = Path("study")
(root / "sub-01/anat").mkdir(parents=True)
(root / "dataset_description.json").write_text(json.dumps({"Name": "study", "BIDSVersion": "1.10.0"}))
for echo in range(1, 13):
    name = root / f"sub-01/anat/sub-01_run-1_echo-{echo}_part-phase_MEGRE"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), f"{name}.nii.gz")
    Path(f"{name}.json").write_text(json.dumps({"EchoTime": 0.004 * echo, "Units": "rad"}))
from bids import BIDSLayout

files = BIDSLayout(root).get(suffix="MEGRE", extension=".nii.gz")
entities = files[0].get_entities()
by_echo = [file.get_entities()["echo"] for file in sorted(files, key=lambda file: file.get_entities()["echo"])]
print(f"pybids {version('pybids')}: run {entities['run']!r}, echo {entities['echo']!r}; sorted by echo: {by_echo}")
assert isinstance(int(entities["run"]), int) and not isinstance(entities["run"], str)
assert isinstance(entities["echo"], str) and by_echo[:3] == ["1", "10", "11"]
PYTHON
