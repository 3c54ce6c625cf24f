#!/bin/sh
# What does `import pyfftw` load, where SciPy and Dask are installed and neither is used?
# Expected: numpy and its own extension; interfaces to other libraries are a subpackage, and Dask an extra of it. Seen: the
# package imports its interfaces at once, and these SciPy's transforms and, if it is there, all of dask.array with YAML and
# cloudpickle.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 scipy==1.17.1 dask==2026.8.0 pyfftw==0.15.1
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import sys
import time
from importlib.metadata import version

import numpy

before = set(sys.modules)
began = time.process_time()
import pyfftw

seconds = time.process_time() - began
loaded = {name for name in set(sys.modules) - before}
libraries = sorted({name.partition(".")[0] for name in loaded} & {"dask", "scipy", "toolz", "yaml", "cloudpickle"})
print(f"pyfftw {version('pyfftw')}: importing it loads {len(loaded)} modules in {seconds:.2f} s, of {', '.join(libraries)}")
assert {"dask", "scipy", "yaml"} <= set(libraries), libraries
assert "dask.array" in loaded or "pyfftw.interfaces.dask_fft" in loaded
PYTHON
