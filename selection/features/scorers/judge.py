"""A score by a language model behind an OpenAI-compatible endpoint, which is asked to rate each row's answer."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.endpoint.endpoint_client import OpenEndpoint
from siftune.selection.features.endpoint.endpoint_errors import Refusal
from siftune.selection.features.endpoint.endpoint_replies import Reply
from siftune.selection.features.scorers.scorer import OpenScorer, ScoredBlock
from siftune.selection.pool.rows import Message, Row

SLOTS = ("{prompt}", "{response}")
VERDICT = (
    r"(?i)\A[\s*\[(]*(?:(?:my|your|the|overall) )?(?:rating|score)(?: is)?\s*[:=]?[\s*\[(]*"
    r"(\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*10)?[\])*.]*[ \t\r]*(?:\n|\Z)"
)
"""A first line of the form Rating: 7 (7.5, 7/10, [[7]], **Rating:** 7, My rating is 7). A number alone is none: weak
judges answer the row's question, often by a number, in place of rating its answer."""
QUOTED = 80
"""Characters of a reply without a verdict that its reason quotes."""
CUT = " [...] "


@dataclass(frozen=True, kw_only=True)
class JudgeScorer:
    """A rating by a chat model: 1 to 10 as in Diversify and Conquer (arXiv 2409.11378), or what the template asks for.

    What is rated is a row's final answer, given all that was said before it; earlier answers of a conversation are part
    of its prompt, with each turn's speaker named. A reply that is not the verdict asked for gives no value, and the
    row's reason quotes it: nothing is guessed.
    """

    shard_rows: ClassVar[int] = 64
    """Rows whose replies are at most paid for twice after a kill."""

    name: str = field(metadata={"identity": False})
    """Shown in folder names and tables."""
    endpoint: Endpoint
    """The judge and where it is."""
    template: str
    """What it is asked, as one user message; {prompt} and {response} stand for the row's."""
    score: str = "judge"
    """Name of the score."""
    verdict: str = VERDICT
    """Regular expression whose one group is the rating. A reply in which it does not match, or matches with several
    values, has no verdict. The default is strict; for a judge that reasons first: '(?i)rating: *(\\d+)'."""
    lowest: float = 1.0
    """Ratings below are no verdict."""
    highest: float = 10.0
    """Ratings above are no verdict."""
    temperature: float | None = 0.0
    """Of the reply's sampling; null leaves it to the endpoint (OpenAI's reasoning models take no other value)."""
    max_tokens: int | None = 16
    """Of the reply; null leaves it to the endpoint. Judges that reason first need hundreds."""
    max_characters: int | None = 16000
    """Of prompt and response together; null: no limit."""
    too_long: Literal["cut", "refuse"] = "cut"
    """Rows beyond it. cut: the prompt's middle and the response's end are left out, marked by [...], and the row is
    counted as truncated; each part may have half, and what the other leaves. refuse: no value, with a reason."""

    def __post_init__(self) -> None:
        missing = [slot for slot in SLOTS if slot not in self.template]
        if missing:
            raise ValueError(f"scorer.template lacks {' and '.join(missing)}: the judge would not see it")
        if not re.fullmatch(r"\w+", self.score):
            raise ValueError(f"scorer.score={self.score!r} must be a name of letters, digits and underscores")
        try:
            groups = re.compile(self.verdict).groups
        except re.error as error:
            raise ValueError(f"scorer.verdict={self.verdict!r} is not a regular expression: {error}") from error
        if groups != 1:
            raise ValueError(f"scorer.verdict={self.verdict!r} must have one group, the rating; it has {groups}")
        if not self.lowest < self.highest:
            raise ValueError(f"scorer.lowest={self.lowest} must be below scorer.highest={self.highest}")
        for name, least in (("temperature", 0), ("max_tokens", 1), ("max_characters", 2 * len(CUT))):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"scorer.{name}={value} must be at least {least}")

    @property
    def model(self) -> None:
        """None: the endpoint has the model."""
        return None

    @property
    def provides(self) -> tuple[str, ...]:
        """The one score."""
        return (self.score,)

    def only(self, names: Collection[str]) -> JudgeScorer:
        """Itself: it has one score."""
        return self

    def inputs(self) -> dict[str, str]:
        """Nothing: the judge's name is in the config, and its weights cannot be seen from here."""
        return {}

    def open(self, reference: ModelRef | None) -> OpenScorer:
        """Look whether the endpoint is there; `reference` is not used."""
        return OpenJudge(self, self.endpoint.open())


class OpenJudge:
    """A judge whose endpoint was found to be there."""

    def __init__(self, config: JudgeScorer, client: OpenEndpoint) -> None:
        self.provides = config.provides
        self._config = config
        self._client = client
        self._verdict = re.compile(config.verdict)

    def score(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> ScoredBlock:
        """(n, 1) ratings; as many requests at a time as the endpoint's `concurrency` says."""
        asked: dict[int, list[Message]] = {}
        reasons: dict[int, str] = {}
        truncated = 0
        for i, row in enumerate(rows):
            prompt, response = exchange(row)
            length, limit = len(prompt) + len(response), self._config.max_characters
            if limit is not None and length > limit:
                if self._config.too_long == "refuse":
                    reasons[i] = f"{length:,} characters are more than scorer.max_characters={limit}"
                    continue
                prompt, response = shortened(prompt, response, limit)
                truncated += 1
            asked[i] = [{"role": "user", "content": filled(self._config.template, prompt, response)}]
        progress(len(reasons))
        replies, usage = self._client.chat(list(asked.values()), self._options(), progress)
        values = np.full((len(rows), 1), np.nan)
        malformed = 0
        for i, reply in zip(asked, replies, strict=True):
            rating = self._rating(reply)
            if isinstance(rating, str):
                reasons[i] = rating
                malformed += isinstance(reply, Reply)
            else:
                values[i] = rating
        tokens = int(usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0))
        usage = usage | ({"malformed": float(malformed)} if malformed else {})
        return ScoredBlock(values, reasons, truncated, tokens, tokens, usage)

    def _options(self) -> dict[str, Any]:
        options = {"temperature": self._config.temperature, "max_tokens": self._config.max_tokens}
        return {name: value for name, value in options.items() if value is not None}

    def _rating(self, reply: Reply | Refusal) -> float | str:
        """The rating, or why there is none."""
        if isinstance(reply, Refusal):
            return f"the endpoint refuses the row: {reply.why}"
        quoted = repr(reply.text[:QUOTED])
        found = list(self._verdict.finditer(reply.text))
        try:
            ratings = {float(match[1]) for match in found}
        except (TypeError, ValueError):
            # A pattern of one's own may match what is no number, or match without its group.
            ratings = set()
        if not ratings:
            return f"no verdict in the judge's reply {quoted}"
        if len(ratings) > 1:
            return f"several verdicts in the judge's reply {quoted}"
        if reply.cut and found[-1].end(1) == len(reply.text):
            # A 1 may be what there is of a 10.
            return f"the judge's reply was cut at {self._config.max_tokens} tokens, in its verdict: {quoted}"
        (rating,) = ratings
        if not self._config.lowest <= rating <= self._config.highest:
            return f"the judge's verdict is not from {self._config.lowest:g} to {self._config.highest:g}: {quoted}"
        return rating


def exchange(row: Row) -> tuple[str, str]:
    """What was asked, and the final answer: one that says nothing, where the conversation ends in such a one."""
    last = row.messages[-1]
    if last["role"] == "assistant" and not last["content"].strip() and not last.get("tool_calls"):
        return _told(row.messages[:-1]), ""
    return prompt_of(row), row.response()


def prompt_of(row: Row) -> str:
    """All that was said before the final answer: the user's words, or several turns with their speakers named."""
    return _told(row.prompt_messages())


def _told(messages: Sequence[Message]) -> str:
    turns = [turn for turn in messages if turn["content"]]
    if [turn["role"] for turn in turns] == ["user"]:
        return str(turns[0]["content"])
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)


def filled(template: str, prompt: str, response: str) -> str:
    """The template with its slots filled at once: a row that says {response} is left as it is."""
    texts = dict(zip(SLOTS, (prompt, response), strict=True))
    return re.sub("|".join(map(re.escape, SLOTS)), lambda slot: texts[slot[0]], template)


def shortened(prompt: str, response: str, limit: int) -> tuple[str, str]:
    """Both cut to `limit` characters together: the prompt in its middle, as its task may come first or last."""
    room = max(limit - len(response), limit // 2)
    if len(prompt) > room:
        kept = room - len(CUT)
        prompt = prompt[: kept - kept // 2] + CUT + prompt[len(prompt) - kept // 2 :]
    room = limit - len(prompt)
    return prompt, response if len(response) <= room else response[: room - len(CUT)] + CUT
