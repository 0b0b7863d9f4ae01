"""The demo: two scans aligned through Slicer's real scene and the real panel, with numbers and pictures.

    python -m demo                          the breathing-thorax phantom, whose motion is known
    python -m demo --case FOLDER            the fixed_* and moving_* files of a folder
"""
