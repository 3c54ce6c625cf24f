"""Linear operators of the field model on a voxel grid."""
