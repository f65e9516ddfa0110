"""Finds the images that the ids of a table mean."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from unfreeze.core.table_files import normal
from unfreeze.labels.layout import shared_depth

IMAGE_SUFFIX = re.compile(
    r"\.(jpe?g|jfif|png|bmp|gif|webp|tiff?|avif|hei[cf]|jp2|jxl|p[gbnp]m|tga|ico|dcm|dicom|dib)$", re.IGNORECASE
)
Images = dict[int, list[int]]
"""The images, ascending, by row of the id."""


def match_ids(row_of_id: Mapping[str, int], paths: Sequence[str]) -> tuple[Images, list[str]]:
    """Find the images of each id; return them, and how the ids were read.

    First as `find_images` does; if no id fits then, without leading folders that all ids share. Of the ids that
    still fit no image, further readings are tried, where one id fits one image alone: without regard to case and
    suffix; as numbers, without leading zeros.
    """
    counts: Counter[str] = Counter()
    images = find_images(row_of_id, paths, counts)
    facts = [f"{count:,} ids fit as {how}" for how, count in counts.items() if count]
    for read in ([] if images else [_match_below_shared]) + [_match_other_case, _match_numbers]:
        rest = {name: row for name, row in row_of_id.items() if row not in images}
        if not rest:
            break
        taken = {image for some in images.values() for image in some}
        free = [image for image in range(len(paths)) if image not in taken]
        found, fact = read(rest, [paths[image] for image in free])
        if found:
            name = next(name for name, row in rest.items() if row in found)
            example = f"such as {name} -> {paths[free[found[rest[name]]]]}"
            facts.append(f"{len(found):,} ids fit {fact}, {example}")
            images |= {row: [free[image]] for row, image in found.items()}
    return images, facts


def find_images(row_of_id: Mapping[str, int], paths: Sequence[str], counts: Counter[str] | None = None) -> Images:
    """Find the images that each id can mean: by whole path, else by its end, else by its end without suffix.

    Only the names of ids are kept: a million images have eight names each.

    Args:
        counts: takes how many ids fit in each of these ways.

    Returns:
        The images by row; an id that fits none is left out.
    """
    depth = shared_depth(paths)
    images_of_row: Images = {}
    ways = {
        "whole paths": _list_whole_paths,
        "ends of paths": _list_ends,
        "ends of paths without suffix": _list_ends_without_suffix,
    }
    for how, list_names in ways.items():
        matches: Images = {}
        for image, path in enumerate(paths):
            for name in list_names(normal(path).split("/"), depth):
                row = row_of_id.get(name)
                if row is not None and row not in images_of_row:
                    matches.setdefault(row, []).append(image)
        images_of_row |= matches
        if counts is not None:
            counts[how] = len(matches)
    return images_of_row


def _list_whole_paths(parts: list[str], depth: int) -> set[str]:
    """List a path as it is, and below the folders that all images share."""
    return {"/".join(parts), "/".join(parts[depth:])}


def _list_ends(parts: list[str], depth: int) -> list[str]:
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _list_ends_without_suffix(parts: list[str], depth: int) -> list[str]:
    stem = parts[-1].rpartition(".")[0] or parts[-1]
    return _list_ends([*parts[:-1], stem], depth)


def _match_below_shared(rest: Mapping[str, int], paths: Sequence[str]) -> tuple[dict[int, int], str]:
    """Drop as many of the leading folders that all ids share as let the most ids fit one image each."""
    folders = [name.split("/")[:-1] for name in (min(rest), max(rest))]
    shared = 0
    for first, last in zip(*folders, strict=False):
        if first != last:
            break
        shared += 1
    best: dict[int, int] = {}
    dropped = ""
    for count in range(1, shared + 1):
        shorter = {"/".join(name.split("/")[count:]): row for name, row in rest.items()}
        images = find_images(shorter, paths) if len(shorter) == len(rest) else {}
        single = {row: some[0] for row, some in images.items() if len(some) == 1}
        if len(single) > len(best):
            best, dropped = single, "/".join(folders[0][:count])
    return best, f"an image without {dropped}/, with which all ids begin"


def _match_other_case(rest: Mapping[str, int], paths: Sequence[str]) -> tuple[dict[int, int], str]:
    def list_names(parts: list[str]) -> Iterator[str]:
        yield from _list_ends_without_suffix(parts, 0)

    return _match_one_to_one(
        rest, paths, lambda name: IMAGE_SUFFIX.sub("", name).casefold(), list_names
    ), "an image whose name has another case or suffix"


def _match_numbers(rest: Mapping[str, int], paths: Sequence[str]) -> tuple[dict[int, int], str]:
    def read_number(name: str) -> str:
        match = re.fullmatch(r"0*(\d+?)(\.0)?", IMAGE_SUFFIX.sub("", name))
        return match[1] if match else ""

    def list_names(parts: list[str]) -> Iterator[str]:
        stem = parts[-1].rpartition(".")[0] or parts[-1]
        if stem.isdecimal() and stem.isascii():
            yield stem.lstrip("0") or "0"

    return _match_one_to_one(rest, paths, read_number, list_names), "an image as numbers, without leading zeros"


def _match_one_to_one(
    rest: Mapping[str, int],
    paths: Sequence[str],
    key_of: Callable[[str], str],
    list_names: Callable[[list[str]], Iterator[str]],
) -> dict[int, int]:
    """Return the image of each row where the key of one id alone is a name of one image alone."""
    rows = defaultdict(list)
    for name, row in rest.items():
        if key := key_of(name):
            rows[key].append(row)
    images = defaultdict(set)
    for image, path in enumerate(paths):
        for name in list_names(normal(path).split("/")):
            if (key := name.casefold()) in rows:
                images[key].add(image)
    pairs = {
        rows[key][0]: next(iter(some)) for key, some in images.items() if len(some) == 1 and len(rows[key]) == 1
    }
    uses = Counter(pairs.values())
    return {row: image for row, image in pairs.items() if uses[image] == 1}
