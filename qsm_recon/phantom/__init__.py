"""The embedded head phantom, built by code and close to the challenge's in every property that is published."""

from qsm_recon.phantom.build import Phantom, build_phantom
from qsm_recon.phantom.lesions import Lesion
from qsm_recon.phantom.parameters import PHANTOM_VERSION, PhantomParameters

__all__ = ["PHANTOM_VERSION", "Lesion", "Phantom", "PhantomParameters", "build_phantom"]
