"""How a made-up pipeline stored its images."""

from unfreeze.model.card import StoredData


def stored(
    size: int, channels: str = "rgb", normalisation: dict | None = None, numbers: list | None = None
) -> StoredData:
    return StoredData(
        image_size=size,
        fit="crop",
        channels=channels,
        normalisation=normalisation or {"mean": [], "std": []},
        numbers=numbers or [],
    )
