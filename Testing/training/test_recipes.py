"""Every declared recipe says what panel and command line need, and its parts fit together."""

from __future__ import annotations

import pytest

from DeepRegistrationLib.core.errors import InputError
from DeepRegistrationLib.core.spec import parameters_of
from DeepRegistrationLib.descriptions import recipe_text
from DeepRegistrationLib.networks.catalogue import FILES
from DeepRegistrationLib.training.recipe import Recipe
from DeepRegistrationLib.training.recipes import find_recipe, recipes
from DeepRegistrationLib.training.settings import make_settings, settings_dict

RECIPES = list(recipes().values())


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.id)
def test_it_says_what_it_is(recipe: Recipe) -> None:
    assert find_recipe(recipe.id) is recipe
    assert recipe.architecture in FILES
    assert all((recipe.title, recipe.description, recipe.paper)) and recipe.description.endswith(".")
    assert recipe.steps > 0 and recipe.batch > 0 and 0 < recipe.learning_rate < 1 and recipe.clip_norm > 0
    assert 0 < recipe.validate_every <= recipe.steps and recipe.patience >= 0
    stages = recipe.stages(recipe.settings())
    assert stages and all(s.name and s.share > 0 for s in stages)
    assert len({s.name for s in stages}) == len(stages)
    assert recipe.title in recipe_text(recipe)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.id)
def test_its_settings_can_be_set(recipe: Recipe) -> None:
    default = settings_dict(recipe.settings())
    for parameter in parameters_of(recipe.settings):
        assert parameter.title and parameter.help.endswith("."), parameter.name
        if parameter.range is not None:
            too_much = str(parameter.range.maximum + 1)
            with pytest.raises(InputError, match=parameter.name):
                make_settings(recipe, {parameter.name: too_much})
    texts = {name: "none" if value is None else str(value) for name, value in default.items()}
    assert settings_dict(make_settings(recipe, texts)) == default
    with pytest.raises(InputError, match="no setting 'nonsense'"):
        make_settings(recipe, {"nonsense": 1})


def test_an_unknown_recipe_is_named() -> None:
    with pytest.raises(InputError, match="no recipe 'nobody'"):
        find_recipe("nobody")
