"""`python -m DeepRegistrationLib`."""

import os
import sys

from .cli import main

if __name__ == "__main__":
    # read when torch is loaded: threads that wait must not burn the cores that other programs (Slicer) need, ...
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # ... and the processor does what Apple's cards can't, such as sampling volumes in older versions of torch
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    sys.exit(main())
