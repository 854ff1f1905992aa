"""Rows that hold test documents: planted ones are found, phrases that are anybody's are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from siftune.evaluate.contamination import (
    Decontaminate,
    Overlaps,
    by_task,
    find_overlaps,
    pool_overlaps,
    subset_overlap,
)
from siftune.evaluate.documents import Document, documents_of, read_documents, write_documents
from siftune.evaluate.ngram_index import Grams, hash_each
from siftune.evaluate.question_index import QuestionIndex
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import EvaluationError, ExactMatch, LMEvalTask, ResponseLoss
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.rows import Message
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool

EGGS = (
    "Janet's ducks lay sixteen eggs per day. She eats three for breakfast every morning and bakes muffins for her "
    "friends every day with four. How much does she make every day at the farmers' market?"
)
CITIES = "Which one of the following is NOT a characteristic of world cities?"
DOCUMENTS = [
    Document("sums", "sums/0", EGGS, "18"),
    Document("quiz", "quiz/0", CITIES, "They lie in the northern hemisphere only"),
    Document("quiz", "quiz/1", "Who are you?", "I am an artificial intelligence."),
    Document("quiz", "quiz/2", "What happens if you eat a pomegranate?", "Nothing in particular happens"),
]


def talk(*texts: str) -> list[Message]:
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def found(conversation: list[Message], documents: list[Document] = DOCUMENTS, **settings: object) -> list[str]:
    config = Decontaminate(**settings)  # type: ignore[arg-type]
    overlaps = find_overlaps([talk("some row", "before"), conversation], documents, config)
    assert set(overlaps.row.tolist()) <= {1}
    return [documents[place].id for place in overlaps.document]


def test_a_question_that_a_row_asks_is_found() -> None:
    assert found(talk(EGGS, "It makes 18.")) == ["sums/0"]


def test_case_marks_line_breaks_and_words_around_it_do_not_hide_it() -> None:
    hidden = EGGS.upper().replace(" ", "\n").replace(".", " -- ").replace(",", "").replace("'", "’")
    assert found(talk(f"Answer this riddle!\n{hidden}\nThink well.", "18")) == ["sums/0"]


def test_it_is_found_in_any_turn_and_with_text_prompt_only_before_the_response() -> None:
    assert found(talk("Write a riddle", EGGS)) == ["sums/0"]
    assert found(talk("Write a riddle", EGGS), text="prompt") == []
    assert found(talk(EGGS, "18"), text="prompt") == ["sums/0"]


def test_no_ngram_reaches_across_turns() -> None:
    half = EGGS.split()
    turns = [" ".join(half[start : start + 6]) for start in range(0, len(half), 6)]
    assert found(talk(*turns)) == []


def test_more_than_coverage_of_its_words_must_be_shared() -> None:
    """20 words of a question of 40 different ones: half of it, and 22 are more."""
    names = [f"{a}{b}" for a in "bcdfghjk" for b in "aeiou"]
    document = [Document("t", "t/0", " ".join(names), "")]
    assert found(talk(" ".join(names[:20]), "x"), document) == []
    assert found(talk(" ".join(names[:22]), "x"), document) == ["t/0"]
    assert found(talk(" ".join(names[:9]), "x"), document, coverage=0.2) == []
    assert found(talk(" ".join(names[:9]), "x"), document, coverage=0.2, min_words=1) == ["t/0"]
    assert found(talk(" ".join(names[:13]), "x"), document, ngram=13, coverage=0.0, min_words=1) == ["t/0"]
    assert found(talk(" ".join(names[:12]), "x"), document, ngram=13, coverage=0.0, min_words=1) == []


def test_the_share_is_of_the_words_that_tell_something() -> None:
    """12 of the 20 words of the question are found, in two runs; numbers and single letters do not count."""
    names = [f"{a}{b}" for a in "bcdf" for b in "aeiou"]
    document = [Document("t", "t/0", f"{' '.join(names)} 1 2 3 x y", "")]
    overlaps = find_overlaps(
        [talk(" ".join(names[:8]), " ".join(names[-4:]) + " 1 2 3 x y")], document, Decontaminate()
    )
    assert overlaps.share.tolist() == []
    overlaps = find_overlaps(
        [talk(" ".join(names[:9]), " ".join(names[-4:]) + " 1 2 3 x y")], document, Decontaminate()
    )
    assert overlaps.share.tolist() == [13 / 20]


def test_an_ngram_alone_is_a_phrase() -> None:
    assert found(talk("Which one of the following is not a prime number?", "9")) == []
    assert found(talk(CITIES, "x")) == ["quiz/0"]


def test_what_many_documents_of_a_task_share_is_its_wording() -> None:
    frame = "Read the question below with great care and then write down what you think is right about the"
    documents = [Document("t", f"t/{i}", f"{frame} river number{i} that flows north", "") for i in range(12)]
    row = talk(f"{frame} painting of the year", "yes")
    assert found(row, documents, common=11) == []
    assert len(found(row, documents, common=12)) == 12
    assert found(talk(documents[3].question, "yes"), documents, common=11) == ["t/3"]


def test_a_short_question_must_be_a_turn_or_come_with_its_answer() -> None:
    assert found(talk("Who are you?", "A model.")) == ["quiz/1"]
    assert found(talk("who are YOU", "A model.")) == ["quiz/1"]
    assert found(talk("Write a poem about: who are you? In verse.", "I am an artificial intelligence.")) == ["quiz/1"]
    assert found(talk("A stranger says: who are you? Go on.", "He left.")) == []
    quoted = "Q: What happens if you eat a pomegranate? Options: (a) Nothing in particular happens (b) You die"
    assert found(talk(quoted, "a")) == ["quiz/2"]
    assert found(talk("Tell me what happens if you eat a pomegranate daily", "You thrive")) == []


def test_a_short_question_with_a_short_answer_must_be_a_turn() -> None:
    document = [Document("t", "t/0", "List the files", "ls")]
    assert found(talk("List the files in /tmp", "ls /tmp"), document) == []
    assert found(talk("List the files", "dir"), document) == ["t/0"]


def test_questions_of_numbers_and_letters_alone_are_found() -> None:
    question = "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) ="
    assert found(talk(question, "24"), [Document("t", "t/0", question, "24")]) == ["t/0"]
    assert found(talk(f"Compute {question} at once", "24"), [Document("t", "t/0", question, "24")]) == ["t/0"]


def test_of_several_documents_the_worst_is_named() -> None:
    overlaps = Overlaps(
        np.array([0, 0, 0, 2]), np.array([1, 5, 7, 3]), np.array([0.6, 0.9, 0.9, 0.7]), np.ones(8, bool)
    )
    worst = overlaps.worst()
    assert worst.row.tolist() == [0, 2]
    assert worst.document.tolist() == [5, 3]
    assert worst.share.tolist() == [0.9, 0.7]


def test_a_find_is_verified_word_by_word() -> None:
    """Two n-grams with one hash: only equal words are a find."""
    grams = Grams(np.array([[3, 4]], np.int32))
    words = np.array([3, 4, 3, 4, 4, 3], np.int32)
    assert grams.find(words).position.tolist() == [0, 2]
    grams._hashes = hash_each(np.array([[4, 3]], np.int32))
    grams._maybe[:] = True
    assert grams.find(words).position.tolist() == []


def test_against_a_plain_search() -> None:
    """Random rows and questions of few words: the shares are those of comparing all n-grams with all."""
    rng = np.random.default_rng(0)
    vocabulary = [f"word{i}" for i in range(12)]
    questions = [" ".join(rng.choice(vocabulary, rng.integers(5, 20))) for _ in range(40)]
    rows = [" ".join(rng.choice(vocabulary, 60)) for _ in range(60)]
    documents = [Document("t", str(i), question, "") for i, question in enumerate(questions)]
    config = Decontaminate(ngram=3, coverage=0.2, min_words=1, common=1000)
    overlaps = find_overlaps([talk(row, "x") for row in rows], documents, config)
    expected = []
    for row, text in enumerate(rows):
        held = text.split()
        runs = {tuple(held[i : i + 3]) for i in range(len(held) - 2)}
        for place, question in enumerate(questions):
            asked = question.split()
            covered = {i + j for i in range(len(asked) - 2) if tuple(asked[i : i + 3]) in runs for j in range(3)}
            if len(covered) / len(asked) > 0.2:
                expected.append((row, place, len(covered) / len(asked)))
    assert list(zip(overlaps.row, overlaps.document, overlaps.share, strict=True)) == expected
    assert len(expected) > 100


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [talk(f"row {i}", "x") if i % 3 else talk(EGGS, str(i)) for i in range(20)]
    whole = find_overlaps(rows, DOCUMENTS, Decontaminate())
    monkeypatch.setattr("siftune.evaluate.contamination.ROWS_AT_ONCE", 3)
    done: list[int] = []
    parts = find_overlaps(rows, DOCUMENTS, Decontaminate(), done.append)
    assert whole.row.tolist() == parts.row.tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert sum(done) == 20


def test_the_report_of_a_task_counts_documents_and_rows() -> None:
    rows = [talk(EGGS, "1"), talk("hello", "you"), talk(EGGS, "2"), talk("Who are you?", "x")]
    config = Decontaminate()
    tasks = by_task(find_overlaps(rows, DOCUMENTS, config), DOCUMENTS)
    assert (tasks["sums"].contaminated, tasks["sums"].rows, tasks["sums"].share) == (("sums/0",), 2, 1.0)
    assert (tasks["quiz"].documents, tasks["quiz"].contaminated, tasks["quiz"].rows) == (3, ("quiz/1",), 1)


def test_documents_that_ask_nothing_of_their_own_cannot_be_found() -> None:
    same = [Document("t", f"t/{i}", "Which of the following statements is true?", f"answer {i}") for i in range(12)]
    assert not QuestionIndex(same, 8, 13, 10).searchable.any()
    assert not QuestionIndex([Document("t", "t/0", "?!", "")], 8, 13, 10).searchable.any()
    tasks = by_task(find_overlaps([talk("x", "y")], same, Decontaminate()), same)
    assert (tasks["t"].searched, tasks["t"].share) == (0, 0.0)


def test_a_subset_is_told_apart_from_its_pool(
    write_rows: Callable[..., FilePool], pools: Callable[[PoolSource], Pool]
) -> None:
    pool = pools(write_rows([[("user", EGGS), ("assistant", "18")], [("user", "Hi"), ("assistant", "Hello")]]))
    assert subset_overlap(pool, [0], DOCUMENTS, Decontaminate())["sums"].contaminated == ("sums/0",)
    assert subset_overlap(pool, np.array([1]), DOCUMENTS, Decontaminate())["sums"].contaminated == ()
    assert pool_overlaps(pool, DOCUMENTS, Decontaminate()).row.tolist() == [0]


def test_the_documents_of_lm_eval_tasks(local_tasks: Path, pools: Callable[[PoolSource], Pool]) -> None:
    sums = LMEvalTask(
        task=str(local_tasks / "sums.yaml"), metric="exact_match", data_files={"test": str(local_tasks / "sums.jsonl")}
    )
    # The question as the data set has it, without the prompt's "Question:".
    assert list(documents_of("sums", sums, pools))[1] == Document(
        "sums", "local_sums/1", "What is 3 + 4?", "3 and 4 make 7.\n#### 7"
    )
    colours = LMEvalTask(
        task=str(local_tasks / "colours.yaml"), metric="acc", data_files={"test": str(local_tasks / "colours.jsonl")}
    )
    assert list(documents_of("colours", colours, pools))[1] == Document(
        "colours", "local_colours/1", "Which is number 1?", "dark green"
    )


def test_the_answer_of_a_lettered_choice_is_its_text(tmp_path: Path, pools: Callable[[PoolSource], Pool]) -> None:
    (tmp_path / "mmlu.jsonl").write_text(
        '{"question": "Largest planet?", "subject": "s", "choices": ["Mars", "Jupiter", "Io", "Pan"], "answer": 1}\n'
    )
    task = LMEvalTask(task="siftune_mmlu", metric="acc", data_files={"test": str(tmp_path / "mmlu.jsonl")})
    assert list(documents_of("mmlu", task, pools)) == [Document("mmlu", "siftune_mmlu/0", "Largest planet?", "Jupiter")]


def test_the_documents_of_heldout_conversations(heldout: FilePool, pools: Callable[[PoolSource], Pool]) -> None:
    documents = list(documents_of("loss", ResponseLoss(data=heldout), pools))
    assert documents[0] == Document("loss", "heldout/0", "List the files", "ls")
    assert documents[2] == Document("loss", "heldout/2", "Sum?\nMax?", "höher: MAX(x)")


def test_documents_are_written_and_read(heldout: FilePool, pools: Callable[[PoolSource], Pool], tmp_path: Path) -> None:
    suite = Suite(name="s", limit=1, tasks={"loss": ResponseLoss(data=heldout), "exact": ExactMatch(data=heldout)})
    assert write_documents(suite, tmp_path, pools) == {"loss": 4, "exact": 4}
    read = read_documents(tmp_path)
    assert [document.task for document in read] == ["loss"] * 4 + ["exact"] * 4
    assert read[3].question == "Show the first five rows of the table"


def test_a_task_that_cannot_be_read_is_named(tmp_path: Path, pools: Callable[[PoolSource], Pool]) -> None:
    suite = Suite(name="s", tasks={"mine": LMEvalTask(task="no_such_task_anywhere", metric="acc")})
    with pytest.raises(EvaluationError, match=r"evaluate.tasks.mine: .*no_such_task_anywhere"):
        write_documents(suite, tmp_path, pools)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ngram": 0}, "ngram=0"),
        ({"coverage": 1.0}, "coverage=1.0"),
        ({"coverage": -0.1}, "coverage=-0.1"),
        ({"min_words": 0}, "min_words=0"),
        ({"common": 0}, "common=0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=f"decontaminate.{words}"):
        Decontaminate(**settings)  # type: ignore[arg-type]
