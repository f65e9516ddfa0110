"""How a model was made: what its params change of the recipe that they are closest to."""

from collections.abc import Mapping
from typing import Any

Change = tuple[str, str, str]
"""The path of a param, its value in the recipe, and here."""


def flat(params: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """The values of nested params as text, by path: {"seed": "1", "train_head.lr": "0.01"}."""
    found: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        else:
            found[above + key] = _text(value)
    return found


def changes(params: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[Change]:
    """What `params` have otherwise than `recipe`, in their order; of a recipe only what they name too."""
    before, after = flat(recipe), flat(params)
    return [(key, before.get(key, "–"), value) for key, value in after.items() if before.get(key) != value]  # noqa: RUF001


def closest(params: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[Change]]:
    """The name of the recipe that `params` change least of, and the changes; "" and all params without recipes."""
    found = {name: changes(params, recipe) for name, recipe in recipes.items()} or {"": changes(params, {})}
    name = min(found, key=lambda name: (len(found[name]), name))
    return name, found[name]


def _text(value: object) -> str:
    """As it would stand in params.yaml; 1 and 1.0 are the same number."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.12g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    text = str(value)
    return f'"{text}"' if text.isdigit() else text
