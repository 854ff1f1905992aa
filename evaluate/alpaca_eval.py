"""AlpacaEval (Li et al. 2023; length-controlled: Dubois et al. 2024, arXiv:2404.04475): answers compared in pairs."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, ClassVar, Literal

from siftune.evaluate.judge_words import QUOTED, messages_of
from siftune.evaluate.judged import Ask, Judged, JudgedTask, Outcome, Question
from siftune.evaluate.judged_files import HUB, beside, identity_of, located
from siftune.evaluate.length_control import FEWEST, controlled
from siftune.evaluate.tasks import EvaluationError
from siftune.selection.features.endpoint.endpoint_replies import Reply

FIRST, SECOND = "m", "M"
"""What the judge calls the answers."""
SEED = 0
"""The package's own, of the coin that says which answer stands first."""


@dataclass(frozen=True, kw_only=True)
class AlpacaEval(JudgedTask):
    """How often the judge prefers the model's answer to the one in the file, between 0 and 1. A row of the file has
    instruction and output, and may have dataset (its category)."""

    slots: ClassVar[tuple[str, ...]] = ("instruction", "output_1", "output_2")
    local_name: ClassVar[str] = "alpaca_eval_gpt4_baseline.json"

    measure: Literal["length_controlled", "win_rate"] = "length_controlled"
    """length_controlled: what the win rate would be if both answers were equally long (AlpacaEval 2)."""
    gamed: str | None = field(default=None, metadata={"identity": False})
    """The published verdicts on longer and shorter answers of the reference model, which steady the regression and have
    each instruction's difficulty: df_gamed.csv of tatsu-lab/alpaca_eval, a file or hub:OWNER/DATASET/FILE. It belongs
    to the 805 instructions in their order. null: the regression has only the length (the package's
    length_controlled_minimal)."""
    preference: Literal["weighted", "binary"] = "weighted"
    """weighted: the probability of the judge's first token (the endpoint must send logprobs); binary: its text."""
    order: Literal["random", "both"] = "random"
    """random: which answer the judge sees first is drawn by a coin of the instruction, the package's own; both: it is
    asked in both orders, and the mean counts."""

    @property
    def per_document(self) -> bool:  # type: ignore[override]
        """A regression over all questions is no mean."""
        return self.measure == "win_rate"

    @property
    def metric(self) -> str:
        """0 to 1."""
        return "length_controlled_win_rate" if self.measure == "length_controlled" else "win_rate"

    @property
    def options(self) -> dict[str, Any]:
        """With the likeliest tokens, where they are needed."""
        return self.judge.options | ({"logprobs": True, "top_logprobs": 5} if self.preference == "weighted" else {})

    def inputs(self) -> dict[str, str]:
        """With the file of the published verdicts."""
        return super().inputs() | ({} if self.gamed is None else {"gamed": identity_of(self.gamed)})

    def in_folder(self, folder: str) -> AlpacaEval:
        """Also with the published verdicts from there."""
        gamed = None if self.gamed is None else beside(folder, self.gamed)
        return replace(self, data=beside(folder, self.data or f"{HUB}{self.local_name}"), gamed=gamed)

    def check(self, limit: int | None) -> None:
        """Also that a regression is possible."""
        super().check(limit)
        if self.measure == "length_controlled":
            count = len(self.questions(limit))
            if count < FEWEST:
                raise EvaluationError(
                    f"a length-controlled win rate needs at least {FEWEST} questions, not {count}: raise the limit, or "
                    "set measure=win_rate"
                )
            if self.gamed is not None:
                located(self.gamed)

    def question_of(self, value: Mapping[str, Any], number: int) -> Question:
        """An instruction with the other model's output."""
        category = str(value.get("dataset") or "all")
        return Question(str(number), category, (str(value["instruction"]),), material=(str(value["output"]),))

    def asks(self, question: Question, answers: Sequence[str]) -> list[Ask]:
        """One request, or both orders; none where the answers are the same."""
        (other,), (own,), (instruction,) = question.material, answers, question.asked
        if own == other:
            return []
        orders = (False, True) if self.order == "both" else (own_first(instruction),)
        found = []
        for swapped in orders:
            first, second = (own, other) if swapped else (other, own)
            texts = {"instruction": instruction, "output_1": first, "output_2": second}
            found.append(Ask(messages_of(self.filled_template(), **texts), swapped))
        return found

    def verdict(self, reply: Reply, ask: Ask) -> float | str:
        """The probability that the model's answer is the better one."""
        second = _weighted(reply) if self.preference == "weighted" else _binary(reply)
        return second if isinstance(second, str) or not ask.swapped else 1 - second

    def outcome(self, judged: Sequence[Judged]) -> Outcome:
        """The measure asked for; the other figures are in the details."""
        from siftune.evaluate.conversations import ratio_stderr

        preferences = [_preference(one) for one in judged]
        known = [(one, value) for one, value in zip(judged, preferences, strict=True) if value is not None]
        given = [value for _, value in known]
        rate, stderr = fmean(given), ratio_stderr([(value, 1.0) for value in given])
        details = {
            "wins": float(sum(value > 0.5 for value in given)),
            "draws": float(sum(value == 0.5 for value in given)),
            "mean_characters": fmean(len(one.answers[0]) for one, _ in known),
            "mean_characters_reference": fmean(len(one.question.material[0]) for one, _ in known),
        }
        value = rate
        if self.measure == "length_controlled":
            details |= {"win_rate": rate} | ({} if stderr is None else {"win_rate_stderr": stderr})
            found = controlled(
                preferences=given,
                surplus=[len(one.question.material[0]) - len(one.answers[0]) for one, _ in known],
                numbers=[int(one.question.id) for one, _ in known],
                gamed=None if self.gamed is None else located(self.gamed),
            )
            value, stderr = found.value, found.stderr
            details["published_stderr"] = found.published_stderr
        return Outcome(value=value, stderr=stderr, share=value, values=tuple(preferences), details=details)


def own_first(instruction: str) -> bool:
    """The coin of the package alpaca_eval 0.6.6 (RandomSwitchTwoColumnsProcessor): whether the model's answer, its
    output_2, stands first."""
    return random.Random(f"is_switched_outputs{instruction}{SEED}").choices([False, True])[0]


def _preference(one: Judged) -> float | None:
    if not one.verdicts:
        return 0.5
    # One order alone would have the bias that both are asked against.
    return fmean(one.given) if len(one.given) == len(one.verdicts) else None


def _weighted(reply: Reply) -> float | str:
    """The share of the second answer's name in the probability of both names."""
    if not reply.first:
        return "the endpoint sends no logprobs, which preference=weighted needs: set preference=binary"
    chances = {FIRST: 0.0, SECOND: 0.0}
    for token, logprob in reply.first.items():
        if token.strip() in chances:
            chances[token.strip()] += math.exp(logprob)
    total = sum(chances.values())
    return chances[SECOND] / total if total else f"no verdict among the likeliest tokens {list(reply.first)}"


def _binary(reply: Reply) -> float | str:
    said = reply.text.strip().strip(".'\"`*")
    if said not in (FIRST, SECOND):
        return f"no verdict in the reply {reply.text[:QUOTED]!r}"
    return float(said == SECOND)
