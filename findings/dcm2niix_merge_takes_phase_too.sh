#!/bin/sh
# What does dcm2niix -m y ("merge 2D slices from same series regardless of echo") make of a series that holds the magnitude
# and the phase of two echoes?
# Expected: two 4D files, the echoes of the magnitude and those of the phase; without -m y these are four files.
# Seen: one 4D file with all four volumes, named phMag; its sidecar calls it magnitude and phase and knows one echo time.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 pydicom==3.0.2 dcm2niix==1.0.20250506
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

Path("series").mkdir()
number = 0
for part in "MP":
    for echo in (1, 2):
        for place in range(6):
            number += 1
            d = Dataset()
            d.file_meta = FileMetaDataset()
            d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = MRImageStorage
            d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
            d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3.4", "1.2.3.4.5", "1.2.3.9"
            d.Modality, d.Manufacturer, d.ManufacturerModelName = "MR", "SIEMENS", "Prisma"
            d.PatientName = d.PatientID = "X"
            d.StudyDate = d.SeriesDate = d.AcquisitionDate = d.ContentDate = "20260101"
            d.StudyTime = d.SeriesTime = d.AcquisitionTime = d.ContentTime = "120000"
            d.ImageType = ["ORIGINAL", "PRIMARY", part, "ND"]
            d.SeriesNumber, d.AcquisitionNumber, d.InstanceNumber = 1, 1, number
            d.SeriesDescription = d.ProtocolName = "gre"
            d.ScanningSequence, d.SequenceVariant, d.ScanOptions, d.MRAcquisitionType = "GR", "SP", "", "3D"
            d.RepetitionTime, d.EchoTime, d.EchoNumbers, d.FlipAngle = 30, 5.0 * echo, echo, 15
            d.MagneticFieldStrength, d.PatientPosition = 3, "HFS"
            d.SliceThickness = d.SpacingBetweenSlices = 2
            d.PixelSpacing, d.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
            d.ImagePositionPatient = [-4, -4, 2 * place]
            d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 8, 8
            d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
            if part == "P":
                d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 2, -4096, "US"
            d.PixelData = np.full((8, 8), 100 * echo if part == "M" else 1000 * echo, np.uint16).tobytes()
            d.save_as(f"series/{number:02d}.dcm", enforce_file_format=True)


def convert(*options):
    Path("".join(("out", *options))).mkdir()
    subprocess.run(["dcm2niix", *options, "-o", "".join(("out", *options)), "-f", "%d", "series"], check=True, capture_output=True)
    return {file.stem: nibabel.load(file) for file in sorted(Path("".join(("out", *options))).glob("*.nii"))}


apart, merged = convert(), convert("-m", "y")
print(f"dcm2niix {version('dcm2niix')}: without -m y {', '.join(apart)}")
values = {name: [sorted({float(v) for v in volume.ravel()}) for volume in np.moveaxis(image.get_fdata(), 3, 0)]
          for name, image in merged.items()}
sidecar = json.loads(Path("out-my/gre_phMag.json").read_text())
print(f"with -m y the values by volume: {values}; ImageType {sidecar['ImageType']}, EchoTime {sidecar['EchoTime']}")
assert sorted(apart) == ["gre_e1", "gre_e1_ph", "gre_e2", "gre_e2_ph"] and list(merged) == ["gre_phMag"]
assert sorted(v for volume in values["gre_phMag"] for v in volume) == [-2096, -96, 100, 200]
assert sidecar["ImageType"][-2:] == ["MAGNITUDE", "PHASE"] and sidecar["EchoTime"] == 0.005
PYTHON
