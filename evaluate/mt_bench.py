"""MT-Bench (Zheng et al. 2023, arXiv:2306.05685): two turns, each answer rated from 1 to 10 by itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, ClassVar

from siftune.evaluate.judge_words import conversation, messages_of, rating
from siftune.evaluate.judged import Ask, Judged, JudgedTask, Outcome, Question
from siftune.selection.features.endpoint.endpoint_replies import Reply
from siftune.selection.pool.rows import Message

RATING = r"\[\[(\d+(?:\.\d+)?)\]\]"
SINGLE = r"\[(\d+(?:\.\d+)?)\]"
"""What FastChat looks for where there are no double brackets."""


@dataclass(frozen=True, kw_only=True)
class MTBench(JudgedTask):
    """The mean rating of both turns' answers. A row of the file has question_id, category, turns, and reference where
    there are reference answers."""

    slots: ClassVar[tuple[str, ...]] = ("conversation",)
    local_name: ClassVar[str] = "mt_bench_questions.jsonl"

    reference_template: str
    """What the judge is asked where a question of `with_reference` has reference answers."""
    with_reference: tuple[str, ...] = ("math", "coding", "reasoning")
    """Categories whose reference answers the judge sees. FastChat: these three."""
    temperatures: Mapping[str, float] = field(default_factory=dict)
    """Category -> temperature of the model's answers; the others have that of `decoding`. FastChat: 0.7 for writing and
    roleplay, 0.1 for stem and humanities, else 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_template("reference_template", self.reference_template, ("conversation", "reference"))
        for category, temperature in self.temperatures.items():
            if temperature < 0:
                raise ValueError(f"temperatures.{category}={temperature} must not be negative")

    @property
    def metric(self) -> str:
        """1 to 10."""
        return "rating"

    def temperature_of(self, question: Question) -> float:
        """By the question's category."""
        return self.temperatures.get(question.category, self.decoding.temperature)

    def question_of(self, value: Mapping[str, Any], number: int) -> Question:
        """A question of FastChat's question.jsonl."""
        reference = tuple(value.get("reference") or ())
        turns, category = tuple(value["turns"]), str(value["category"])
        if category not in self.with_reference or len(reference) < len(turns):
            reference = ()
        return Question(str(value["question_id"]), category, turns, material=reference)

    def asks(self, question: Question, answers: Sequence[str]) -> list[Ask]:
        """One request a turn; the judge sees the conversation up to it."""
        turns: list[Message] = []
        found = []
        for number, (asked, answer) in enumerate(zip(question.asked, answers, strict=True), start=1):
            turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            shown = {"conversation": conversation(turns)}
            if question.material:
                known = zip(question.asked[:number], question.material[:number], strict=True)
                pairs = [
                    {"role": role, "content": text} for q, a in known for role, text in (("user", q), ("reference", a))
                ]
                found.append(Ask(messages_of(self.reference_template, reference=conversation(pairs), **shown)))
            else:
                found.append(Ask(messages_of(self.filled_template(), **shown)))
        return found

    def verdict(self, reply: Reply, ask: Ask) -> float | str:
        """[[7]] as it was asked for, or [7] where there are no double brackets; FastChat reads both."""
        return rating(reply, RATING if re.search(RATING, reply.text) else SINGLE)

    def outcome(self, judged: Sequence[Judged]) -> Outcome:
        """The mean over all answers; the standard error takes the turns of a question together."""
        from siftune.evaluate.conversations import ratio, ratio_stderr

        sums = [(sum(one.given), float(len(one.given))) for one in judged if one.given]
        details = {}
        for turn in range(max(len(one.verdicts) for one in judged)):
            ratings = [one.verdicts[turn] for one in judged if turn < len(one.verdicts)]
            given = [verdict for verdict in ratings if not isinstance(verdict, str)]
            if given:
                details[f"turn_{turn + 1}"] = fmean(given)
        value = ratio(sums)
        return Outcome(
            value=value,
            stderr=ratio_stderr(sums),
            share=value / 10,
            values=tuple(fmean(one.given) if one.given else None for one in judged),
            details=details | by_category(judged),
        )


def by_category(judged: Sequence[Judged]) -> dict[str, float]:
    """category.NAME -> the mean of the verdicts on its questions, as the value is that of all."""
    found: dict[str, list[float]] = {}
    for one in judged:
        found.setdefault(one.question.category, []).extend(one.given)
    return {f"category.{name}": fmean(values) for name, values in sorted(found.items()) if values}
