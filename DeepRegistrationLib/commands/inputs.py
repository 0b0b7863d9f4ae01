"""The options that name the inputs of a registration, shared by `register` and `evaluate`."""

from __future__ import annotations

import argparse

from ..jobs.loading import INPUTS

_HELP = {
    "fixed": "image that stays (NIfTI, NRRD, MHA, PNG, DICOM folder ...)",
    "moving": "image that is moved onto the fixed one",
    "fixed_mask": "where the fixed image counts",
    "moving_mask": "where the moving image counts",
    "fixed_segmentation": "labels of the fixed image (label map or .seg.nrrd)",
    "moving_segmentation": "labels of the moving image, moved along with it",
    "fixed_landmarks": "points in the fixed image (.mrk.json, .fcsv, text; LPS mm)",
    "moving_landmarks": "the same points in the moving image, in the same order",
    "fixed_surfaces": "models of structures in the fixed image: a file (.ply .stl .vtk), or a folder with one each",
    "moving_surfaces": "models of the same structures in the moving image, with the same names",
    "initial_transform": "where to start, fixed to moving (.tfm, .h5, displacement field)",
}


def add_inputs(parser: argparse.ArgumentParser, required: bool, without: tuple[str, ...] = ()) -> None:
    for name in INPUTS:
        if name not in without:
            flag = "--" + name.replace("_", "-")
            needed = required and name in ("fixed", "moving")
            parser.add_argument(flag, metavar="FILE", required=needed, help=_HELP[name])


def given_inputs(options: argparse.Namespace) -> dict[str, str]:
    """Input name -> path, of those that were named."""
    return {name: getattr(options, name) for name in INPUTS if getattr(options, name, None) is not None}
