"""A judged task from its questions to its result: answers, verdicts, the mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from siftune.evaluate.answering import Answered, Answerer
from siftune.evaluate.backends.running import Running
from siftune.evaluate.judged import Ask, Judged, JudgedTask, Question
from siftune.evaluate.kept_replies import KeptReplies
from siftune.evaluate.results import TaskResult
from siftune.evaluate.tasks import EvaluationError
from siftune.selection.features.endpoint.endpoint_errors import Refusal
from siftune.selection.features.endpoint.endpoint_replies import Reply
from siftune.selection.files import write_whole

SHOWN = 3
"""Replies without a verdict that an error tells of."""


class JudgedRun:
    """A judged task whose questions were read."""

    def __init__(self, name: str, task: JudgedTask, questions: Sequence[Question]) -> None:
        self._name, self._task, self._questions = name, task, questions

    def evaluate(self, running: Running, folder: Path, verdicts: Path, seed: int) -> TaskResult:
        """Answer the questions and have the answers judged; both go on where a killed call was.

        folder/answers/<name>.jsonl has the answers as they come (those of an endpoint are kept with its replies),
        folder/samples/<name>.jsonl at the end one line a question in the form of lm-eval's; `verdicts` is a folder of
        judges' replies that evaluations share.
        EvaluationError where too many replies hold no verdict.
        """
        count = len(self._questions)
        with tqdm(total=count, desc=f"Answering {self._name}") as bar:
            answerer = Answerer(running.writer, self._task, seed)
            file = None if running.keeps_replies else folder / "answers" / f"{self._name}.jsonl"
            answered = answerer.answers(self._questions, file, bar.update)
        judged, asks, usage = self._judge(answered, verdicts)
        self._check(judged)
        outcome = self._task.outcome(judged)
        details = {
            **outcome.details,
            "verdicts": float(sum(len(one.given) for one in judged)),
            "malformed": float(sum(len(one.verdicts) - len(one.given) for one in judged)),
            "answers_cut": float(sum(one.cut for one in answered)),
            "answers_without_room": float(sum(one.no_room for one in answered)),
            **usage,
        }
        written = {"read": sum(one.read for one in answered), "written": sum(one.written for one in answered)}
        samples = self._samples(judged, asks, outcome.values)
        write_whole(folder / "samples" / f"{self._name}.jsonl", "".join(samples))
        return TaskResult(
            name=self._name,
            metric=self._task.metric,
            value=outcome.value,
            stderr=outcome.stderr,
            higher_is_better=True,
            samples=sum(value is not None for value in outcome.values),
            details=details,
            tokens=written | {"predicted": sum(len(one.texts) - one.no_room for one in answered)},
            share=outcome.share,
        )

    def _judge(
        self, answered: Sequence[Answered], folder: Path
    ) -> tuple[list[Judged], list[list[Ask]], dict[str, float]]:
        asks = [
            self._task.asks(question, answers.texts)
            for question, answers in zip(self._questions, answered, strict=True)
        ]
        flat = [ask for own in asks for ask in own]
        known = KeptReplies(folder, self._task.judge.endpoint, self._task.options)
        with tqdm(total=len(flat), desc=f"Judging {self._name}") as bar:
            replies, usage = known.replies([ask.messages for ask in flat], bar.update)
        left = iter(replies)
        judged = [
            Judged(question, answers.texts, tuple(self._verdict(next(left), ask) for ask in own))
            for question, answers, own in zip(self._questions, answered, asks, strict=True)
        ]
        return judged, asks, usage

    def _verdict(self, reply: Reply | Refusal, ask: Ask) -> float | str:
        return (
            f"the judge's endpoint refuses: {reply.why}"
            if isinstance(reply, Refusal)
            else self._task.verdict(reply, ask)
        )

    def _check(self, judged: Sequence[Judged]) -> None:
        """EvaluationError for too many replies without a verdict, or for none with one."""
        without = [
            f"question {one.question.id}: {verdict}"
            for one in judged
            for verdict in one.verdicts
            if isinstance(verdict, str)
        ]
        total, allowed = sum(len(one.verdicts) for one in judged), self._task.judge.max_malformed
        if without and (len(without) > allowed * total or len(without) == total):
            raise EvaluationError(
                f"{len(without):,} of {total:,} replies of the judge {self._task.judge.endpoint.model} hold no verdict "
                f"(at most {allowed:g} of them may): {'; '.join(without[:SHOWN])}. Another judge or template may do; "
                f"with evaluate.tasks.{self._name}.judge.max_malformed=SHARE they are left out of the mean. Replies "
                "are kept: what was paid for is not asked again"
            )

    def _samples(
        self, judged: Sequence[Judged], asks: Sequence[Sequence[Ask]], values: Sequence[float | None]
    ) -> Iterator[str]:
        for number, (one, own, value) in enumerate(zip(judged, asks, values, strict=True)):
            yield json.dumps(self._sample(number, one, own, value), ensure_ascii=False) + "\n"

    def _sample(self, number: int, one: Judged, asks: Sequence[Ask], value: float | None) -> dict[str, Any]:
        """As lm-eval keeps a document, so that two models' answers can be compared."""
        question = one.question
        document = {
            "id": question.id,
            "category": question.category,
            "turns": question.asked,
            "material": question.material,
        }
        prompt = "\n\n".join([*(turn["content"] for turn in question.history), *question.asked])
        settings = {
            "temperature": self._task.temperature_of(question),
            "max_new_tokens": self._task.decoding.max_new_tokens,
        }
        text = "\n---\n".join(one.answers)
        sample = {
            "task": self._name,
            "doc_id": number,
            "doc": document,
            "target": "",
            "arguments": [[prompt, settings]],
            "resps": [[text]],
            "filtered_resps": [text],
            "filter": "none",
            "metrics": [self._task.metric],
            "doc_hash": _hash(document),
            "prompt_hash": _hash(prompt),
            "target_hash": _hash(""),
            "judged": [
                {"asked": ask.messages, "verdict": verdict} for ask, verdict in zip(asks, one.verdicts, strict=True)
            ],
        }
        if not self._task.per_document:
            # No number of one question makes the value, which readers of samples can tell from a metric without one.
            return sample | {"win_rate": value, self._task.metric: None}
        return sample if value is None else sample | {self._task.metric: value}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
