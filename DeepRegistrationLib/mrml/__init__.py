"""MRML nodes to job folders and results to MRML nodes. Runs in the application process: imports slicer and
vtk, never torch.
"""
