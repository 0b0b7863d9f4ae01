"""Which trained model a method with a network runs, and the network itself. Importing this loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..core.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from ..core.context import Context
    from ..core.result import Provenance
    from ..io.model_cards import Model
    from ..networks.working import WorkingSettings

#: the choice of a model where none is chosen
AUTOMATIC = "automatic"


class InstalledModels(Mapping[str, str]):
    """Id -> title of the installed models of an architecture, as a choice; looked up whenever it is asked."""

    def __init__(self, architecture: str) -> None:
        self.architecture = architecture

    def _titles(self) -> dict[str, str]:
        from ..io.model_cards import find_models

        return {AUTOMATIC: "Automatic"} | {m.id: m.title for m in find_models(self.architecture)}

    def __getitem__(self, model_id: str) -> str:
        return AUTOMATIC.capitalize() if model_id == AUTOMATIC else self._titles()[model_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._titles())

    def __len__(self) -> int:
        return len(self._titles())


def chosen_model(architecture: str, choice: str) -> Model:
    """The installed model of that id; for "automatic" the one named as the architecture, or else the first.

    Raises InputError where there is none.
    """
    from ..io.model_cards import find_models, user_folder

    models = {m.id: m for m in find_models(architecture)}
    if not models:
        raise InputError(
            f"No trained model of {architecture} is installed; train one with 'python -m DeepRegistrationLib train "
            f"{architecture}', or put the folder of a trained one into {str(user_folder())!r}."
        )
    if choice != AUTOMATIC and choice not in models:
        raise InputError(f"There is no model {choice!r} of {architecture}; there are {', '.join(models)}.")
    return models.get(architecture if choice == AUTOMATIC else choice, next(iter(models.values())))


def load_network(model: Model) -> nn.Module:
    """The model's network with its weights, float32 on the CPU, for evaluation.

    Raises InputError where the weights are not those of the card or of the architecture.
    """
    import torch

    from ..networks.catalogue import build

    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn, and then replaced
        network = build(model.architecture, model.settings.get("network", {}))
    fitting = f"the architecture {model.architecture} as its card describes it; copy the model's folder again."
    put_weights(network, model, fitting)
    return network.float().eval().requires_grad_(False)


def put_weights(network: nn.Module, model: Model, fitting: str) -> None:
    """The model's weights into the network.

    fitting  end of the sentence for weights that are not the network's: what they "do not fit", and what to do
    Raises InputError with it, or where the file is not that of the card.
    """
    from ..io.weights import load_weights

    try:
        network.load_state_dict(load_weights(model))
    except RuntimeError:  # names or shapes that are not the network's
        raise InputError(f"The weights of the model {model.id!r} do not fit {fitting}") from None


def working_settings(model: Model) -> WorkingSettings:
    """What the network has to be fed with. Raises InputError where the card does not say."""
    from ..networks.working import WorkingSettings

    said: Any = model.settings.get("working")
    if not isinstance(said, Mapping):
        raise InputError(f"The card of the model {model.id!r} does not say its working grid; copy its folder again.")
    return WorkingSettings.from_card(said)


def weights_provenance(model: Model, context: Context) -> Provenance:
    """What the pipeline's record of the run takes over: the hash of the weights."""
    from ..core.result import Provenance

    return Provenance("", {}, context.seed, str(context.device), {}, 0.0, 0, weights_sha256=model.sha256)
