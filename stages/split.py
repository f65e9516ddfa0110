"""Labels from folders; train, valid and test; folds: data/split.csv."""

import sys
from collections import Counter

from unfreeze import files, paths
from unfreeze.console import UserError, run
from unfreeze.data.labels import from_folders
from unfreeze.data.split import SplitParams, check_classes, make_splits
from unfreeze.params import load


def main() -> str:
    params = load("split", split=SplitParams).split
    images = files.read_csv(paths.IMAGES_CSV)
    # Folders whose every image was rejected, and empty ones, are classes that somebody meant to have.
    folders = [row["path"].rpartition("/")[0] + "/" for row in files.read_csv(paths.REJECTED_CSV)]
    folders += [row["path"] for row in files.read_csv(paths.EXTRACTED_CSV) if row["path"].endswith("/")]

    labels, empty = from_folders([row["path"] for row in images], folders)
    if empty:
        raise UserError(
            f"no usable image in class {', '.join(sorted(empty)[:10])}: the folder is empty, or all its images "
            f"are in {paths.REJECTED_CSV}. Mend the images or remove the folder"
        )
    splits = make_splits(labels, [row["pixels_sha256"] for row in images], params)
    for warning in check_classes(labels, splits.split):
        print(f"split: {warning}", file=sys.stderr)

    files.write_csv(
        paths.SPLIT_CSV,
        ["row", "path", "label", "split", "fold"],
        (
            [row, image["path"], label.label, split, "" if fold < 0 else fold]
            for row, (image, label, split, fold) in enumerate(
                zip(images, labels, splits.split, splits.fold, strict=True)
            )
            if split
        ),
    )
    files.write_csv(
        paths.DUPLICATES_CSV,
        ["path", "same_as", "action"],
        ([images[i]["path"], images[kept]["path"], action] for i, kept, action in splits.duplicates),
    )
    counts = Counter(filter(None, splits.split))
    classes = len({label.label for label in labels} - {""})
    return (
        f"{classes} classes, {', '.join(f'{counts[s]:,} {s}' for s in ('train', 'valid', 'test'))}, "
        f"{len(splits.duplicates)} duplicates; made here: {', '.join(splits.made) or 'none, all given'}"
    )


if __name__ == "__main__":
    run("split", main)
