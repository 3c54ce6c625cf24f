#!/bin/sh
# Which voxels does ants.threshold_image(labels, 2, 2) take from a label map made of an 8-bit or 32-bit numpy array, and how
# many parts does ants.label_clusters find in it?
# Expected: those of label 2, and the parts, as of the same array in float32. Seen: none and none: all is zero, with no error.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 antspyx==0.6.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version

import ants
import numpy as np

labels = np.zeros((30, 30, 30), np.uint8)
labels[5:15, 5:15, 5:15] = 1
labels[20:24, 20:24, 20:24] = 2
seen = {}
for kind in (np.uint8, np.uint32, np.float32):
    image = ants.from_numpy(labels.astype(kind))
    second = ants.threshold_image(image, 2, 2).numpy()
    parts = ants.label_clusters(image, min_cluster_size=10, max_thresh=3).numpy()
    assert (image.numpy() == labels).all()
    seen[kind.__name__] = [int(second.sum()), int(parts.max())]
print(f"antspyx {version('antspyx')}, label 2 of {(labels == 2).sum()} voxels, two parts: voxels taken and parts found: {seen}")
assert seen == {"uint8": [0, 0], "uint32": [0, 0], "float32": [64, 2]}
PYTHON
