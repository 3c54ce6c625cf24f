#!/bin/sh
# Which values does SimpleITK read from an enhanced (multi-frame) DICOM file that holds a magnitude with RescaleSlope 1.5 and
# its phase with slope 2 and intercept -4096, frame by frame?
# Expected: each frame by its own. Seen: all by the first frame's: a phase of -2096 is read as 1500, magnitudes and phases in
# one stack. dcm2niix gives the phase as it is; a file of phase alone is read well.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.3.5 nibabel==5.4.2 pydicom==3.0.2 SimpleITK==2.5.7 dcm2niix==1.0.20260724
cd "$folder"
PATH="$folder/venv/bin:$PATH" python - <<'PYTHON'
import subprocess
from importlib.metadata import version
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid


def item(**elements):
    """A sequence of one item."""
    dataset = Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return [dataset]


def save(path, parts):
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = EnhancedMRImageStorage
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3.4", "1.2.3.4.6", "1.2.3.9"
    d.Modality, d.Manufacturer, d.ManufacturerModelName = "MR", "Philips Medical Systems", "Ingenia"
    d.PatientName = d.PatientID = "X"
    d.StudyDate = d.ContentDate = "20260101"
    d.StudyTime = d.ContentTime = "120000"
    d.ImageType, d.SeriesDescription, d.SeriesNumber, d.InstanceNumber = ["ORIGINAL", "PRIMARY", "T1", "MIXED"], "gre", 1, 1
    d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 8, 8
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 12, 11, 0
    d.DimensionOrganizationSequence = item(DimensionOrganizationUID="1.2.3.7")
    d.DimensionIndexSequence = [
        item(DimensionIndexPointer=pointer, FunctionalGroupPointer=group, DimensionOrganizationUID="1.2.3.7")[0]
        for pointer, group in ((0x00209056, 0x00209111), (0x00209057, 0x00209111), (0x00189080, 0x00189226))]
    d.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=[1, 1], SliceThickness=2, SpacingBetweenSlices=2),
        MRTimingAndRelatedParametersSequence=item(RepetitionTime=30, FlipAngle=15),
        MREchoSequence=item(EffectiveEchoTime=5.0))
    d.PerFrameFunctionalGroupsSequence, pixels = [], []
    for place in range(6):
        for part in parts:
            slope, intercept = (1.5, 0) if part == "MAGNITUDE" else (2, -4096)
            d.PerFrameFunctionalGroupsSequence.append(item(
                MRImageFrameTypeSequence=item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"], ComplexImageComponent=part),
                PlanePositionSequence=item(ImagePositionPatient=[-4, -4, 2 * place]),
                PixelValueTransformationSequence=item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US"),
                FrameContentSequence=item(StackID="1", InStackPositionNumber=place + 1,
                                          DimensionIndexValues=[1, place + 1, 1 + (part == "PHASE")]))[0])
            pixels.append(np.full((8, 8), 100 if part == "MAGNITUDE" else 1000, np.uint16))
    d.NumberOfFrames, d.PixelData = len(pixels), np.stack(pixels).tobytes()
    Path(path).mkdir()
    d.save_as(f"{path}/1.dcm", enforce_file_format=True)
    image = sitk.ReadImage(f"{path}/1.dcm")
    subprocess.run(["dcm2niix", "-o", path, "-f", "image", path], check=True, capture_output=True)
    files = sorted(Path(path).glob("*.nii"))
    return (image.GetSize(), np.unique(sitk.GetArrayFromImage(image)).tolist(),
            {file.stem: np.unique(nibabel.load(file).get_fdata()).tolist() for file in files})


both, alone = save("both", ("MAGNITUDE", "PHASE")), save("alone", ("PHASE",))
print(f"SimpleITK {sitk.Version_VersionString()}, dcm2niix {version('dcm2niix')}: size, values and dcm2niix's values of both "
      f"parts {both}, of the phase alone {alone}")
assert both[:2] == ((8, 8, 12), [150, 1500]) and both[2]["image_ph"] == [-2096] and alone[1] == [-2096]
PYTHON
