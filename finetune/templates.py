"""The chat templates that siftune ships, for base models whose tokenizer has none."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

SUFFIX = ".jinja"


def shipped_templates() -> tuple[str, ...]:
    """Names of the templates in conf/chat_templates."""
    files = resources.files("siftune.conf").joinpath("chat_templates").iterdir()
    return tuple(sorted(file.name.removesuffix(SUFFIX) for file in files if file.name.endswith(SUFFIX)))


def template_text(name: str) -> str:
    """The Jinja text of a shipped template, or of a `.jinja` file given by its path; ValueError when there is none."""
    if name.endswith(SUFFIX):
        return _read(Path(name).expanduser())
    known = shipped_templates()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"model.chat_template={name!r} is not one of {', '.join(known)} nor the path of a {SUFFIX} file{hint}"
        )
    return (resources.files("siftune.conf") / "chat_templates" / (name + SUFFIX)).read_text(encoding="utf-8")


def _read(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"model.chat_template names the file {path}, which does not exist")
    return path.read_text(encoding="utf-8")
