"""`apply`: move an image or labels with a transform."""

from __future__ import annotations

import argparse
import json
import os

NAME = "apply"
HELP = "Move an image with a transform: moved(x) = moving(T(x)) on the grid of the fixed image."


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--transform", metavar="T", required=True, help="transform, fixed to moving, or a folder of results"
    )
    parser.add_argument("--moving", metavar="FILE", required=True, help="what is moved")
    parser.add_argument("--fixed", metavar="FILE", required=True, help="image whose grid the outcome gets")
    parser.add_argument("--out", metavar="FILE", required=True, help="file to write (.nii.gz, .nrrd, .mha)")
    parser.add_argument("--labels", action="store_true", help="moving holds labels: keep their values")
    parser.add_argument("--json", action="store_true", help="print the outcome as one line of JSON")


def run(options: argparse.Namespace) -> int:
    from .. import api, io

    moved = api.apply(options.transform, options.moving, options.fixed, labels=options.labels)
    if options.labels:
        io.write_segmentation(moved, options.out)
    else:
        io.write_image(moved, options.out)
    if options.json:
        print(json.dumps({"ok": True, "file": os.path.abspath(options.out)}))
    else:
        print(f"Written to {options.out}")
    return 0
