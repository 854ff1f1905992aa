"""Shell commands from descriptions, in one house style: GNU long options, every path and pattern in single quotes."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from siftune.selection.pool.skills.skill import Facts, FollowUp, Skill, Task, phrasings
from siftune.selection.pool.skills.words import (
    FILE_EXTENSIONS,
    FOLDERS,
    SEARCH_WORDS,
    file_name,
    file_path,
    folder_path,
)

FRAMES = (
    "Give me the shell command to {do}.",
    "How do I {do} from the terminal?",
    "Which command will {do}?",
    "Write a one-line shell command to {do}.",
    "I need to {do}. What should I type?",
    "{Do}, please, as a single bash command.",
    "What would you run to {do}?",
    "{Do} on the command line.",
    "Could you show me the command to {do}?",
    "Task: {do}. Shell only.",
    "I'd like to {do} without opening a file manager. What's the command?",
    "Please write the command that lets me {do}.",
)

TEMPLATES: Mapping[str, str] = {
    "count_lines": "wc --lines '{path}'",
    "find_extension": "find '{folder}' -type f -name '*.{extension}'",
    "search_text": "grep --recursive --line-number '{word}' '{folder}'",
    "last_lines": "tail --lines={count} '{path}'",
    "copy_folder": "cp --recursive '{folder}' '{target}'",
    "archive": "tar --create --gzip --file='{archive}' '{folder}'",
    "make_folder": "mkdir --parents '{folder}'",
}
"""The right command of each task."""

MISTAKES: Mapping[str, tuple[str, ...]] = {
    "count_lines": ("wc --words '{path}'", "cat '{path}' | wc -c", "ls -l '{path}'"),
    "find_extension": ("find '{folder}' -type d -name '*.{extension}'", "ls '{folder}' | grep '{extension}$'"),
    "search_text": ("find '{folder}' -name '{word}'", "grep --invert-match '{word}' '{folder}'"),
    "last_lines": ("head --lines={count} '{path}'", "tail --bytes={count} '{path}'"),
    "copy_folder": ("mv '{folder}' '{target}'", "cp '{target}' '{folder}'"),
    "archive": ("tar --extract --file='{archive}' '{folder}'", "gzip '{folder}'"),
    "make_folder": ("touch '{folder}'", "rmdir '{folder}'"),
}
"""Commands that look right and do something else."""

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "count_lines": ("count the lines in {path}", "see how many lines {path} has", "get the line count of {path}"),
    "find_extension": (
        "find every .{extension} file under {folder}",
        "list all files below {folder} that end in .{extension}",
        "locate the .{extension} files anywhere inside {folder}",
    ),
    "search_text": (
        'search all files in {folder} for the word "{word}" and show line numbers',
        'find where "{word}" appears in the files under {folder}, with line numbers',
        'look through everything in {folder} for lines that mention "{word}", numbered',
    ),
    "last_lines": (
        "show the last {count} lines of {path}",
        "print the final {count} lines of {path}",
        "look at just the bottom {count} lines of {path}",
    ),
    "copy_folder": (
        "copy the folder {folder} with everything in it to {target}",
        "make a full copy of the directory {folder} at {target}",
        "duplicate {folder}, subfolders included, as {target}",
    ),
    "archive": (
        "pack the folder {folder} into a compressed archive called {archive}",
        "create the gzipped tarball {archive} from {folder}",
        "compress {folder} into {archive}",
    ),
    "make_folder": (
        "create the folder {folder}, along with any missing parent folders",
        "make the directory {folder} and whatever parents it needs",
        "set up the nested folder {folder} in one go",
    ),
}


def _draw(name: str, rng: Random) -> dict[str, Any]:
    if name == "last_lines":
        return {"path": file_path(rng), "count": rng.choice((3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75, 100))}
    if name == "count_lines":
        return {"path": file_path(rng)}
    facts: dict[str, Any] = {"folder": folder_path(rng)}
    if name == "find_extension":
        facts["extension"] = rng.choice(FILE_EXTENSIONS)
    elif name == "search_text":
        facts["word"] = rng.choice(SEARCH_WORDS)
    elif name == "copy_folder":
        facts["target"] = f"{rng.choice(('/mnt/copies', '/tmp', 'safe', 'old'))}/{rng.choice(FOLDERS)}"
    elif name == "archive":
        facts["archive"] = file_name(rng, ("tar.gz",))
    return facts


def _change(name: str, field: str, rng: Random, facts: Facts) -> Facts:
    """The facts with one of them drawn again until it differs."""
    while True:
        value = _draw(name, rng)[field]
        if value != facts[field]:
            return {**facts, field: value}


def _wrong(name: str, rng: Random, facts: Facts) -> str:
    return rng.choice(MISTAKES[name]).format_map(facts)


AGAIN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "count_lines": ("path", ("And the same for {path}?", "Now do {path} as well.")),
    "find_extension": ("extension", ("Now the .{extension} files instead.", "What if I wanted .{extension} files?")),
    "search_text": ("word", ('Good. Now for "{word}" instead.', 'And if the word is "{word}"?')),
    "last_lines": ("count", ("Make it {count} lines.", "Sorry, I meant {count} lines.")),
    "archive": ("archive", ("Call the archive {archive} instead.", "Please name it {archive}.")),
    "make_folder": ("folder", ("One more: {folder}.", "I also need {folder}.")),
}
"""What a follow-up changes, and how it is asked."""

TAGS: Mapping[str, tuple[str, ...]] = {
    "search_text": ("text search",),
    "count_lines": ("text processing",),
    "last_lines": ("text processing",),
}


def _task(name: str) -> Task:
    follow_ups: tuple[FollowUp, ...] = ()
    if name in AGAIN:
        field, asks = AGAIN[name]
        follow_ups = (FollowUp(facts=lambda rng, facts: _change(name, field, rng, facts), asks=asks),)
    return Task(
        facts=lambda rng: _draw(name, rng),
        answer=TEMPLATES[name].format_map,
        wrong=lambda rng, facts: _wrong(name, rng, facts),
        # Right means in the house style; the tests run its commands to show that they do what is asked.
        check=lambda facts, answer: answer == TEMPLATES[name].format_map(facts),
        asks=phrasings(FRAMES, ACTIONS[name]),
        tags=TAGS.get(name, ("file management",)),
        complexity=3.2 if len(TEMPLATES[name]) < 35 else 3.8,
        follow_ups=follow_ups,
    )


SKILL = Skill(
    name="shell",
    tags=("shell scripting",),
    contexts=(
        "I'm tidying up an old server called {host}.",
        "We're running low on disk space on {host}.",
        "I've just been given access to the {company} file server.",
        "This is for a maintenance script at {company}.",
        "I usually do this by clicking around, which takes ages.",
        "I'm on Ubuntu and only have a terminal.",
        "{name} is on holiday and nobody else here knows Linux.",
        "It has to go into tonight's cron job.",
    ),
    systems=(
        "You are a Linux assistant. Reply with the command and nothing else.",
        "You help system administrators. Answer with one shell command.",
        "Answer in our team's house style for shell commands.",
    ),
    tasks={name: _task(name) for name in TEMPLATES},
)
