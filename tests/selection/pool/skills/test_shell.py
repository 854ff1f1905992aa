"""The house style's shell commands do what their descriptions say: they are run on a small tree of files."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from siftune.selection.pool.skills.pool import SKILLS
from siftune.selection.pool.skills.skill import draw_turn, keyed_random

Facts = dict[str, Any]


def gnu() -> bool:
    """Whether bash and the GNU tools, whose long options the house style uses, are there."""
    if shutil.which("bash") is None or shutil.which("tar") is None:
        return False
    return "GNU" in subprocess.run(["wc", "--version"], capture_output=True, text=True, check=False).stdout


pytestmark = pytest.mark.skipif(not gnu(), reason="needs bash and the GNU command-line tools")


def local(path: str) -> str:
    """The path below the working folder: the tests leave the real /var/log alone."""
    return path.lstrip("/")


def write(root: Path, path: str, text: str) -> Path:
    file = root / local(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def lines(count: int) -> str:
    return "".join(f"line {number}\n" for number in range(1, count + 1))


def count_lines(root: Path, facts: Facts, run: Callable[[], str]) -> None:
    write(root, facts["path"], lines(17))
    assert run().split()[0] == "17"


def find_extension(root: Path, facts: Facts, run: Callable[[], str]) -> None:
    write(root, f"{facts['folder']}/deep/a.{facts['extension']}", "")
    write(root, f"{facts['folder']}/deep/a.other", "")
    (root / local(facts["folder"]) / f"folder.{facts['extension']}").mkdir()
    assert run().split() == [f"{local(facts['folder'])}/deep/a.{facts['extension']}"]


def search_text(root: Path, facts: Facts, run: Callable[[], str]) -> None:
    write(root, f"{facts['folder']}/sub/a.txt", f"nothing\nthe {facts['word']} came\n")
    assert run() == f"{local(facts['folder'])}/sub/a.txt:2:the {facts['word']} came\n"


def last_lines(root: Path, facts: Facts, run: Callable[[], str]) -> None:
    write(root, facts["path"], lines(200))
    assert run() == "".join(f"line {number}\n" for number in range(201 - facts["count"], 201))


def copy_folder(root: Path, facts: Facts, run: Callable[[], str]) -> None:
    write(root, f"{facts['folder']}/sub/a.txt", "here")
    (root / local(facts["target"])).parent.mkdir(parents=True, exist_ok=True)
    run()
    assert (root / local(facts["target"]) / "sub/a.txt").read_text() == "here"
    assert (root / local(facts["folder"]) / "sub/a.txt").exists()


def archive(root: Path, facts: Facts, run: Callable[[], str]) -> None:
    write(root, f"{facts['folder']}/a.txt", "here")
    run()
    with tarfile.open(root / facts["archive"], "r:gz") as packed:
        assert f"{local(facts['folder'])}/a.txt" in packed.getnames()


def make_folder(root: Path, facts: Facts, run: Callable[[], str]) -> None:
    run()
    assert (root / local(facts["folder"])).is_dir()


TRIALS = {
    trial.__name__: trial
    for trial in (count_lines, find_extension, search_text, last_lines, copy_folder, archive, make_folder)
}


def test_every_task_is_tried() -> None:
    assert set(TRIALS) == set(SKILLS["shell"].tasks)


@pytest.mark.parametrize("task", SKILLS["shell"].tasks)
@pytest.mark.parametrize("number", range(3))
def test_the_command_does_what_is_asked(task: str, number: int, tmp_path: Path) -> None:
    turn = draw_turn(keyed_random("shell", task, number), SKILLS["shell"], task)

    def run() -> str:
        command = turn.answer.replace("'/", "'")
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    TRIALS[task](tmp_path, dict(turn.facts), run)
