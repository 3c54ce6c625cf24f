"""Settings of the documentation site; `make docs` builds it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]
os.environ["NUMBA_DISABLE_JIT"] = "1"  # so that kernels are functions, which the reference can describe
os.environ["COLUMNS"] = "100"  # the width of help texts, whatever the terminal is

from qsm_recon.version import __version__  # noqa: E402

project = "qsm_recon"
author = "The qsm_recon developers"
copyright = author
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "numpydoc",
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",
    "api_pages",
    "method_pages",
    "notebook_pages",
]
exclude_patterns = ["_build", "extensions", "static"]

# Other projects' indexes are on the network, and a build must neither need it nor look different without it: links into
# them are made where they are asked for (`make docs INTERSPHINX=1`).
if os.environ.get("INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "nibabel": ("https://nipy.org/nibabel", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # notebooks come executed; a slow test runs them anew

autodoc_mock_imports = ["torch"]  # large; the pages of what uses it need its names only
autodoc_default_options = {"members": True, "ignore-module-all": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "qsm_recon"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "qsm_recon"},
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 7,
}
