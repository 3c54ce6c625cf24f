#!/bin/sh
# What does mriforge-dicom-to-nifti make of a series that holds a magnitude and the phase that belongs to it?
# Expected: two volumes, as it sorts echoes into volumes, or an error. Seen: one of twice the slices, magnitude and phase in
# turns 0.9 mm apart, not 2, and a phase of -2096 in it as 63440. The phase alone comes out right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 pydicom==3.0.2 mriforge[io]==0.3.3
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def converted(parts):
    """Shape, distance of slices and values of what comes of a series with these parts."""
    Path(parts).mkdir()
    for number, (part, place) in enumerate((part, place) for part in parts for place in range(6)):
        d = Dataset()
        d.file_meta = FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = MRImageStorage
        d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3.4", "1.2.3.4.5", "1.2.3.9"
        d.Modality, d.Manufacturer, d.ManufacturerModelName = "MR", "SIEMENS", "Prisma"
        d.PatientName = d.PatientID = "X"
        d.ImageType = ["ORIGINAL", "PRIMARY", part, "ND"]
        d.SeriesNumber, d.AcquisitionNumber, d.InstanceNumber, d.SeriesDescription = 1, 1, number + 1, "gre"
        d.RepetitionTime, d.EchoTime, d.EchoNumbers, d.FlipAngle = 30, 5, 1, 15
        d.PixelSpacing, d.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
        d.SliceThickness, d.SpacingBetweenSlices, d.ImagePositionPatient = 2, 2, [-8, -8, 2 * place]
        d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 16, 16
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
        if part == "P":
            d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 2, -4096, "US"
        d.PixelData = np.full((16, 16), 100 if part == "M" else 1000, np.uint16).tobytes()
        d.save_as(f"{parts}/{number:02d}.dcm", enforce_file_format=True)
    subprocess.run(["mriforge-dicom-to-nifti", "--no-verbose", parts, f"{parts}.nii.gz"], check=True, capture_output=True)
    image = nibabel.load(f"{parts}.nii.gz")
    return image.shape, round(float(image.header.get_zooms()[2]), 3), image.get_fdata()[0, 0].tolist()


phase, both = converted("P"), converted("MP")
print(f"mriforge {version('mriforge')}, 6 slices 2 mm apart, magnitude 100, phase -2096: phase alone {phase}, both {both}")
assert phase == ((16, 16, 6), 2, [-2096] * 6)
assert both[0] == (16, 16, 12) and both[1] < 1 and sorted(set(both[2])) == [100, 63440]
PYTHON
