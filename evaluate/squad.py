"""SQuAD's token F1, for the task that siftune ships (definitions/siftune_squad.yaml)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """lm-eval's hook: the best F1 over the accepted answers, between 0 and 1."""
    return {"f1": max(token_f1(results[0], answer) for answer in doc["answers"]["text"])}


def token_f1(prediction: str, answer: str) -> float:
    """Harmonic mean of the precision and recall of words, as in the official evaluation script of SQuAD 1.1."""
    predicted, wanted = _words(prediction), _words(answer)
    shared = sum((Counter(predicted) & Counter(wanted)).values())
    return 2 * shared / (len(predicted) + len(wanted)) if shared else 0.0


def _words(text: str) -> list[str]:
    """Lower case, without punctuation and articles."""
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()
