"""WildBench's WB-Score (Lin et al. 2024, arXiv:2406.04770): answers to real users, rated with a checklist each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar

from siftune.evaluate.judge_words import conversation, messages_of, rating
from siftune.evaluate.judged import Ask, Judged, JudgedTask, Outcome, Question
from siftune.evaluate.mt_bench import by_category
from siftune.selection.features.endpoint.endpoint_replies import Reply

# What follows tells a number that was cut from a whole one.
SCORE = r'"score"\s*:\s*"?(\d+(?:\.\d+)?)(?="|\s*[,}])'


@dataclass(frozen=True, kw_only=True)
class WildBench(JudgedTask):
    """The mean rating, from 1 to 10, as (rating - 5) * 20: from -80 to 100. A row of the file has id (or session_id),
    conversation_input, checklist and primary_tag, as in allenai/WildBench."""

    slots: ClassVar[tuple[str, ...]] = ("history", "query", "checklist", "answer")
    local_name: ClassVar[str] = "wildbench.jsonl"

    @property
    def metric(self) -> str:
        """-80 to 100."""
        return "wb_score"

    def question_of(self, value: Mapping[str, Any], number: int) -> Question:
        """The conversation's last turn is the question."""
        turns = [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in value["conversation_input"]]
        if not turns or turns[-1]["role"] != "user":
            raise ValueError("conversation_input does not end with the user's turn")
        name = value.get("session_id") or value.get("id") or number
        return Question(
            str(name),
            str(value.get("primary_tag") or "other"),
            (turns[-1]["content"],),
            history=tuple(turns[:-1]),
            material=tuple(map(str, value["checklist"])),
        )

    def asks(self, question: Question, answers: Sequence[str]) -> list[Ask]:
        """One request."""
        texts = {
            "history": conversation(question.history) or "(none)",
            "query": question.asked[0],
            "checklist": "\n".join(f"- {item}" for item in question.material) or "(none)",
            "answer": answers[0],
        }
        return [Ask(messages_of(self.filled_template(), **texts))]

    def verdict(self, reply: Reply, ask: Ask) -> float | str:
        """The score of a JSON object, whatever else the object holds."""
        return rating(reply, SCORE)

    def outcome(self, judged: Sequence[Judged]) -> Outcome:
        """Rescaled, so that 5 of 10 is 0."""
        from siftune.evaluate.conversations import ratio_stderr

        scores = [(one.given[0] - 5) * 20 if one.given else None for one in judged]
        given = [score for score in scores if score is not None]
        value = fmean(given)
        categories = {name: (mean - 5) * 20 for name, mean in by_category(judged).items()}
        return Outcome(
            value=value,
            stderr=ratio_stderr([(score, 1.0) for score in given]),
            # The normalisation of MIG (arXiv:2504.13835): (score + 100) / 2 percent.
            share=(value + 100) / 200,
            values=tuple(scores),
            details={"mean_rating": fmean(one.given[0] for one in judged if one.given)} | categories,
        )
