#!/bin/sh
# Does the BIDS validator check the Units of field maps and quantitative maps?
# Expected: yes, as for a phase, where "radians" is an error: a field map is in Hz, rad/s or T, a T2starmap in s.
# Seen: only for the phase. A field map in ppm, in rad or in furlongs, a T2starmap in ms and an R2starmap in ms all pass.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 bids-validator-deno==3.0.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np


def complaints(number, images, **sidecar):
    """Errors of a data set with these images, and whatever it says of units; the last image has the sidecar."""
    root = Path(str(number))
    root.mkdir()
    description = {"Name": "maps", "BIDSVersion": "1.10.0", "License": "CC0", "Authors": ["A", "B"]}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("Maps of one subject.\n" * 20)
    for name in images:
        path = root / "sub-01" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4))
        image.header.set_xyzt_units("mm", "sec")
        nibabel.save(image, f"{path}.nii.gz")
        path.with_suffix(".json").write_text(json.dumps({"EchoTime": 0.005}))
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    ran = subprocess.run(["bids-validator-deno", str(root), "--json"], capture_output=True, text=True)
    issues = json.loads(ran.stdout)["issues"]["issues"]
    return {i["code"] for i in issues if i["severity"] == "error" or "UNIT" in f"{i['code']} {i.get('subCode')}".upper()}


field, phase = ["fmap/sub-01_magnitude", "fmap/sub-01_fieldmap"], ["anat/sub-01_echo-1_part-mag_MEGRE", "anat/sub-01_echo-1_part-phase_MEGRE"]
cases = [(phase, "radians"), (phase, "rad"), (field, None), (field, "Hz"), (field, "ppm"), (field, "rad"), (field, "furlong"),
         (["anat/sub-01_T2starmap"], "ms"), (["anat/sub-01_R2starmap"], "ms")]
seen = []
for number, (images, unit) in enumerate(cases):
    sidecar = {"EchoTime": 0.005} if images is phase else {}
    seen.append(complaints(number, images, **sidecar, **({"Units": unit} if unit else {})))
    print(f"{images[-1]}, Units {unit}: {seen[-1] or 'passes'}")
print(f"bids-validator-deno {version('bids-validator-deno')}")
assert seen[0] == {"PHASE_UNITS"} and seen[2] == {"SIDECAR_KEY_REQUIRED"} and not any(seen[1:2] + seen[3:])
PYTHON
