"""The tasks on held-out conversations, in the form that lm-eval's harness runs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task
from lm_eval.config.task import TaskConfig
from lm_eval.filters import build_filter_ensemble
from transformers import PreTrainedTokenizerBase

from siftune.evaluate.scored import ResponseScore, Span
from siftune.evaluate.tasks import EvaluationError
from siftune.finetune.chat import Rendered, end_of_turn, render, render_prompt
from siftune.selection.pool.rows import Row, says_something


class ConversationTask(Task):
    """One request a row; the documents are the rows themselves."""

    VERSION = 1

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        # Not Task.__init__, which would download a data set. The output type only tells lm-eval to expect no
        # generation settings in the config.
        self._config = TaskConfig(task=name, output_type="loglikelihood", num_fewshot=0)
        self._filters = [build_filter_ensemble("none", [["take_first", None]])]
        self._instances: list[Instance] | None = None
        self._docs = [{"id": row.id, "source": row.source, "messages": row.messages} for row in rows]
        self._targets = {row.id: row.response() for row in rows}

    def has_training_docs(self) -> bool:
        """Held-out rows are the test split."""
        return False

    def has_validation_docs(self) -> bool:
        """Held-out rows are the test split."""
        return False

    def has_test_docs(self) -> bool:
        """Held-out rows are the test split."""
        return True

    def test_docs(self) -> list[dict[str, Any]]:
        """The rows."""
        return self._docs

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        """The final response."""
        return self._targets[doc["id"]]

    def build_all_requests(self, **settings: Any) -> None:
        """The rows' requests. Limit and template are settled before: the harness's settings do not apply."""
        self._instances = [self.construct_requests(doc, "", index=index) for index, doc in enumerate(self._docs)]

    def construct_requests(self, doc: dict[str, Any], ctx: str, *, index: int = 0, **kwargs: Any) -> Instance:
        """The request of the row at `index`; its context is the row's own, not `ctx`."""
        return Instance(
            request_type=self.request_type,
            doc=doc,
            arguments=self.arguments(doc),
            idx=0,
            metadata=(self.config.task, index, 1),
        )

    request_type: str

    @abstractmethod
    def arguments(self, doc: dict[str, Any]) -> tuple[Any, ...]:
        """What the model is asked."""


class ResponseLossTask(ConversationTask):
    """Nats per byte of the responses."""

    request_type = "response_loglikelihood"

    def __init__(self, name: str, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(name, rows)
        self._arguments: dict[str, tuple[str, tuple[Span, ...]]] = {}
        for row in rows:
            rendered = render(tokenizer, row.messages)
            self._arguments[row.id] = rendered.text, response_spans(rendered, row)

    def arguments(self, doc: dict[str, Any]) -> tuple[Any, ...]:
        """The conversation and the character spans of its responses."""
        return self._arguments[doc["id"]]

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        """The conversation as the model sees it."""
        return self._arguments[doc["id"]][0]

    def process_results(self, doc: dict[str, Any], results: Sequence[ResponseScore]) -> dict[str, Any]:
        """A row's nats and bytes."""
        score = results[0]
        return {
            "nats_per_byte": (score.nats, score.bytes),
            "nats_per_document": score.nats,
            "truncated": int(score.truncated),
        }

    def aggregation(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        """A ratio of sums; a mean; a count."""
        return {"nats_per_byte": ratio, "nats_per_document": mean, "truncated": sum}

    def higher_is_better(self) -> dict[str, bool]:
        """Losses."""
        return {"nats_per_byte": False, "nats_per_document": False, "truncated": False}


class ExactMatchTask(ConversationTask):
    """The share of final responses written exactly."""

    request_type = "generate_until"

    def __init__(
        self, name: str, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, *, max_new_tokens: int
    ) -> None:
        super().__init__(name, rows)
        self._prompts = {row.id: render_prompt(tokenizer, row.prompt_messages()) for row in rows}
        self._settings = {"until": [end_of_turn(tokenizer)], "max_gen_toks": max_new_tokens, "do_sample": False}

    def arguments(self, doc: dict[str, Any]) -> tuple[Any, ...]:
        """The prompt and how to generate."""
        return self._prompts[doc["id"]], {**self._settings, "temperature": 0.0}

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        """The prompt as the model sees it."""
        return self._prompts[doc["id"]]

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        """Whether the text is the response."""
        return {"exact_match": float(results[0].strip() == self.doc_to_target(doc).strip())}

    def aggregation(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        """A mean."""
        return {"exact_match": mean}

    def higher_is_better(self) -> dict[str, bool]:
        """A score."""
        return {"exact_match": True}


def response_spans(rendered: Rendered, row: Row) -> tuple[Span, ...]:
    """Where the text of each response lies in the rendered conversation, without the template's markup."""
    turns = [message for message in row.messages if message["role"] == "assistant"]
    spans = []
    for message, (start, end) in zip(turns, rendered.assistant_spans, strict=True):
        if not says_something(message):
            continue
        text = message["content"].strip()
        at = rendered.text.find(text, start, end)
        if at < 0:
            raise EvaluationError(
                f"row {row.id}: the chat template rewrites the response {text[:60]!r}, so its loss cannot be measured. "
                "Choose another template, e.g. model.chat_template=chatml"
            )
        spans.append((at, at + len(text)))
    return tuple(spans)


def ratio(items: Sequence[tuple[float, float]]) -> float:
    """Sum of the first entries over the sum of the second."""
    return sum(first for first, _ in items) / sum(second for _, second in items)


def ratio_stderr(items: Sequence[tuple[float, float]]) -> float | None:
    """Standard error of a ratio of sums over documents, by linearisation (Cochran, Sampling Techniques, 2.11)."""
    n = len(items)
    if n < 2:
        return None
    value, total = ratio(items), sum(second for _, second in items)
    squares = sum((first - value * second) ** 2 for first, second in items)
    return math.sqrt(squares * n / (n - 1)) / total
