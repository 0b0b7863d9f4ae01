# Slicer writes <name>Config.cmake here, which extensions that depend on this one find. Nothing depends on it.
