#!/bin/sh
# Does a pattern of .bidsignore with a slash at its end cover a folder, as in .gitignore, whose form it has?
# Expected: figures/ covers sub-01/figures and all in it. Seen: the files are passed over, the folder itself is an error;
# figures without the slash covers both.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 bids-validator-deno==3.0.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import json
import subprocess
from pathlib import Path

import nibabel
import numpy as np


def errors(name, ignored="", skull_stripped=True):
    root = Path(name)
    (root / "sub-01/anat").mkdir(parents=True)
    (root / "sub-01/figures").mkdir()
    (root / "sub-01/figures/view.txt").write_text("a picture")
    description = {"Name": "maps", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "a tool"}]}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README.md").write_text("Susceptibility maps.\n" * 20)
    (root / ".bidsignore").write_text(ignored + "\n")
    sidecar = {"Units": "ppm"} | ({"SkullStripped": True} if skull_stripped else {})
    (root / "sub-01/anat/sub-01_Chimap.json").write_text(json.dumps(sidecar))
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    nibabel.save(image, root / "sub-01/anat/sub-01_Chimap.nii.gz")
    run = subprocess.run(["bids-validator-deno", name, "--json"], capture_output=True, text=True)
    found = json.loads(run.stdout)["issues"]["issues"]
    return sorted({issue.get("subCode") or issue["code"] for issue in found if issue["severity"] == "error"})


seen = {pattern: errors(f"study{n}", pattern) for n, pattern in enumerate(("", "figures/", "**/figures/", "figures"))}
print(f"bids-validator-deno 3.0.2: errors by pattern: {seen}")
assert seen == {"": ["NOT_INCLUDED"], "figures/": ["NOT_INCLUDED"], "**/figures/": ["NOT_INCLUDED"], "figures": []}
PYTHON
