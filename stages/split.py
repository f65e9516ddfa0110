"""Labels from folders, records or a label file; train, valid and test; what is standardised: data/split.csv..."""

import sys
from collections import Counter

from unfreeze import files, paths
from unfreeze.console import UserError, run
from unfreeze.data.label_table import from_table, read_table
from unfreeze.data.labels import from_folders
from unfreeze.data.split import SplitParams, check_classes, make_splits
from unfreeze.data.standard import standardise
from unfreeze.data.store import open_array, write_array
from unfreeze.data.table import write_split
from unfreeze.params import load


def main() -> str:
    params = load("split", split=SplitParams).split
    images = files.read_table(paths.IMAGES_CSV, None if params.labels == "records" else ["path", "pixels_sha256"])
    found = images.columns["path"]
    rejected = [row["path"] for row in files.read_csv(paths.REJECTED_CSV)]
    index = files.read_table(paths.EXTRACTED_CSV, ["path"] if params.labels == "folders" else None)

    unmatched: list[tuple[str, str]] = []
    if params.labels == "folders":
        # Folders whose every image was rejected, and empty ones, are classes that somebody meant to have.
        folders = [path.rpartition("/")[0] + "/" for path in rejected]
        folders += (path for path in index.columns["path"] if path.endswith("/"))
        labels, empty = from_folders(found, folders)
        if empty:
            raise UserError(
                f"no usable image in class {', '.join(sorted(empty)[:10])}: the folder is empty, or all its "
                f"images are in {paths.REJECTED_CSV}. Mend the images or remove the folder"
            )
    else:
        table = read_table(params.labels, index, paths.EXTRACTED_TAR, images)
        labels, unmatched = from_table(table, found, rejected, params)
    splits = make_splits(labels, images.columns["pixels_sha256"], params)
    for warning in check_classes(labels, splits.split, params.kind):
        print(f"split: {warning}", file=sys.stderr)

    write_split(paths.SPLIT_CSV, images, [label.label for label in labels], splits.split, splits.fold, params.kind)
    files.write_csv(
        paths.DUPLICATES_CSV,
        ["path", "same_as", "action"],
        ([images[i]["path"], images[kept]["path"], action] for i, kept, action in splits.duplicates),
    )
    files.write_csv(paths.UNMATCHED_CSV, ["name", "reason"], unmatched)
    known = [label.numbers for label in labels]
    channels, columns, numbers = standardise(open_array(paths.PIXELS), known, params.numbers, splits.split)
    files.write_json(paths.NORMALISATION, channels)
    files.write_json(paths.NUMBERS_JSON, columns)
    write_array(paths.NUMBERS, numbers)
    counts = Counter(filter(None, splits.split))
    reasons = Counter(reason for _, reason in unmatched)
    return (
        f"{len({name for label in labels for name in label.names(params.kind)})} classes, "
        f"{', '.join(f'{counts[s]:,} {s}' for s in ('train', 'valid', 'test'))}, "
        f"{len(splits.duplicates)} duplicates; made here: {', '.join(splits.made) or 'none, all given'}"
        + "".join(f"; {count:,} x {reason}" for reason, count in sorted(reasons.items()))
    )


if __name__ == "__main__":
    run("split", main)
