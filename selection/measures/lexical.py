"""Lexical diversity of a set of texts: type-token ratio and vocd-D (McKee, Malvern and Richards 2000).

Words are those of the package lexicalrichness, so that figures compare: lower case, without digits, hyphens and dashes,
and with the rest of ASCII punctuation as gaps.
"""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from siftune.selection.measures.undefined import UndefinedError

_SIZES = np.arange(35, 51)
"""Words of the samples that vocd-D is fitted to."""
_LEFT_OUT = str.maketrans(dict.fromkeys(string.punctuation, " ") | dict.fromkeys(string.digits + "-–—"))


def words_of(texts: Iterable[str]) -> Iterator[str]:
    """All words of the texts, one text after the other."""
    for text in texts:
        yield from text.lower().translate(_LEFT_OUT).split()


def type_token_ratio(counts: Mapping[str, int]) -> float:
    """Different words by all words, from how often each occurs."""
    return len(counts) / _total(counts, 1)


def expected_ratios(counts: Mapping[str, int], sizes: np.ndarray) -> np.ndarray:
    """(s,) float64: the type-token ratio of so many words drawn at random without replacement, on average.

    A word that occurs f times among T is not in a sample of N with the probability (T - f) ... (T - f - N + 1) by
    T ... (T - N + 1). At N = 42 this is the index HD-D (McCarthy and Jarvis 2007).
    """
    frequencies, words = np.unique(np.fromiter(counts.values(), dtype=np.float64), return_counts=True)
    total, drawn = float(sum(counts.values())), np.arange(sizes.max())
    missing = np.cumprod(np.maximum(total - frequencies[:, None] - drawn, 0.0) / (total - drawn), axis=1)
    return np.asarray(words @ (1 - missing[:, sizes - 1]) / sizes)


def vocd(counts: Mapping[str, int]) -> float:
    """vocd-D: the D whose curve 2 / (1 + sqrt(1 + 2 N / D)) fits the ratios of samples of 35 to 50 words best.

    The ratios are those that random samples have on average, so the result needs no seed. Undefined below 50 words, and
    where no word occurs twice (D is then infinite).
    """
    _require_samples(counts)
    return _fitted(expected_ratios(counts, _SIZES))


def sampled_vocd(words: Sequence[str], *, samples: int, repeats: int, seed: int) -> float:
    """vocd-D by `samples` random samples of every size, the mean of `repeats` fits; drawn as lexicalrichness draws."""
    _require_samples(Counter(words))
    draws = random.Random(seed)
    figures = []
    for _ in range(repeats):
        ratios = [
            np.mean([len(set(draws.sample(words, size))) / size for _ in range(samples)]) for size in _SIZES.tolist()
        ]
        figures.append(_fitted(np.array(ratios)))
    return float(np.mean(figures))


def _fitted(ratios: np.ndarray) -> float:
    from scipy.optimize import least_squares

    if ratios.min() == 1:
        raise UndefinedError("no sample of 50 words has a word twice: vocd-D is infinite")
    # D of the longest sample alone, to begin with; the fit is of log D, which cannot leave the curve's domain.
    last = min(float(ratios[-1]), 1 - 1e-12)
    start = np.log(_SIZES[-1] * last**2 / (2 * (1 - last)))
    found = least_squares(
        lambda log: 2 / (1 + np.sqrt(1 + 2 * _SIZES / np.exp(log))) - ratios, start, xtol=1e-14, ftol=1e-14, gtol=1e-14
    )
    return float(np.exp(found.x[0]))


def _require_samples(counts: Mapping[str, int]) -> None:
    total = _total(counts, int(_SIZES[-1]))
    if len(counts) == total:
        raise UndefinedError("no word occurs twice: vocd-D is infinite")


def _total(counts: Mapping[str, int], least: int) -> int:
    total = sum(counts.values())
    if total < least:
        have = "no words" if not total else f"{total} word{'s' if total > 1 else ''}"
        raise UndefinedError(f"the texts have {have}" + (f", and {least} are needed" if least > 1 else ""))
    return total
