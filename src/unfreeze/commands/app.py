"""The `unfreeze` command: what users run beside the pipeline.

Each command imports what it needs when it runs, so that `--help` is there at once. Its exit status is 0; 2 for
wrong arguments, or if nothing could be done; 1 if a part failed, as the command's help says; 130 after Ctrl-C.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand

from unfreeze.core import paths
from unfreeze.core.console import report_errors

EXPORT = Path("models/export")
SAMPLE = Path("data/raw/digits.7z")


class Command(TyperCommand):
    """A command whose function returns the exit status, or None for 0, and whose usage line has plain names."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, and end with one line on errors that the user can mend."""
        with report_errors(ctx.info_name, status=2):
            status = super().invoke(ctx)
        ctx.exit(status or 0)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return `MODEL IMAGE...`, where typer has `{MODEL} {IMAGE}...`."""
        return [piece.strip("{}").replace("}...", "...") for piece in super().collect_usage_pieces(ctx)]


app = typer.Typer(
    help="Tools beside the pipeline, which `dvc repro` runs. `unfreeze COMMAND --help` tells more of each.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, or `arguments`, and end the process with the exit status."""
    # Commands call dvc, which lies beside this Python even if its environment is not activated.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    app(args=arguments, prog_name="unfreeze")


def name_argument(metavar: str) -> Any:
    """Return a positional argument, which the command's text describes."""
    return typer.Argument(metavar=metavar, hidden=True)


@app.command(cls=Command)
def predict(
    model: Annotated[Path, name_argument("MODEL")],
    images: Annotated[list[str], name_argument("IMAGE")],
    tta: Annotated[int, typer.Option(metavar="N", help="Average over N augmented views too.")] = 0,
    top: Annotated[int | None, typer.Option(metavar="K", min=1, help="Show the K most probable classes.")] = None,
    thresholds: Annotated[
        Literal["global", "per_label"], typer.Option(help="One for all labels, or one for each.")
    ] = "global",
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines with all probabilities.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with all probabilities.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    precision: Annotated[Literal["auto", "32", "bf16"], typer.Option(help="How to compute.")] = "auto",
) -> int:
    """Classify new images with a trained network.

    MODEL is a file such as models/model.safetensors. IMAGE is a file, a folder, an archive, or - for one image on
    standard input.

    Exit status: 1 if any image failed; the reasons are on stderr.
    """
    if json and csv:
        raise typer.BadParameter("give one of them", param_hint="'--json' / '--csv'")
    if top is not None and (json or csv):
        raise typer.BadParameter("--json and --csv give all classes", param_hint="'--top'")
    from unfreeze.commands.classifier import Classifier
    from unfreeze.commands.predict import print_predictions

    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    classifier = Classifier(model, device=device, precision=precision)
    predictions = classifier.predict(images, tta=tta, thresholds=thresholds)
    form = "json" if json else "csv" if csv else "table"
    return print_predictions(predictions, classes=classifier.classes, form=form, top=top)


@app.command(cls=Command)
def export(
    model: Annotated[Path, name_argument("MODEL")] = paths.MODEL,
    images: Annotated[list[Path] | None, name_argument("IMAGE")] = None,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write.")] = EXPORT,
) -> None:
    """Write a trained network as ONNX and torch.export program.

    Both are compared with MODEL (models/model.safetensors) on each IMAGE; without any, on images of the pipeline.
    """
    from unfreeze.commands.export import export as write_programs

    print("\n".join(write_programs(model, to, images or ())))


@app.command(cls=Command)
def compare(before: Annotated[str, name_argument("A")], after: Annotated[str, name_argument("B")]) -> None:
    """Show two experiments side by side in one page.

    A and B are names of experiments, git revisions, or `workspace`. The page is results/compare/index.html.
    """
    from unfreeze.commands.compare import write_comparison

    print(f"{write_comparison(before, after)}: open it in a browser")


@app.command(cls=Command)
def sweep(
    param: Annotated[str, name_argument("PARAM")],
    values: Annotated[str, name_argument("VALUES")],
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Run each value with the seeds 1 to N.")] = 3,
    metric: Annotated[str, typer.Option(metavar="NAME", help="What to compare.")] = "valid",
    target: Annotated[
        str | None, typer.Option(metavar="STAGE", help="The last stage to run, such as train-head; else all.")
    ] = None,
) -> int:
    """Run experiments with one param at several values.

    PARAM is a key of params.yaml, such as train_head.lr. VALUES has commas between the values. The mean and the
    spread of the metric are printed, and drawn in results/sweep.html.

    Exit status: 1 if any run failed.
    """
    from unfreeze.commands.sweep import run_sweep

    names = [value.strip() for value in values.split(",") if value.strip()]
    return 1 if run_sweep(param, values=names, seeds=seeds, metric=metric, target=target) else 0


@app.command(cls=Command)
def verify() -> int:
    """Run the current commit in a fresh clone, and compare.

    Every out is compared with the hash that dvc.lock has of it. On another CPU model than the commit's the metrics
    may differ by `verify.tolerance` of params.yaml.

    Exit status: 1 if the results are others.
    """
    from unfreeze.commands.verify import verify_commit

    with tempfile.TemporaryDirectory(prefix="unfreeze-verify-") as folder:
        status, sentence = verify_commit(Path(folder))
    print(f"\n{sentence}")
    return status


@app.command(cls=Command)
def plots(revisions: Annotated[list[str] | None, name_argument("REVISION")] = None) -> None:
    """Write DVC's plots into one page without a network.

    Each REVISION is an experiment, a git revision, or `workspace`; without any, the workspace. The page is
    results/plots.html.
    """
    from unfreeze.commands.plots import PAGE, write_page

    print(f"{write_page(revisions or ())} plots in {PAGE}")


@app.command(cls=Command)
def new(
    folder: Annotated[Path, name_argument("FOLDER")],
    data: Annotated[
        Path, typer.Option(metavar="ARCHIVE", help="an archive, or a folder of data", show_default=False)
    ],
    recipe: Annotated[str | None, typer.Option(metavar="NAME", help="start from recipes/NAME.yaml")] = None,
) -> None:
    """Make a project of your own in FOLDER for some data.

    It looks at the data in seconds, says what it found, and fills in params.yaml; `dvc repro` there trains.
    """
    from unfreeze.commands.new import new_project

    print("\n".join(new_project(folder, data, recipe)))


@app.command(cls=Command)
def backbones() -> None:
    """List the networks that `model.arch` takes."""
    from unfreeze.commands.backbones import format_table

    print(format_table())


@app.command(cls=Command)
def metrics() -> None:
    """Print the metrics of the workspace as a table."""
    from unfreeze.commands.metrics import show_metrics

    print(show_metrics())


@app.command(cls=Command)
def experiments(
    split: Annotated[Literal["valid", "test"], typer.Option(help="The images to compare on.")] = "valid",
) -> None:
    """List the experiments of the current commit, best first.

    Each is compared with the commit itself; a difference that chance alone may make is called noise.
    """
    from unfreeze.commands.experiments import show_experiments

    print(show_experiments(split))


@app.command(cls=Command, hidden=True)
def sample(file: Annotated[Path, name_argument("FILE")] = SAMPLE) -> None:
    """Write the sample archive, unless it is there already."""
    from unfreeze.commands.sample import draw_digits, write_digits

    if file.exists():
        print(f"{file} is there already; remove it to write it again")
        return
    write_digits(file)
    print(f"{file}: {len(draw_digits()):,} images, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
