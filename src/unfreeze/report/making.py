"""How a model was made: what its params change of the recipe that they are closest to."""

from collections.abc import Mapping
from typing import Any

Change = tuple[str, str, str]
"""The path of a param, its value before, and its value here; "–" where there was none."""  # noqa: RUF001


def flatten(params: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Return the values of nested params as text, by path: {"seed": "1", "train_head.lr": "0.01"}."""
    values: dict[str, str] = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            values |= flatten(value, f"{above}{key}.")
        else:
            values[above + key] = _format(value)
    return values


def list_changes(params: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[Change]:
    """List the params that differ from those of `recipe`, in their order. What only the recipe has is left out."""
    before, after = flatten(recipe), flatten(params)
    return [(key, before.get(key, "–"), value) for key, value in after.items() if before.get(key) != value]  # noqa: RUF001


def find_closest_recipe(
    params: Mapping[str, Any], recipes: Mapping[str, Mapping[str, Any]]
) -> tuple[str, list[Change]]:
    """Return the name of the recipe of which `params` change least, and the changes.

    Without recipes the name is "", and every param is a change.
    """
    changes = {name: list_changes(params, recipe) for name, recipe in recipes.items()}
    changes = changes or {"": list_changes(params, {})}
    name = min(changes, key=lambda name: (len(changes[name]), name))
    return name, changes[name]


def _format(value: object) -> str:
    """Return a value as it would stand in params.yaml; 1 and 1.0 are the same number."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.12g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_format, value))}]"
    text = str(value)
    return f'"{text}"' if text.isdigit() else text
