"""What is reported of a refinement: counts, sentences, files."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from siftune.runs.rounds.changes import changes, fallen, meaning, risen
from siftune.runs.rounds.files import read_dropped, read_refinement, write_refinement
from siftune.runs.rounds.report import RefinementReport, RoundReplies, RoundReport
from siftune.runs.rounds.tables import markdown, print_round, spread
from siftune.selection.pool.rows import Row
from siftune.selection.pool.rows_file import RowWriter
from siftune.selection.pool.store import Pool

NAN = float("nan")
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, -1])


def row(number: int, answer: str) -> Row:
    messages = [{"role": "user", "content": f"Question {number}?"}, {"role": "assistant", "content": answer}]
    return Row(id=f"row{number}", source="x", messages=messages, extra={"kind": "ab"[number % 2]})


def pool_of(folder: Path, rows: list[Row]) -> Pool:
    folder.mkdir()
    with RowWriter(folder / "rows.arrow") as writer:
        for one in rows:
            writer.write(one)
    return Pool.open(folder)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return pool_of(tmp_path / "pool", [row(number, f"Gold {number}.") for number in range(len(LABELS))])


@pytest.fixture
def replies(tmp_path: Path) -> dict[int, RoundReplies]:
    """Row 8 of the first round has none."""
    return {
        1: RoundReplies(
            pool_of(tmp_path / "replies", [row(n, f"Reply {n}.") for n in (0, 1, 4, 5)]), np.array([0, 1, 4, 5])
        )
    }


FIRST = RoundReport(
    number=1,
    rows=np.array([0, 1, 4, 5, 8]),
    weights=np.full(3, 1 / 3),
    means=np.array([0.5, -2.0, NAN]),
    values=np.array([0.9, 0.1, -1.9, -2.1, NAN]),
    unscored={"row8": "no reply: prompt too long"},
)
SECOND = RoundReport(number=2, rows=np.array([2, 3, 9]), weights=np.array([0.6, 0.4 - 1 / 3, 1 / 3]))
REPORT = RefinementReport(
    rounds=(FIRST, SECOND), size=12, labels=LABELS, names=("0", "1", "2"), weights=np.array([0.6, 0.4 - 1 / 3, 1 / 3]),
    score="perplexity", compare="log_ratio", weighting="softmax_product",
)  # fmt: skip
EVOLVING = RefinementReport(
    rounds=(
        RoundReport(number=1, rows=np.array([3, 4]), gains=np.array([NAN, NAN])),
        RoundReport(number=2, rows=np.array([7, 1]), gains=np.array([0.9, 0.8])),
    ),
    size=12,
)


def same(one: RefinementReport, other: RefinementReport) -> bool:
    return json.dumps(one.to_json()) == json.dumps(other.to_json())


def test_counts() -> None:
    assert REPORT.sizes.tolist() == [4, 4, 3]  # the last row could not be picked
    assert REPORT.drawn(FIRST).tolist() == [2, 2, 1]
    assert REPORT.scored(FIRST).tolist() == [2, 2, 0]
    assert REPORT.scored(SECOND).tolist() == [0, 0, 0]
    assert REPORT.left(1).tolist() == [4, 4, 3]
    assert REPORT.left(3).tolist() == [0, 2, 1]
    assert REPORT.picks.tolist() == [0, 1, 4, 5, 8, 2, 3, 9]


def test_history_ends_with_weights_that_only_a_scored_last_round_gives() -> None:
    weights, points = REPORT.history()
    assert points == ["round 1", "round 2"]
    assert weights[1].tolist() == REPORT.weights.tolist()  # type: ignore[union-attr]
    measured = replace(SECOND, means=np.array([0.1, NAN, 0.2]), values=np.array([0.1, 0.1, 0.2]))
    more = replace(REPORT, rounds=(FIRST, measured), weights=np.array([0.5, 0.2, 0.3]))
    assert more.history()[1] == ["round 1", "round 2", "after round 2"]
    assert more.relative()[-1] == pytest.approx([1.5, 0.6, 0.9])


def test_json_gives_the_same_report() -> None:
    for report in (REPORT, EVOLVING):
        text = json.dumps(report.to_json(), allow_nan=False)
        again = RefinementReport.from_json(json.loads(text))
        assert same(again, report)
        assert again.rounds[0].rows.dtype == np.int64
    again = RefinementReport.from_json(json.loads(json.dumps(REPORT.to_json())))
    assert np.isnan(again.rounds[0].means[2])  # type: ignore[index]
    assert again.rounds[1].means is None


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="round 1: 2 values for 5 rows"):
        replace(FIRST, values=np.zeros(2))
    with pytest.raises(ValueError, match="of the 3 clusters"):
        replace(REPORT, weights=np.ones(2) / 2)
    with pytest.raises(ValueError, match="11 labels for a pool of 12 rows"):
        replace(REPORT, labels=LABELS[:-1])
    with pytest.raises(ValueError, match="score and compare"):
        replace(REPORT, score=None)


def test_sentence_says_what_was_dropped_and_why(pool: Pool, replies: dict[int, RoundReplies]) -> None:
    found = changes(REPORT, pool, replies)
    assert [change.cluster for change in found] == [1, 0]  # of cluster 2 no row was scored
    (lost,) = fallen(found)
    assert lost.dropped
    assert lost.why == (
        "cluster 1 (4 rows): 2 rows drawn in round 1, mean S -2.00 (of all rows -0.75): the model's own replies are "
        "likelier than the pool's answers, whose perplexity is 7.4 times as high; weight 0.333 -> 0.0667. "
        "No row in round 2, though 2 rows are left."
    )
    (won,) = risen(found)
    assert not won.dropped
    assert won.why.endswith("weight 0.333 -> 0.6. 2 rows drawn in round 2.")


def test_example_is_the_row_nearest_to_the_mean(pool: Pool, replies: dict[int, RoundReplies]) -> None:
    closer = replace(FIRST, values=np.array([0.9, 0.1, -1.0, -2.1, NAN]))
    lost = changes(replace(REPORT, rounds=(closer, SECOND)), pool, replies)[0]
    assert lost.example is not None
    assert (lost.example.id, lost.example.round, lost.example.value) == ("row5", 1, -2.1)
    assert (lost.example.prompt, lost.example.gold, lost.example.reply) == ("Question 5?", "Gold 5.", "Reply 5.")


def test_a_cluster_that_is_used_up_is_not_called_dropped(pool: Pool, replies: dict[int, RoundReplies]) -> None:
    labels = np.where(np.isin(np.arange(12), (6, 7)), -1, LABELS)
    lost = changes(replace(REPORT, labels=labels), pool, replies)[0]
    assert lost.cluster == 1
    assert not lost.dropped
    assert lost.why.endswith("No row in round 2, as all are taken.")


def test_meaning_follows_the_score() -> None:
    assert meaning(REPORT, np.log(3.0)) == (
        "the pool's answers are likelier than the model's own replies, whose perplexity is 3 times as high"
    )
    judged = replace(REPORT, score="rating", compare="difference")
    assert meaning(judged, -1.0) == "the pool's answers have a lower rating than the model's replies"
    assert meaning(judged, 1.0) == "the pool's answers have a higher rating than the model's replies"


def test_clusters_of_a_column_are_called_by_it(pool: Pool, replies: dict[int, RoundReplies]) -> None:
    named = replace(REPORT, column="kind", names=("clean", "wrong", "chatter"))
    assert changes(named, pool, replies)[0].why.startswith("kind 'wrong' (4 rows): 2 rows drawn in round 1")


def test_files(tmp_path: Path, pool: Pool, replies: dict[int, RoundReplies]) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    embeddings = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    summary = write_refinement(folder, REPORT, pool, embeddings, replies)
    assert {path.name for path in folder.iterdir()} == {
        "report.json", "report.md", "dropped.jsonl", "weights.png", "clusters.png"
    }  # fmt: skip
    assert same(read_refinement(folder), REPORT)
    assert summary == {
        "rounds": 2, "rows": 8, "clusters": 3, "clusters_drawn_from": 3, "clusters_dropped": 1,
        "clusters_as_even_as": round(spread(np.array([0.6, 0.4 - 1 / 3, 1 / 3])), 2), "rows_without_score": 1,
    }  # fmt: skip
    cluster, unscored = read_dropped(folder)
    assert (cluster["name"], cluster["drawn"], cluster["means"]) == ("cluster 1", [2, 0], [-2.0, None])
    assert cluster["example"]["reply"] in ("Reply 4.", "Reply 5.")
    assert unscored == {"kind": "row", "row": "row8", "round": 1, "why": "no reply: prompt too long"}
    text = (folder / "report.md").read_text()
    assert cluster["why"] in text
    assert "![weights](weights.png)" in text
    assert "| 1 | 5 | 3 of 3 | 3.0 clusters | 4 | -0.750 |" in text
    assert "| 2 | 3 | 2 of 3 | 2.3 clusters | not scored | – |" in text
    assert "| no reply: prompt too long | 1 | `row8` (round 1): `` Question 8? `` |" in text


def test_weights_that_stay_are_said_to(pool: Pool, replies: dict[int, RoundReplies]) -> None:
    third = np.full(3, 1 / 3)
    still = replace(REPORT, rounds=(FIRST, replace(SECOND, weights=third)), weights=third, weighting="ratio")
    found = changes(still, pool, replies)
    assert fallen(found) == risen(found) == []
    assert "No weight has changed. `ratio` counts negative means as 0." in markdown(still, pool, found, [])


def test_files_without_clusters(tmp_path: Path, pool: Pool) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    summary = write_refinement(folder, EVOLVING, pool, np.eye(12, dtype=np.float32), {})
    assert {path.name for path in folder.iterdir()} == {"report.json", "report.md", "clusters.png"}
    assert summary == {"rounds": 2, "rows": 4}
    assert read_dropped(folder) == []
    assert "| 2 | 2 | 0.9 | 0.8 |" in (folder / "report.md").read_text()


def printed(report: RefinementReport) -> list[str]:
    output = io.StringIO()
    print_round(report, Console(file=output, width=100))
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_a_round_is_printed() -> None:
    lines = printed(replace(REPORT, rounds=(FIRST,)))
    assert lines[0] == "round 1: 5 rows of 3 of 3 clusters, mean S -0.750 (4 scored)"
    assert lines[3].split() == ["0", "4", "2", "2", "+0.50", "0.333", "0.6", "1.80"]
    assert [line.split()[0] for line in lines[3:6]] == ["0", "2", "1"]  # from the one that gained most
    assert lines[-1] == "1 without S: no reply: prompt too long"
    assert printed(EVOLVING) == ["round 2: 2 rows, farthest first: distance 0.9 to 0.8"]


def test_of_many_clusters_those_that_changed_most_are_printed() -> None:
    count = 40
    means = np.linspace(-1, 1, count)
    entry = RoundReport(
        number=1, rows=np.arange(count), weights=np.full(count, 1 / count), means=means, values=means.copy()
    )
    weights = np.exp(means) / np.exp(means).sum()
    report = replace(
        REPORT, rounds=(entry,), size=count, labels=np.arange(count), names=tuple(map(str, range(count))),
        weights=weights,
    )  # fmt: skip
    names = [line.split()[0] for line in printed(report)[3:]]
    assert names == ["39", "38", "37", "…", "2", "1", "0"]


def test_spread() -> None:
    assert spread(np.array([0.25, 0.25, 0.25, 0.25])) == pytest.approx(4)
    assert spread(np.array([1.0, 0.0])) == pytest.approx(1)
