"""The rows read like what people write: whole sentences, no leftovers of a template, many ways to ask."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import pytest

from siftune.selection.pool.skills.conversation import Conversation
from siftune.selection.pool.skills.pool import SKILLS, SkillsPool
from siftune.selection.pool.skills.skill import keyed_random
from siftune.selection.pool.skills.wording import edit

BRACES = re.compile(r"\{[a-zA-Z_]+\}")
ARTICLE = re.compile(r"\b[Aa] (?!one\b)[aeio][a-z]+")
"""The wrong article before a vowel."""


@pytest.fixture(scope="module")
def conversations() -> Sequence[Conversation]:
    return list(SkillsPool(size=3000, seed=4).conversations())


def test_nothing_of_the_templates_is_left(conversations: Sequence[Conversation]) -> None:
    for conversation in conversations:
        for text in (*conversation.user, *conversation.assistant, conversation.system or "Fine."):
            assert text == text.strip()
            assert text
            assert "  " not in text
            assert "None" not in text
            assert not BRACES.search(text), text
            assert " ," not in text
            assert not re.search(r"[a-z] \.( |$)", text), text


def test_questions_are_sentences(conversations: Sequence[Conversation]) -> None:
    for conversation in conversations:
        if conversation.source != "scrape":
            for text in conversation.user:
                sentence = text.split("\n\n")[0]
                assert sentence[-1] in ".?!)", text
                assert not sentence[0].islower(), text


def test_articles_fit(conversations: Sequence[Conversation]) -> None:
    for conversation in conversations:
        for text in conversation.user:
            assert not ARTICLE.search(re.sub(r'"[^"]*"', "", text)), text


def test_the_facts_of_shell_and_sql_stand_in_the_prompt(conversations: Sequence[Conversation]) -> None:
    for conversation in conversations:
        for turn, text in zip(conversation.turns[:1], conversation.user, strict=False):
            if turn.skill.name in ("shell", "sql"):
                assert all(str(value) in text for value in turn.facts.values()), (turn.facts, text)


def test_every_skill_is_asked_for_in_many_ways() -> None:
    for skill in SKILLS.values():
        wordings = {(ask, block) for task in skill.tasks.values() for ask in task.asks for block in task.blocks}
        assert len(wordings) >= 36, skill.name
        assert all(len(set(task.asks)) >= 9 for task in skill.tasks.values()), skill.name
        assert len(skill.contexts) >= 6


def test_openings_differ_between_rows(conversations: Sequence[Conversation]) -> None:
    openings = defaultdict(set)
    for conversation in conversations:
        if conversation.turns and conversation.kind == "clean":
            openings[conversation.turns[0].skill.name].add(" ".join(conversation.user[0].split()[:3]))
    assert all(len(seen) > 40 for seen in openings.values()), {name: len(seen) for name, seen in openings.items()}


def test_lengths_suit_a_quick_encoding(conversations: Sequence[Conversation]) -> None:
    """About 3.3 characters a token and some twenty tokens of chat template give 70 to 90 tokens a conversation."""
    characters = [sum(map(len, (*c.user, *c.assistant, c.system or ""))) for c in conversations]
    assert 150 < fmean(characters) < 230
    assert max(characters) < 800
    assert min(characters) > 20


def test_answers_are_short(conversations: Sequence[Conversation]) -> None:
    answers = [turn.answer for conversation in conversations for turn in conversation.turns]
    assert max(map(len, answers)) < 130
    assert not any("\n" in answer for answer in answers)


def test_an_edit_changes_the_words_and_keeps_the_figures() -> None:
    text = "Quick question. What is 12.5 miles in kilometres? Give me the number with one decimal, please."
    edited = [edit(keyed_random(number), text) for number in range(50)]
    assert len(set(edited)) > 8
    assert sum(variant == text for variant in edited) == 0
    assert all("12.5 miles in kilometres" in variant for variant in edited)
