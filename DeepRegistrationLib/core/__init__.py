"""Types and contracts everything else stands on. Nothing here imports a method, a file format or Slicer."""
