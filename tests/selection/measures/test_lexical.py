"""Lexical diversity: by hand, and the figures of the package lexicalrichness 0.5.1."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from siftune.selection.measures.lexical import expected_ratios, sampled_vocd, type_token_ratio, vocd, words_of
from siftune.selection.measures.undefined import UndefinedError

TEXTS = [
    f"It isn't {['cats', 'dogs', 'mice'][i % 3]} {i} that non-stop chase word{chr(97 + i * 7 % 26)} "
    f"– or {['red', 'blue'][i % 2]} ones, {chr(97 + i * i % 26) * 2}!"
    for i in range(20)
]


def test_words_have_neither_digits_nor_dashes_nor_case() -> None:
    assert list(words_of(["Don't re-use 3x the x4, Éa_b!", "", "12 - 34"])) == [
        "don",
        "t",
        "reuse",
        "x",
        "the",
        "x",
        "éa",
        "b",
    ]


def test_type_token_ratio_by_hand() -> None:
    assert type_token_ratio(Counter("abca")) == 3 / 4


def test_expected_ratios_are_the_mean_over_all_samples() -> None:
    # Of the six pairs out of a, a, b, c five have two different words.
    np.testing.assert_allclose(expected_ratios(Counter("aabc"), np.array([1, 2, 4])), [1, (5 * 2 + 1) / 6 / 2, 3 / 4])


def test_figures_of_lexicalrichness() -> None:
    words = list(words_of(TEXTS))
    counts = Counter(words)
    assert (len(words), len(counts)) == (240, 47)
    assert type_token_ratio(counts) == pytest.approx(0.19583333333333333, rel=1e-12)
    # Its hdd() for 35, 42 and 50 draws, and vocd() by default and of fewer samples.
    hdd = [0.48499924819596857, 0.4422660592117562, 0.40421030806528635]
    np.testing.assert_allclose(expected_ratios(counts, np.array([35, 42, 50])), hdd, rtol=1e-10)
    assert sampled_vocd(words, samples=100, repeats=3, seed=42) == pytest.approx(7.400567083276083, rel=1e-6)
    assert sampled_vocd(words, samples=20, repeats=2, seed=7) == pytest.approx(7.2849806737975005, rel=1e-6)


def test_an_installed_lexicalrichness_agrees() -> None:
    lexicalrichness = pytest.importorskip("lexicalrichness", reason="compares with the package lexicalrichness")
    lex, words = lexicalrichness.LexicalRichness(" ".join(TEXTS)), list(words_of(TEXTS))
    assert type_token_ratio(Counter(words)) == pytest.approx(lex.ttr, rel=1e-12)
    assert sampled_vocd(words, samples=30, repeats=1, seed=5) == pytest.approx(
        lex.vocd(within_sample=30, iterations=1, seed=5), rel=1e-5
    )


@pytest.mark.parametrize("diversity", [2.0, 40.0, 300.0])
def test_many_samples_tend_to_the_expectation(diversity: float) -> None:
    rng = np.random.default_rng(0)
    words = [str(word) for word in rng.zipf(1 + 20 / (diversity + 20), 600)]
    assert sampled_vocd(words, samples=400, repeats=3, seed=0) == pytest.approx(vocd(Counter(words)), rel=0.03)


def test_vocd_by_hand() -> None:
    # One word alone: TTR(N) = 1 / N, which the curve 2 / (1 + sqrt(1 + 2 N / D)) meets at D = 1 / (2 (N - 1)).
    assert 1 / (2 * 49) < vocd(Counter(a=60)) < 1 / (2 * 34)
    more = [vocd(Counter({str(i): 100 for i in range(kinds)})) for kinds in (2, 10, 100, 1000)]
    assert more == sorted(more)
    # The order of the texts and the seed do not matter; twice the text hardly does.
    counts = Counter(words_of(TEXTS))
    assert vocd(counts) == vocd(Counter(words_of(reversed(TEXTS))))
    assert vocd(Counter({word: 2 * count for word, count in counts.items()})) == pytest.approx(vocd(counts), rel=0.1)


def test_a_vocabulary_of_millions() -> None:
    counts = Counter({f"w{i}": 1 + 10**7 // (i + 1) for i in range(100_000)})
    assert 10 < vocd(counts) < 1000


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({}, "the texts have no words"),
        ({"a": 1}, "the texts have 1 word, and 50 are needed"),
        ({"a": 49}, "the texts have 49 words, and 50 are needed"),
        ({str(i): 1 for i in range(80)}, "no word occurs twice"),
    ],
)
def test_sets_without_a_figure(counts: dict[str, int], reason: str) -> None:
    with pytest.raises(UndefinedError, match=reason):
        vocd(counts)
    with pytest.raises(UndefinedError, match=reason):
        sampled_vocd(list(Counter(counts).elements()), samples=2, repeats=1, seed=0)


def test_samples_that_meet_no_word_twice() -> None:
    words = [str(i) for i in range(100_000)] + ["0"]
    with pytest.raises(UndefinedError, match="no sample of 50 words has a word twice"):
        sampled_vocd(words, samples=2, repeats=1, seed=0)
    assert vocd(Counter(words)) > 1e6
    with pytest.raises(UndefinedError, match="no words"):
        type_token_ratio({})
