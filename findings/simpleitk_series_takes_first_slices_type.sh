#!/bin/sh
# What does SimpleITK read from a DICOM series of a susceptibility map in ppm whose slices each have their own RescaleSlope,
# when the first slice is empty and has slope 1?
# Expected: the map, as floating point. Seen: the first slice decides: 16-bit whole numbers, and a map within ±0.1 ppm is
# zero everywhere; MedPy, which reads with it, gives the same. With the type asked for (sitkFloat32) the map is right.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 pydicom==3.0.2 SimpleITK==2.5.7 medpy==0.5.2
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from medpy.io import load
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

Path("series").mkdir()
chi = np.linspace(-1, 1, 256).reshape(16, 16) * 0.02 * np.arange(6)[:, None, None]
for place, values in enumerate(chi):
    slope = np.abs(values).max() / 32000 or 1
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = MRImageStorage
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3.4", "1.2.3.4.5", "1.2.3.9"
    d.Modality, d.PatientName, d.PatientID, d.ImageType = "MR", "X", "X", ["DERIVED", "SECONDARY", "QSM"]
    d.SeriesNumber, d.InstanceNumber, d.SliceThickness = 1, place + 1, 2
    d.PixelSpacing, d.ImageOrientationPatient, d.ImagePositionPatient = [1, 1], [1, 0, 0, 0, 1, 0], [0, 0, 2 * place]
    d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 16, 16
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
    d.RescaleSlope, d.RescaleIntercept, d.RescaleType = f"{slope:.10g}", 0, "US"
    d.PixelData = np.round(values / slope).astype(np.int16).tobytes()
    d.save_as(f"series/{place}.dcm", enforce_file_format=True)
names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames("series")
image, asked, medpy = sitk.ReadImage(names), sitk.ReadImage(names, sitk.sitkFloat32), load("series")[0]
values, right = (sitk.GetArrayFromImage(i) for i in (image, asked))
print(f"SimpleITK {sitk.Version_VersionString()}: a map from {chi.min()} to {chi.max()} is read as {image.GetPixelIDTypeAsString()} "
      f"from {values.min()} to {values.max()}, with sitkFloat32 from {right.min():.3f} to {right.max():.3f}; "
      f"medpy {version('medpy')}: {medpy.dtype} from {medpy.min()} to {medpy.max()}")
assert not values.any() and not medpy.any() and np.abs(right - chi).max() < 1e-5
PYTHON
