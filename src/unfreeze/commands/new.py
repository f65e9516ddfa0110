"""Makes a project of one's own for some data: a clone of this one with params.yaml filled in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from unfreeze.archive.look import look
from unfreeze.commands.propose import Choice, Question, propose
from unfreeze.core.console import UserError
from unfreeze.core.files import replacing_folder, write_text
from unfreeze.core.params import check
from unfreeze.core.paths import LOCK, PARAMS, RECIPES

ROOT = Path(__file__).parents[3]
"""The project that this code belongs to."""
PLACEHOLDER = "CHOOSE"
"""Stands in params.yaml for what nobody has decided: each stage refuses it."""


def new_project(folder: Path, data: Path, recipe: str | None) -> list[str]:
    """Look at `data` and make a project for it in the new `folder`.

    The folder is a git clone of this project with a first commit. Its stages run its own `src/`. It shares this
    project's environment and DVC cache, and `data/raw/` there links to the data.

    Args:
        recipe: see `propose`.

    Returns:
        What was found and chosen, in lines.

    Raises:
        UserError: the folder is there, the data cannot be read, there is no such recipe, or this project is no git
            clone.
    """
    # 1. Refuse what cannot work before anything is looked at.
    folder, data = folder.absolute(), data.resolve()
    recipes = sorted(path.stem for path in (ROOT / RECIPES).glob("*.yaml"))
    if recipe is not None and recipe not in recipes:
        raise UserError(f"--recipe {recipe} is none of {', '.join(recipes)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already; name a folder that is not")
    if not (ROOT / ".git").exists():
        raise UserError(
            f"{ROOT} is no git clone, which a project of one's own is made of: clone unfreeze with git"
        )

    # 2. Look at the data, and ask what cannot be decided.
    proposal = propose(look(data, os.environ.get("UNFREEZE_ARCHIVE_PASSWORD") or None), recipe)
    answer = _ask(proposal.question) if proposal.question else {}
    choices = proposal.choices | {("split", key): Choice(value, "as you chose") for key, value in answer.items()}
    choices[("extract", "source")] = Choice(f"data/raw/{data.name}", f"a link to {data.name}")
    if proposal.question and not answer:
        candidates = " | ".join(str(split["labels"]) for split in proposal.question.answers)
        choices[("split", "labels")] = Choice(f"{PLACEHOLDER}: {candidates or 'a label file'}", "see below")

    # 3. Make the project, beside the folder until it is whole.
    with replacing_folder(folder) as made:
        _git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(made))
        text = (ROOT / RECIPES / f"{proposal.recipe}.yaml").read_text(encoding="utf-8")
        head = f"# Made for {data.name}, from recipes/{proposal.recipe}.yaml. What was chosen says why.\n"
        write_text(made / PARAMS, head + fill(text[text.index("seed:") :], choices))
        is_open = proposal.question is not None and not answer
        if not is_open:
            check(made / PARAMS)
        (made / "data/raw").mkdir(parents=True, exist_ok=True)
        (made / "data/raw" / data.name).symlink_to(data)
        _share(made)
        _commit(made, f"Params for {data.name}")
    lines = [*proposal.lines, f"recipe: {proposal.recipe}", *_describe(choices)]
    if is_open:
        return [*lines, f"TO DECIDE, split.labels in {folder / PARAMS}: {proposal.question.text}"]
    return [*lines, f"now: cd {folder} && make run"]


def fill(text: str, choices: dict[tuple[str, str], Choice]) -> str:
    """Return the text of a params file with the chosen values, each with a comment that says why.

    A key that the section lacks is added at its end.
    """
    for (section, key), (value, why) in choices.items():
        block = re.search(rf"^{section}:\n(?:[ #].*\n|\n(?=[ #]))*", text, re.MULTILINE)
        if block is None:
            raise ValueError(f"the recipe has no section {section}")
        line = f"  {key}: {_to_yaml(value)}  # {why}\n"
        old = re.compile(rf"^  {key}:.*\n", re.MULTILINE)
        body = block[0]
        body = old.sub(lambda _, line=line: line, body) if old.search(body) else body.rstrip("\n") + f"\n{line}\n"
        text = text[: block.start()] + body + text[block.end() :]
    return text


def _to_yaml(value: Any) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).split("\n...")[0].strip()
    )


def _ask(question: Question) -> dict[str, Any]:
    """Ask on a terminal; return {} where there is none, or nothing to choose from."""
    if not question.answers or not sys.stdin.isatty():
        return {}
    print(question.text)
    for number, split in enumerate(question.answers, 1):
        print(f"  {number}: labels from {split['labels']}")
    while True:
        reply = input("Which one? ").strip()
        if reply.isdecimal() and 1 <= int(reply) <= len(question.answers):
            return question.answers[int(reply) - 1]


def _share(folder: Path) -> None:
    """Let the new project use this one's environment and DVC cache."""
    environment = ROOT / ".venv"
    if environment.is_dir():
        (folder / ".venv").symlink_to(environment.resolve())
        with (folder / ".git/info/exclude").open("a", encoding="utf-8") as file:
            file.write("/.venv\n")  # .gitignore means a folder, and this is a link
        if (installed := environment / "installed").exists():
            for name in ("requirements.lock", "pyproject.toml"):  # newer ones would have make install again
                shutil.copystat(installed, folder / name)
    cache = subprocess.run(["dvc", "cache", "dir"], cwd=ROOT, capture_output=True, text=True, check=True)
    shared = (ROOT / cache.stdout.strip()).resolve()
    subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", str(shared)], cwd=folder, check=True)


def _commit(folder: Path, message: str) -> None:
    """Commit the new project, without what its sample had made."""
    _git(folder, "rm", "--quiet", "-r", "--ignore-unmatch", str(LOCK), "results")
    _git(folder, "add", "--all")
    known = subprocess.run(["git", "config", "user.email"], cwd=folder, capture_output=True, check=False)
    author = [] if known.returncode == 0 else ["-c", "user.name=unfreeze", "-c", "user.email=unfreeze@localhost"]
    _git(folder, *author, "commit", "--quiet", "--message", message)


def _git(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {' '.join(arguments)} failed in {folder}: {done.stderr.strip()}")


def _describe(choices: dict[tuple[str, str], Choice]) -> list[str]:
    return [f"{section}.{key}: {_to_yaml(value)} ({why})" for (section, key), (value, why) in choices.items()]
