"""The part of Slicer's package `slicer.parameterNodeWrapper` that modules here use.

Left out, and so not to be used in modules: parameter packs, `typing.Any`, colours, ranges, generated forms.
Values are written under the names and in the words that Slicer itself uses, so that scenes can be exchanged.
"""

from __future__ import annotations

import sys
from types import ModuleType

from . import annotations, connectors, serializers, wrapper

_PUBLIC = {
    annotations: (
        "Choice",
        "Decimals",
        "Default",
        "Exclude",
        "IsInstance",
        "Maximum",
        "Minimum",
        "NotNone",
        "SingleStep",
        "Validator",
        "WithinRange",
        "findFirstAnnotation",
        "splitAnnotations",
        "unannotatedType",
    ),
    connectors: ("GuiConnector", "createGuiConnector", "parameterNodeGuiConnector"),
    serializers: ("getNodeTypes", "isNodeOrUnionOfNodes"),
    wrapper: (
        "SlicerParameterNamePropertyName",
        "findChildWidgetForParameter",
        "isParameterNodeWrapper",
        "parameterNodeWrapper",
    ),
}


def build() -> ModuleType:
    """Make the module `slicer.parameterNodeWrapper` and register it."""
    module = ModuleType("slicer.parameterNodeWrapper", "Stand-in for Slicer's parameter node wrapper.")
    for source, names in _PUBLIC.items():
        for name in names:
            setattr(module, name, getattr(source, name))
    module.__all__ = [name for names in _PUBLIC.values() for name in names]
    sys.modules[module.__name__] = module
    return module
