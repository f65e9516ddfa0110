"""Classify new images on the command line: `python -m unfreeze.predict MODEL IMAGE...`."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from unfreeze.commands.classifier import Classifier, Prediction
from unfreeze.core.console import UserError
from unfreeze.task.base import Rule


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status: 0, 1 if any image failed, 2 if nothing could be done."""
    parser = _build_parser()
    args = parser.parse_args(arguments)
    if args.top is not None and (args.json or args.csv):
        parser.error("--top has no effect with --json and --csv, which give all classes")
    if args.top is not None and args.top < 1:
        parser.error(f"--top {args.top}: must be 1 or more")
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    try:
        return _print_predictions(args)
    except UserError as error:
        print(f"predict: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("predict: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m unfreeze.predict",
        description="Classify new images with a trained network.",
        epilog="Exit status: 0; 1 if any image failed (the reasons are on stderr); 2 if nothing could be done.",
    )
    parser.add_argument("model", metavar="MODEL", type=Path, help="such as models/model.safetensors")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="file, folder, archive, or - for one image on standard input"
    )
    parser.add_argument(
        "--tta", metavar="N", type=int, default=0, help="average over N augmented views beside the plain one"
    )
    parser.add_argument(
        "--top",
        metavar="K",
        type=int,
        help="show the K most probable classes (1, or the labels above their thresholds)",
    )
    parser.add_argument(
        "--thresholds",
        choices=get_args(Rule),
        default="global",
        help="of several labels an image: one for all labels, or one for each",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a line, with all probabilities")
    form.add_argument("--csv", action="store_true", help="CSV with all probabilities")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--precision", choices=["auto", "32", "bf16"], default="auto")
    return parser


def _print_predictions(args: argparse.Namespace) -> int:
    classifier = Classifier(args.model, device=args.device, precision=args.precision)
    classes = classifier.classes
    predictions = classifier.predict(args.images, tta=args.tta, thresholds=args.thresholds)
    count = failed = 0
    if args.csv:
        print(_format_csv(["path", "predicted", *(f"p_{name}" for name in classes), "error"]))
    for prediction in predictions:
        count += 1
        if prediction.error:
            failed += 1
            tqdm.write(f"predict: {_escape_path(prediction.path)}: {prediction.error}", file=sys.stderr)
        if args.json:
            tqdm.write(_format_json(prediction))
        elif args.csv:
            values = [prediction.probabilities.get(name, "") for name in classes]
            tqdm.write(_format_csv([prediction.path, prediction.predicted, *values, prediction.error]))
        elif not prediction.error:
            tqdm.write(_format_row(prediction, classes, args.top))
    if failed:
        print(f"predict: {failed:,} of {count:,} failed", file=sys.stderr)
    return 1 if failed else 0


def _format_json(prediction: Prediction) -> str:
    content: dict[str, Any] = {"path": prediction.path}
    if prediction.error:
        content["error"] = prediction.error
    else:
        several = prediction.thresholds is not None
        predicted = prediction.labels if several else prediction.predicted
        content |= {"predicted": predicted, "probabilities": prediction.probabilities}
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _format_csv(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _format_row(prediction: Prediction, classes: Sequence[str], top: int | None) -> str:
    width = max(map(len, classes))
    shown = [item for item in prediction.ranked if top or item[0] in prediction.labels]
    columns = [f"{name:<{width}} {value:.4f}" for name, value in shown[:top]] or [prediction.predicted]
    return "  ".join([f"{_escape_path(prediction.path):<40}", *columns])


def _escape_path(path: str) -> str:
    """Return a path without characters that a terminal would obey."""
    return path if path.isprintable() else ascii(path)[1:-1]
