"""The learned fusion of image and segmentation features for one problem, where a trained one fits its segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..core.context import Context
    from ..core.grid import Grid
    from ..core.image import Image
    from ..core.problem import RegistrationProblem
    from ..core.result import Provenance
    from ..core.transform import Transform
    from ..io.model_cards import Model
    from ..networks.feature_fusion import FeatureFusion
    from ..networks.fusion_settings import FusionSettings
    from ..optim.convex_adam import Features
    from .deformable.convex_adam import Parameters

#: what a card of such a model calls it
ARCHITECTURE = "feature-fusion"

#: names of segments a sentence lists at most
_LISTED = 8


@dataclass(frozen=True)
class Fusion:
    """A trained network and the label value of each of its segments in the two segmentations."""

    model: Model
    settings: FusionSettings
    network: FeatureFusion
    fixed_values: Sequence[int]
    moving_values: Sequence[int]

    def adapted(self, parameters: Parameters) -> Parameters:
        """The parameters with the resolution, patches and intensity range the network was trained with; a coarser
        resolution stays."""
        from dataclasses import replace

        names = ("mind_radius", "mind_dilation", "intensity_minimum", "intensity_maximum")
        own = {name: getattr(self.settings, name) for name in names}
        return replace(parameters, spacing=max(self.settings.spacing, parameters.spacing or 0.0), **own)

    def provenance(self, context: Context) -> Provenance:
        """What the pipeline's record of the run takes over: the hash of the weights."""
        from ..core.result import Provenance

        return Provenance("", {}, context.seed, str(context.device), {}, 0.0, 0, weights_sha256=self.model.sha256)

    def features(
        self, mind: Features, problem: RegistrationProblem, grid: Grid, initial: Transform | None
    ) -> Features:
        """Fused features of both scans from their MIND features on the working grid `grid`."""
        from dataclasses import replace

        import torch

        from ..optim.convex_adam import STRIDE
        from ..optim.working_pair import one_hot

        fixed, moving = problem.fixed_segmentation, problem.moving_segmentation
        assert fixed is not None and moving is not None  # fitting_fusion has looked
        network = self.network.to(mind.fixed.device)
        with torch.no_grad():
            seen = one_hot(fixed, grid, None, list(self.fixed_values), STRIDE)
            fused_fixed = network(mind.fixed, seen, mind.trust)
            seen = one_hot(moving, grid, initial, list(self.moving_values), STRIDE)
            return replace(mind, fixed=fused_fixed, moving=network(mind.moving, seen, mind.known))


def fitting_fusion(problem: RegistrationProblem, context: Context) -> Fusion | None:
    """The first model (the user's own come first) that knows segments of both scans; None, and a sentence in
    `context.messages`, where none does."""
    from ..core.errors import InputError
    from ..io.model_cards import find_models
    from ..io.weights import load_weights
    from ..networks.feature_fusion import FeatureFusion
    from ..networks.fusion_settings import FusionSettings

    fixed, moving = problem.fixed_segmentation, problem.moving_segmentation
    if fixed is None or moving is None:
        context.messages.append(
            "The learned mixture needs segmentations of both scans, so the images alone were compared."
        )
        return None
    wanted: list[str] = []
    if problem.dimension == 3:
        for model in find_models(ARCHITECTURE, problems=context.messages):
            settings = FusionSettings.from_card(model.settings)
            values = settings.label_values(_present(fixed)), settings.label_values(_present(moving))
            if values[0] is None or values[1] is None:
                wanted.append(f"{model.title}: {', '.join(settings.titles)}")
                continue
            network = FeatureFusion(len(settings.segments), settings.hidden, settings.fused)
            try:
                network.load_state_dict(load_weights(model))
            except RuntimeError:  # names or shapes that are not the network's
                raise InputError(
                    f"The weights of the model {model.id!r} are not those of a feature fusion with "
                    f"{len(settings.segments)} segments; copy the model's folder again."
                ) from None
            return Fusion(model, settings, network, values[0], values[1])
    context.messages.append(
        f"No trained mixture fits these segments ({_listed(fixed.names)}; trained for "
        f"{'; '.join(wanted) or 'volumes only'}), so image and segmentations were compared side by side instead "
        "(mind+labels)."
    )
    return None


def _present(segmentation: Image) -> Mapping[int, str]:
    """The names of the labels that have voxels."""
    there = set(segmentation.label_values)
    return {value: name for value, name in segmentation.names.items() if value in there}


def _listed(names: Mapping[int, str]) -> str:
    shown = list(names.values())
    if not shown:
        return "they have no names"
    return ", ".join(shown[:_LISTED]) + (" ..." if len(shown) > _LISTED else "")
