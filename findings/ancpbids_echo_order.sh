#!/bin/sh
# In which order does ancpbids give the echoes of one acquisition?
# Expected: by echo, which it knows as a number. Seen: by file name: echo 10, 11, 12, 1, 2, ...
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 ancpbids==0.4.10
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
from ancpbids import BIDSLayout

layout = BIDSLayout(str(root))
numbers = sorted(layout.get_entities()["echo"])
names = [file.name for file in layout.get(suffix="MEGRE", extension=".nii.gz")]
order = [int(name.split("echo-")[1].split("_")[0]) for name in names]
print(f"ancpbids {version('ancpbids')}: echoes known as {numbers}, files in the order {order}")
assert numbers == list(range(1, 13)) and order[:4] == [10, 11, 12, 1]
PYTHON
