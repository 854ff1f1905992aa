"""The evaluated model's answers to open questions, kept in a file as they come."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from siftune.evaluate.backends.running import Writer, Written
from siftune.evaluate.judged import JudgedTask, Question
from siftune.finetune.chat import Message
from siftune.finetune.decoding import Decoding

TOGETHER = 32
"""Questions that are answered together, and at most lost when the process is killed."""


@dataclass(frozen=True)
class Answered:
    """The answers to a question's turns."""

    texts: tuple[str, ...]
    read: int
    """Tokens of the prompts."""
    written: int
    """Tokens of the answers."""
    cut: int
    """Answers that had not ended after max_new_tokens."""
    no_room: int
    """Turns that leave the model no room for an answer, or that its endpoint does not take: the answer is empty."""


class Answerer:
    """A model that answers a task's questions."""

    def __init__(self, writers: Callable[[Decoding], Writer], task: JudgedTask, seed: int) -> None:
        self._task, self._seed = task, seed
        self._writer = functools.cache(lambda temperature: writers(replace(task.decoding, temperature=temperature)))

    def answers(
        self, questions: Sequence[Question], file: Path | None, progress: Callable[[int], None] = lambda questions: None
    ) -> list[Answered]:
        """One a question, in their order; those that `file` holds already are not asked for again."""
        known = {} if file is None else _read(file)
        progress(sum(question.id in known for question in questions))
        left = [question for question in questions if question.id not in known]
        for start in range(0, len(left), TOGETHER):
            batch = left[start : start + TOGETHER]
            found = dict(zip((question.id for question in batch), self._batch(batch), strict=True))
            if file is not None:
                _append(file, found)
            known |= found
            progress(len(batch))
        return [known[question.id] for question in questions]

    def _batch(self, questions: Sequence[Question]) -> list[Answered]:
        conversations: list[list[Message]] = [list(question.history) for question in questions]
        replies: list[list[Written]] = [[] for _ in questions]
        for turn in range(max(len(question.asked) for question in questions)):
            asked = [place for place, question in enumerate(questions) if turn < len(question.asked)]
            for place in asked:
                conversations[place].append({"role": "user", "content": questions[place].asked[turn]})
            for place, found in self._turn(questions, conversations, asked, turn).items():
                replies[place].append(found)
                text = found.reply.text.strip() if found.reply else ""
                conversations[place].append({"role": "assistant", "content": text})
        return [_answered(own) for own in replies]

    def _turn(
        self, questions: Sequence[Question], conversations: Sequence[list[Message]], asked: Sequence[int], turn: int
    ) -> dict[int, Written]:
        """place -> the answer."""
        found: dict[int, Written] = {}
        by_temperature: dict[float, list[int]] = {}
        for place in asked:
            by_temperature.setdefault(self._task.temperature_of(questions[place]), []).append(place)
        for temperature, places in by_temperature.items():
            seeds = [_seed_of(questions[place], turn, self._seed) for place in places]
            written = self._writer(temperature).write([conversations[place] for place in places], seeds)
            found |= zip(places, written, strict=True)
        return found


def _answered(written: Sequence[Written]) -> Answered:
    given = [(read, reply) for read, reply in written if reply is not None]
    return Answered(
        texts=tuple(one.reply.text.strip() if one.reply else "" for one in written),
        read=sum(read for read, _ in given),
        written=sum(reply.tokens for _, reply in given),
        cut=sum(not reply.ended for _, reply in given),
        no_room=len(written) - len(given),
    )


def _seed_of(question: Question, turn: int, seed: int) -> int:
    """Of a drawn answer; it does not depend on the questions around it."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{question.id}:{turn}".encode()).digest()[:8], "big")


def _append(file: Path, found: dict[str, Answered]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        # The line feed first ends what a killed process may have left of a line.
        for name, answered in found.items():
            lines.write("\n" + json.dumps({"id": name, **dataclasses.asdict(answered)}) + "\n")


def _read(file: Path) -> dict[str, Answered]:
    found: dict[str, Answered] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8").split("\n"):
            try:
                value: dict[str, Any] = json.loads(line)
            except json.JSONDecodeError:
                continue  # A blank line, or what a killed process has left of one.
            name, texts = value.pop("id"), tuple(value.pop("texts"))
            found[name] = Answered(texts=texts, **value)
    return found
