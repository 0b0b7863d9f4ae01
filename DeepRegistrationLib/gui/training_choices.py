"""What can be trained: recipes, models to start from, and what suits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from ..core.errors import InputError
from ..core.spec import Preset, parameters_of
from ..io.model_cards import Model, find_models
from ..jobs.training_folder import slug
from ..methods import registry
from ..training.recipe import Recipe
from ..training.recipes import recipes

#: steps of fine-tuning: enough to fit a few cases, few enough for a processor
_FINE_TUNING = 200
#: validations of a training, at least
_VALIDATIONS = 10


@dataclass(frozen=True)
class RecipeSettings:
    """The settings of a recipe as a form shows them: its defaults, or those that a model was trained with."""

    parameters: type
    kept: Mapping[str, Any] = field(default_factory=dict)

    def preset(self, preset_id: str) -> Preset:
        """Those of the model."""
        return Preset(preset_id, "", self.kept)


def offered_recipes() -> dict[str, Recipe]:
    """The recipes whose models some method can use, by id."""
    methods = registry()
    return {name: r for name, r in recipes().items() if r.architecture in methods}


def known_recipe(recipe_id: str) -> Recipe | None:
    """The recipe of that id, or the first one; None where there are none."""
    known = offered_recipes()
    return known.get(recipe_id) or next(iter(known.values()), None)


def recipe_items() -> tuple[list[tuple[str, str]], list[str]]:
    """((id, title) of every recipe, their descriptions)."""
    known = list(offered_recipes().values())
    return [(r.id, r.title) for r in known], [r.description for r in known]


def starting_models() -> list[Model]:
    """Installed models that a recipe can go on with."""
    architectures = {r.architecture for r in offered_recipes().values()}
    return [m for m in find_models() if m.architecture in architectures]


def start_items(models: list[Model]) -> tuple[list[tuple[str, str]], list[str]]:
    """((id, title) of what a training can start from, tool tips); the empty id stands for fresh weights."""
    items = [(m.id, m.title) for m in models] + [("", _("From scratch"))]
    return items, [*(_told(m) for m in models), _("Fresh weights; takes many more steps than going on from a model.")]


def _told(model: Model) -> str:
    after = (model.card.get("results") or {}).get("after")
    after = after if isinstance(after, Mapping) else {}
    numbers = ", ".join(f"{k} {v:.3g}" for k, v in after.items() if isinstance(v, (int, float)))
    said = _("{id}, trained for {steps} steps.").format(id=model.id, steps=model.card["training"]["steps"])
    return f"{said} {numbers}".strip()


def recipe_for(model: Model) -> Recipe | None:
    """The recipe a model was trained with, or else the first one for its architecture."""
    fitting = [r for r in offered_recipes().values() if r.architecture == model.architecture]
    named = (model.card["training"].get("recipe"), model.id)
    return next((r for r in fitting if r.id in named), fitting[0] if fitting else None)


def settings_for(recipe: Recipe, start: Model | None) -> RecipeSettings:
    """The recipe's settings with those of the model that it goes on from."""
    training = start.card["training"] if start is not None else {}
    said = training.get("recipe_settings")
    if training.get("recipe") != recipe.id or not isinstance(said, Mapping):
        return RecipeSettings(recipe.settings)
    kept = {}
    for parameter in parameters_of(recipe.settings):
        if parameter.name in said:
            try:
                kept[parameter.name] = parameter.parse(said[parameter.name])
            except InputError:
                continue
    return RecipeSettings(recipe.settings, kept)


def usual_steps(recipe: Recipe, start: Model | None) -> int:
    """As many as the recipe has, or as few as fine-tuning needs."""
    return recipe.steps if start is None else min(recipe.steps, _FINE_TUNING)


def validate_every(recipe: Recipe, steps: int) -> int:
    """As the recipe has it, but often enough in a short training to be looked at."""
    return max(1, min(recipe.validate_every, steps // _VALIDATIONS))


def usual_title(recipe: Recipe | None, start: Model | None) -> str:
    """What the model is called where the user gives no title."""
    if start is not None:
        return _("{title} (fine-tuned)").format(title=start.title)
    return _("{title} (own)").format(title=recipe.title) if recipe is not None else ""


def free_id(title: str) -> str:
    """An id made of the title that no installed model has."""
    taken = {m.id for m in find_models()}
    wanted = slug(title)
    number = 2
    found = wanted
    while found in taken:
        found, number = f"{wanted}-{number}", number + 1
    return found
