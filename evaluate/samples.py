"""Reading the records of an evaluation's documents: what each was asked, and what the answer counts for."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

RATIOS = {"nats_per_byte": 1, "bits_per_byte": -1, "byte_perplexity": -1, "word_perplexity": -1}
"""Metrics that are a sum over a sum: a document's record is a pair. -1: it is of log likelihoods, not of losses."""
CORPUS = ("bleu", "chrf", "chrf++", "ter")
"""Metrics of all texts together: a document's record is its reference and the model's text."""


class SampleError(ValueError):
    """Records of documents that are not there, or not what is needed; the message names the file."""


class NotPerDocumentError(SampleError):
    """A metric to which no single document gives a number."""


@dataclass(frozen=True)
class Identity:
    """Which document of a task this is."""

    task: str
    """lm-eval's name of the task, one of several in a group."""
    doc: str
    """Digest of the document (lm-eval's doc_hash)."""
    target: str
    """Digest of the answer that it wants (lm-eval's target_hash)."""
    repeat: int
    """0, unless the task has the same document more than once."""


@dataclass(frozen=True)
class Answer:
    """One document's line in a file of samples, as far as it is compared."""

    value: float
    """What the answer counts for, e.g. 1 where it is right; of a ratio its numerator, the document's loss in nats."""
    weight: float
    """1; of a ratio its denominator, the document's length."""
    prompt: str
    """Digest of the prompt (lm-eval's prompt_hash)."""
    request: str
    """Digest of everything that the model was asked: prompts, options, settings of the generation."""
    offset: int
    """Where the line starts in the file, in bytes."""


def read_answers(path: Path, metric: str, filter_name: str) -> dict[Identity, Answer]:
    """The answers in a file of samples after one filter, in its order; SampleError where there is none."""
    found: dict[Identity, Answer] = {}
    seen: Counter[tuple[str, str, str]] = Counter()
    offset = 0
    try:
        with path.open("rb") as file:
            for line in file:
                sample = json.loads(line)
                if sample["filter"] == filter_name and metric in sample:
                    key = (sample["task"], sample["doc_hash"], sample["target_hash"])
                    found[Identity(*key, seen[key])] = _answer(sample, metric, offset)
                    seen[key] += 1
                offset += len(line)
    except FileNotFoundError as error:
        raise SampleError(
            f"{path} does not exist: an evaluation keeps there what it found for every document"
        ) from error
    except KeyError as error:
        raise SampleError(f"{path} is not a file of lm-eval's samples: a line has no {error}") from error
    except json.JSONDecodeError as error:
        raise SampleError(f"{path} is not a file of lm-eval's samples: {error}") from error
    if not found:
        raise SampleError(f"{path} has no document with {metric!r} after the filter {filter_name!r}")
    return found


def read_sample(path: Path, offset: int) -> dict[str, Any]:
    """The whole line that starts at `offset`."""
    with path.open("rb") as file:
        file.seek(offset)
        sample: dict[str, Any] = json.loads(file.readline())
    return sample


def score(metric: str, mean: np.ndarray) -> np.ndarray:
    """Scores of a task from (r,) means of its documents' values, or ratios of their sums."""
    if metric == "bits_per_byte":
        return mean / math.log(2)
    return np.exp(mean) if metric.endswith("perplexity") else mean


def prompt_of(sample: Mapping[str, Any]) -> str:
    """What the model was given, examples and template included."""
    return str(sample["arguments"][0][0])


def output_of(sample: Mapping[str, Any], metric: str) -> str | None:
    """What the model wrote, or which of the options it holds for the likeliest; None where it only read."""
    first = sample["resps"][0]
    if isinstance(first[0], str):
        return "\n---\n".join(map(str, first))
    options = _options(sample)
    if len(options) < 2:
        return None
    # acc_norm divides by the option's length, as lm-eval does.
    lengths = [len(option.lstrip()) or 1 if metric == "acc_norm" else 1 for option in options]
    likelihoods = [resps[0][0] / length for resps, length in zip(sample["resps"], lengths, strict=True)]
    return options[max(range(len(options)), key=likelihoods.__getitem__)].strip()


def target_of(sample: Mapping[str, Any]) -> str:
    """The answer that the document wants; of options the text."""
    target, options = sample["target"], _options(sample)
    if isinstance(target, int) and 0 <= target < len(options):
        return options[target].strip()
    return target if isinstance(target, str) else json.dumps(target, ensure_ascii=False)


def answer_of(sample: Mapping[str, Any]) -> str | None:
    """What the filter made of the text that the model wrote; None where it wrote none."""
    if not isinstance(sample["resps"][0][0], str):
        return None
    answer = sample["filtered_resps"][0]
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def _options(sample: Mapping[str, Any]) -> list[str]:
    """The texts between which the model chose; none where it wrote one."""
    asked = [arguments[1] for arguments in sample["arguments"] if len(arguments) > 1]
    chosen = len(asked) == len(sample["resps"]) and all(isinstance(text, str) for text in asked)
    return asked if chosen else []


def _answer(sample: Mapping[str, Any], metric: str, offset: int) -> Answer:
    value, weight = _measured(metric, sample[metric])
    asked = json.dumps(sample["arguments"], sort_keys=True, ensure_ascii=False)
    request = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
    return Answer(value, weight, sample["prompt_hash"], request, offset)


def _measured(metric: str, value: Any) -> tuple[float, float]:
    if metric in RATIOS:
        return RATIOS[metric] * float(value[0]), float(value[1])
    if metric == "perplexity":
        return -float(value), 1.0
    if metric in CORPUS:
        return _alone(metric, value), 1.0
    if isinstance(value, (bool, int, float)):
        return float(value), 1.0
    if isinstance(value, list) and value and all(isinstance(item, bool) for item in value):
        # One answer to several questions: IFEval's instructions.
        return float(sum(value)), float(len(value))
    raise NotPerDocumentError(f"{metric} is computed from all documents together, and no number of a single one")


def _alone(metric: str, value: Sequence[Any]) -> float:
    """The metric of one text."""
    from lm_eval.api.registry import get_aggregation

    aggregate = get_aggregation(metric)
    assert aggregate is not None
    return float(aggregate([tuple(value)]))
