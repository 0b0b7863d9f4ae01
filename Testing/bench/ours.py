"""Driver of our method on one pair: ``python -m bench.ours --method convex-adam --preset head-neck-ct ...``.

Same clock as the peers' drivers: the library is imported and the images are read before it starts, and the
transform is exported after it stops. Writes ``transform.nrrd`` or ``transform.tfm`` with the library's own
writer, and ``record.json``.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from typing import Any

from . import measure


def main() -> int:
    parser = measure.driver_arguments(__doc__ or "")
    parser.add_argument("--method", required=True)
    parser.add_argument("--preset")
    parser.add_argument(
        "--parameters", type=json.loads, default={}, help="keyword arguments of the method, as JSON"
    )
    args = parser.parse_args()
    measure.pin(args.threads)
    import DeepRegistrationLib as dr
    from DeepRegistrationLib.io import read_image, write_transform

    fixed, moving = read_image(args.fixed), read_image(args.moving)  # brings torch in, too
    answer: dict[str, Any] = {}

    def register() -> None:
        answer["result"] = dr.register(
            fixed,
            moving,
            method=args.method,
            preset=args.preset,
            device="cpu",
            seed=args.seed,
            threads=args.threads,
            **args.parameters,
        )

    cost = measure.timed(register)
    result = answer["result"]
    name = "transform.tfm" if result.transform.is_linear else "transform.nrrd"
    write_transform(result.transform, args.out / name, result.grid)
    versions = {p: importlib.metadata.version(p) for p in ("numpy", "SimpleITK", "torch")}
    measure.write_record(args.out, {**cost, "versions": versions, "transform": name})
    return 0


if __name__ == "__main__":
    sys.exit(main())
