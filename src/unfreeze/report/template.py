"""Templates, style sheets and scripts that stand beside this module, and what templates do to text."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any


def load_template(name: str) -> Any:
    """Load a template that stands beside this module. It escapes every value."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.filters.update(
        short=shorten,
        breakable=_make_breakable,
        percent="{:.1%}".format,
        number="{:,}".format,
        plural=_pluralise,
    )
    return environment.get_template(name)


def read_beside(name: str) -> str:
    """Read a text file that stands beside this module, without white space at its ends."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8").strip()


def hash_script(script: str) -> str:
    """Return the hash by which a Content-Security-Policy allows a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def shorten(text: str, longest: int = 120) -> str:
    """Replace the middle of a text by "…" if it has more than `longest` characters."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def _make_breakable(text: str) -> Any:
    """Allow a line break after each / and _ of a text, which is escaped: HTML."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"[/_]", r"\g<0><wbr>", str(escape(text))))  # no escaped character holds either


def _pluralise(count: int, noun: str, nouns: str = "") -> str:
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"
