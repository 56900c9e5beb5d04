from __future__ import annotations

import pytest
from pydantic import ValidationError

from trainer.recipes.recipe import AugmentationRecipe


def test_changes_drawn_anew_leave_one_version_of_a_picture():
    recipe = AugmentationRecipe(zoom=0.2, mirror_horizontal=True)
    assert recipe.versions == (recipe,)


def test_copies_have_one_change_each_beside_the_picture_itself():
    recipe = AugmentationRecipe(apply="copies", zoom=0.2, mirror_vertical=True, fill="black")
    assert recipe.versions == (
        AugmentationRecipe(),
        AugmentationRecipe(zoom=0.2, fill="black"),
        AugmentationRecipe(mirror_vertical=True, fill="black"),
    )


def test_more_copies_than_changes_begin_again_with_the_first_change():
    recipe = AugmentationRecipe(
        apply="copies", copies=3, keeps_original=False, zoom=0.2, mirror_vertical=True
    )
    zoomed, mirrored = AugmentationRecipe(zoom=0.2), AugmentationRecipe(mirror_vertical=True)
    assert recipe.versions == (zoomed, mirrored, zoomed)


def test_copies_without_a_change_are_refused():
    with pytest.raises(ValidationError, match="at least one change"):
        AugmentationRecipe(apply="copies")
