from unfreeze.report import making

RECIPES = {
    "photos.yaml": {"seed": 1, "model": {"arch": "resnet34", "image_size": 224}, "head": {"hidden": [512]}},
    "tiny.yaml": {"seed": 2, "model": {"arch": "resnet18", "image_size": 64}, "head": {"hidden": []}},
}


def test_the_closest_recipe_is_the_one_with_the_fewest_changes():
    params = {
        "seed": 1,
        "model": {"arch": "resnet34", "image_size": 256.0},
        "head": {"hidden": [512, 64]},
        "new": True,
    }
    name, changes = making.find_closest_recipe(params, RECIPES)
    assert name == "photos.yaml"
    assert changes == [
        ("model.image_size", "224", "256"),
        ("head.hidden", "[512]", "[512, 64]"),
        ("new", "–", "true"),  # noqa: RUF001
    ]
    assert making.find_closest_recipe(RECIPES["tiny.yaml"], RECIPES) == ("tiny.yaml", [])


def test_without_recipes_every_param_is_shown():
    assert making.find_closest_recipe({"a": {"b": "32"}}, {}) == ("", [("a.b", "–", '"32"')])  # noqa: RUF001
