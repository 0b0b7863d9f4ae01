"""Settings that all methods with a network share, declared once. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from typing import Annotated, Any

from ..core.spec import Advanced, Choice, Help, Preset, Range, Title, Unit
from .initialisation import INITIALISATIONS
from .intensity_window import HighestIntensity, LowestIntensity
from .network_models import AUTOMATIC, InstalledModels
from .refinement_parameters import (
    LUNG_CT,
    SEARCH_CELLS,
    CoarseSteps,
    Diffeomorphic,
    FineSteps,
    IntensityRadius,
    IntensityWeight,
    Knots,
    LandmarkWeight,
    MindDilation,
    MindRadius,
    MindWeight,
    SegmentationWeight,
    Smoothness,
    StepLength,
    WithInverse,
    WorkingSpacing,
)

#: with as many coarse steps on one width of the knots as methods which search have on two
NETWORK_LUNG_CT = Preset(LUNG_CT.id, LUNG_CT.title, {**LUNG_CT.values, "coarse_iterations": 80})
#: for networks whose answers are rough: a search goes on from them, or takes their place
SEARCHED_LUNG_CT = Preset(LUNG_CT.id, LUNG_CT.title, {**LUNG_CT.values, "search_cells": SEARCH_CELLS})
#: for networks that are right nearly everywhere: at the edge of the lungs they miss by millimetres, in places, what
#: gradients alone do not mend; less exact answers are better not kept
KEPT_LUNG_CT = Preset(LUNG_CT.id, LUNG_CT.title, {**SEARCHED_LUNG_CT.values, "keep_answer": True})
QUICK_LOOK = Preset("fast", "Quick look", {"iterations": 20, "coarse_iterations": 15})

_MODEL_HELP = "The trained weights; the automatic choice is the model that comes with the method."


@dataclass(frozen=True)
class NetworkParameters:
    """Lengths in voxels are voxels of the refinement's isotropic working grid; the network's own is in its card."""

    initialisation: Annotated[
        str, INITIALISATIONS, Title("Start from"), Help("How the scans are brought together before deforming.")
    ] = "affine"
    model: Annotated[str, Choice({AUTOMATIC: "Automatic"}), Title("Model"), Help(_MODEL_HELP)] = AUTOMATIC
    refine: Annotated[
        bool,
        Title("Refine the network's answer"),
        Help("Optimise the deformation for these two scans, starting from what the network found."),
    ] = True
    keep_answer: Annotated[
        bool,
        Title("Stay near the network's answer"),
        Help(
            "Smoothness weighs what the refinement adds, not the whole deformation: better for scans of the kind the "
            "model was trained for. An answer that is worse than none is not kept. Not together with 'never fold'."
        ),
    ] = False
    search_cells: Annotated[
        int,
        Range(0, 8),
        Title("Search around the answer"),
        Unit("cells"),
        Help(
            "How far the refinement looks around the network's answer, and around none where that was left out, before "
            "it goes step by step: so many cells of six voxels to every side; 0: it does not."
        ),
        Advanced(),
    ] = 0
    spacing: WorkingSpacing = None
    smoothness: Smoothness = 0.4
    iterations: FineSteps = 60
    diffeomorphic: Diffeomorphic = False
    inverse: WithInverse = False
    mind_radius: MindRadius = 1
    mind_dilation: MindDilation = None
    intensity_minimum: LowestIntensity = None
    intensity_maximum: HighestIntensity = None
    knots: Knots = 4.0
    coarse_iterations: CoarseSteps = 40
    step: StepLength = 0.5
    mind_weight: MindWeight = 1.0
    intensity_weight: IntensityWeight = 0.0
    intensity_radius: IntensityRadius = 3
    segmentation_weight: SegmentationWeight = 2.0
    landmark_weight: LandmarkWeight = 0.05


def parameters_for(
    architecture: str, defaults: Mapping[str, Any] | None = None, declaration: type = NetworkParameters
) -> type:
    """The parameters of an architecture's method: any of its models, and defaults of its own.

    declaration  NetworkParameters, or a frozen dataclass that adds fields to it
    """
    return _redeclared(declaration, Choice(InstalledModels(architecture)), {"model": AUTOMATIC, **(defaults or {})})


def with_model(declaration: type, model_id: str, title: str) -> type:
    """The parameters of a method that is one model."""
    return _redeclared(declaration, Choice({model_id: title}), {"model": model_id})


def _redeclared(declaration: type, models: Choice, defaults: Mapping[str, Any]) -> type:
    """A dataclass like `declaration`, in the same order, with another choice of models and other defaults."""
    import typing

    hints = typing.get_type_hints(declaration, include_extras=True)
    hints["model"] = Annotated[str, models, Title("Model"), Help(_MODEL_HELP)]
    unknown = set(defaults) - {f.name for f in fields(declaration)}
    if unknown:
        raise ValueError(f"{declaration.__name__} has no {', '.join(sorted(unknown))}")
    changed = [(name, hints[name], value) for name, value in defaults.items()]
    made = make_dataclass("Parameters", changed, bases=(declaration,), frozen=True)
    made.__doc__ = declaration.__doc__
    return made
