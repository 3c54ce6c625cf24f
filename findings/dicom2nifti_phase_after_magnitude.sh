#!/bin/sh
# What does dicom2nifti make of a series that holds a magnitude and the phase that belongs to it (RescaleIntercept -4096)?
# Expected: a 4D file with the magnitude and the phase in its scanner's units, -4096 to 4094, or an error.
# Seen: a 4D file of unsigned 16 bit, after the magnitude, which is first: a phase of -2096 becomes 63440. The phase alone
# comes out right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 nibabel==5.4.2 pydicom==3.0.2 dicom2nifti==2.6.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
from dicom2nifti import dicom_series_to_nifti
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def converted(parts):
    """The values of each volume that comes of a series with these parts."""
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
        d.ScanningSequence, d.SequenceVariant, d.ScanOptions, d.MRAcquisitionType = "GR", "SP", "", "3D"
        d.RepetitionTime, d.EchoTime, d.EchoNumbers, d.FlipAngle = 30, 5, 1, 15
        d.PixelSpacing, d.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
        d.SliceThickness, d.ImagePositionPatient = 2, [-8, -8, 2 * place]
        d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 16, 16
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
        if part == "P":
            d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 2, -4096, "US"
        d.PixelData = np.full((16, 16), 100 if part == "M" else 1000, np.uint16).tobytes()
        d.save_as(f"{parts}/{number:02d}.dcm", enforce_file_format=True)
    dicom_series_to_nifti(parts, f"{parts}.nii.gz", reorient_nifti=False)
    image = nibabel.load(f"{parts}.nii.gz")
    return str(image.get_data_dtype()), np.unique(image.get_fdata()).tolist()


alone, after = converted("P"), converted("MP")
print(f"dicom2nifti {version('dicom2nifti')}: a phase of -2096 alone {alone}, after a magnitude of 100 {after}")
assert alone[1] == [-2096] and after == ("uint16", [100, 63440])
PYTHON
