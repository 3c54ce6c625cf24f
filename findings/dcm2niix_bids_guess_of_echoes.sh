#!/bin/sh
# Which BIDS names does dcm2niix guess (BidsGuess in its JSON files) for a multi-echo gradient echo of a Philips scanner with
# magnitude, phase, real and imaginary images?
# Expected: anat, echo-1_part-phase_MEGRE and so on, a name for each file. Seen: fmap; the phases of all echoes are called
# phasediff, and real and imaginary images magnitude1, magnitude2, magnitude3: twelve files have four names.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.3.5 pydicom==3.0.2 dcm2niix==1.0.20260724
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

Path("series").mkdir()
Path("out").mkdir()
number = 0
for part, kind, slope, intercept in (("M", "M_FFE", 1.5, 0), ("P", "PHASE MAP", 1.534, -3141.6),
                                     ("R", "R_FFE", 1.2, -2400), ("I", "I_FFE", 1.2, -2400)):
    for echo in (1, 2, 3):
        for place in range(6):
            number += 1
            d = Dataset()
            d.file_meta = FileMetaDataset()
            d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = MRImageStorage
            d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
            d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3.4", "1.2.3.4.5", "1.2.3.9"
            d.Modality, d.Manufacturer, d.ManufacturerModelName = "MR", "Philips Medical Systems", "Ingenia"
            d.PatientName = d.PatientID = "X"
            d.StudyDate = d.SeriesDate = d.AcquisitionDate = d.ContentDate = "20260101"
            d.StudyTime = d.SeriesTime = d.AcquisitionTime = d.ContentTime = "120000"
            d.ImageType = ["ORIGINAL", "PRIMARY", kind, part, "FFE"]
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
            d.RescaleSlope, d.RescaleIntercept = slope, intercept
            d.PixelData = np.full((8, 8), 1000 * echo + place, np.uint16).tobytes()
            d.save_as(f"series/{number:02d}.dcm", enforce_file_format=True)
subprocess.run(["dcm2niix", "-o", "out", "-f", "%d", "series"], check=True, capture_output=True)
guesses = {}
for file in sorted(Path("out").glob("*.json")):
    folder, name = json.loads(file.read_text())["BidsGuess"]
    guesses.setdefault(f"{folder}: {name.rpartition('_')[2]}", []).append(file.stem)
print(f"dcm2niix {version('dcm2niix')}: " + "; ".join(f"{guess} for {', '.join(files)}" for guess, files in guesses.items()))
assert sum(map(len, guesses.values())) == 12
assert guesses["fmap: phasediff"] == ["gre_e1_ph", "gre_e2_ph", "gre_e3_ph"]
assert guesses["fmap: magnitude1"] == ["gre_e1", "gre_e1_imaginary", "gre_e1_real"] and len(guesses) == 4
PYTHON
