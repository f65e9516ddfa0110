"""data/images/card.json: how every image is stored. Later stages read it and need no decoder to know."""

from pathlib import Path

from unfreeze.core.files import write_json


def write_card(path: Path, *, image_size: int, fit: str, channels: str) -> None:
    """Write the settings that made the pixels, under the keys that `model.card.read_stored_data` takes.

    Args:
        image_size: height and width in pixels.
        fit, channels: `decode.fit` and `decode.channels` of params.yaml.
    """
    write_json(path, {"image_size": image_size, "fit": fit, "channels": channels})
