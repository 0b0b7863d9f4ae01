"""Run by ctest inside Slicer: the packaged library is found, and asking it what it offers loads no torch."""

import sys

import DeepRegistrationLib

found = sys.modules["DeepRegistrationLib"].__file__
if "qt-scripted-modules" not in str(found):
    raise RuntimeError(f"DeepRegistrationLib was imported from {found}, not from the packaged modules.")
if not list(DeepRegistrationLib.methods()):
    raise RuntimeError("The packaged library lists no method.")
if "torch" in sys.modules:
    raise RuntimeError("Listing the methods imported torch.")
