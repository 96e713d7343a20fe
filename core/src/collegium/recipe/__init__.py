"""Recipes: YAML text to a typed recipe, in which every value knows its file and line."""

from collegium.recipe.load import LoadedRecipe, load_recipe
from collegium.recipe.model import Recipe

__all__ = ["LoadedRecipe", "Recipe", "load_recipe"]
