"""All studies by name."""

from __future__ import annotations

from benchmarks.suite.study import Study
from benchmarks.suite.study_cosmos import STUDIES as COSMOS
from benchmarks.suite.study_minimisation import STUDIES as MINIMISATION
from benchmarks.suite.study_selection import STUDIES as SELECTION
from benchmarks.suite.study_total_field import STUDIES as TOTAL_FIELD

STUDIES: dict[str, Study] = {study.name: study for study in (*COSMOS, *MINIMISATION, *SELECTION, *TOTAL_FIELD)}
