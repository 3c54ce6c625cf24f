#!/bin/sh
# How does dcm2bids --auto_extract_entities name magnitude and phase of a gradient echo of two echoes, with one description
# for the suffix MEGRE?
# Expected: with echo and part, as BIDS has it, both being in the sidecars. Seen: echo is right, part is missing, and magnitude
# and phase are told apart as run-01 and run-02, as if the scan had been repeated.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.3.5 nibabel==5.4.2 pydicom==3.0.2 dcm2niix==1.0.20260724 dcm2bids==3.3.1
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

Path("dicom").mkdir()
images = [(part, echo, place) for part in "MP" for echo in (1, 2) for place in range(6)]
for number, (part, echo, place) in enumerate(images):
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = MRImageStorage
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.StudyInstanceUID, d.FrameOfReferenceUID = "1.2.3.4", "1.2.3.9"
    d.SeriesNumber = 1 if part == "M" else 2
    d.SeriesInstanceUID = f"1.2.3.4.{d.SeriesNumber}"
    d.Modality, d.Manufacturer, d.ManufacturerModelName, d.PatientName, d.PatientID = "MR", "SIEMENS", "Prisma", "X", "X"
    d.ImageType = ["ORIGINAL", "PRIMARY", part, "ND"]
    d.AcquisitionNumber, d.InstanceNumber, d.SeriesDescription, d.ProtocolName = 1, number + 1, "gre", "gre"
    d.ScanningSequence, d.SequenceVariant, d.ScanOptions, d.MRAcquisitionType = "GR", "SP", "", "3D"
    d.RepetitionTime, d.EchoTime, d.EchoNumbers, d.FlipAngle = 30, 5.0 * echo, echo, 15
    d.PixelSpacing, d.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
    d.SliceThickness, d.SpacingBetweenSlices, d.ImagePositionPatient = 2, 2, [-8, -8, 2 * place]
    d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 16, 16
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    if part == "P":
        d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 2, -4096, "US"
    d.PixelData = np.random.default_rng(number).integers(0, 4096, (16, 16)).astype(np.uint16).tobytes()
    d.save_as(f"dicom/{number:02d}.dcm", enforce_file_format=True)
Path("config.json").write_text(json.dumps({"descriptions": [
    {"id": "gre", "datatype": "anat", "suffix": "MEGRE", "criteria": {"SeriesDescription": "gre"}}]}))
subprocess.run("dcm2bids -d dicom -p 01 -c config.json -o study --auto_extract_entities".split(), check=True, capture_output=True)
names = {}
for sidecar in sorted(Path("study/sub-01/anat").glob("*.json")):
    values = json.loads(sidecar.read_text())
    names[sidecar.stem] = ("phase" if "P" in values["ImageType"] else "magnitude", values["EchoNumber"])
print(f"dcm2bids {version('dcm2bids')}, part and echo by name: {names}")
assert len(names) == 4 and not any("part-" in name for name in names)
for run, part in (("01", "magnitude"), ("02", "phase")):
    assert all(names[f"sub-01_run-{run}_echo-{echo}_MEGRE"] == (part, echo) for echo in (1, 2))
PYTHON
