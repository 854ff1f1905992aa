"""`siftune run` on MT-Bench, killed with SIGKILL while it answers and again while it judges: nothing is asked twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from siftune.evaluate.answering import TOGETHER

QUESTIONS = 4 * TOGETHER + 2
REQUESTS = 2 * QUESTIONS
SAID = 50
"""Verdicts that the judge gives before the second kill."""
ANSWERS = "evaluation/*/answers/mt_bench.jsonl"
VERDICTS = "verdicts/*.jsonl"
SAMPLES = "evaluation/*/samples/mt_bench.jsonl"

Start = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def start(server: Any, tmp_path: Path) -> Start:
    """Starts the command on a store. Answers are drawn, so that an answer that is made anew may differ."""
    categories = ("writing", "math", "stem")
    rows = [
        {"question_id": i, "category": categories[i % 3], "turns": [f"First {i}?", f"Then {i}?"]}
        for i in range(QUESTIONS)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "mt_bench_questions.jsonl").write_text(lines, encoding="utf-8")
    overrides = [
        *["selection=none", "finetune=none", "model=tiny", "tracking=disabled", "evaluate=novelsum"],
        *["~evaluate.tasks.alpaca_eval", f"evaluate.data_dir={tmp_path}", "evaluate.judge.model=m"],
        *[f"evaluate.judge.base_url={server.url}", "evaluate.judge.concurrency=4"],
        *["evaluate.judge.input_price=1", "evaluate.judge.output_price=2"],
        *["evaluate.tasks.mt_bench.decoding.max_new_tokens=16", "evaluate.tasks.mt_bench.decoding.temperature=0.7"],
    ]

    def started(store: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "siftune.runs.main", "run", *overrides, f"store={store}"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ)

    return started


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors


def kill_when(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """SIGKILL as soon as the condition holds."""
    try:
        give_up = time.monotonic() + 240
        while not condition():
            assert process.poll() is None, f"it ended before it could be killed: {process.communicate()[1]}"
            assert time.monotonic() < give_up, "the moment to kill it at never came"
            time.sleep(0.002)
    finally:
        process.kill()
        process.communicate()


def lines(store: Path, pattern: str) -> list[dict[str, Any]]:
    """The whole lines of the one file there, or none."""
    found = []
    for path in store.glob(pattern):
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            found += [json.loads(line)] if line else []
    return found


@contextmanager
def silent_after(server: Any, count: int) -> Iterator[None]:
    """The judge says nothing more from so many replies on, as long as this lasts."""
    go_on, lock, asked = threading.Event(), threading.Lock(), [0]

    def held(body: dict[str, Any]) -> None:
        with lock:
            asked[0] += 1
            waits = asked[0] > count
        if waits:
            go_on.wait()

    server.always = held
    try:
        yield
    finally:
        go_on.set()
        server.always = lambda body: None


def rated(content: str) -> str:
    """A rating of the answer's text, of the question and its turn; no rating of some."""
    if "First 7?" in content:
        return "I cannot say."
    return f"Fine. Rating: [[{1 + sum(content.encode()) % 10}]]"


def outcome(store: Path) -> dict[str, Any]:
    """What must not depend on how often the run was killed: also the figures of tokens and money."""
    (record,) = store.glob("run/*/record.json")
    results = json.loads(record.read_text(encoding="utf-8"))["summary"]["results"]
    return {"results": results, "samples": lines(store, SAMPLES), "answers": lines(store, ANSWERS)}


def asked(server: Any) -> list[str]:
    return [body["messages"][-1]["content"] for body in server.bodies]


@pytest.mark.slow
def test_a_run_killed_while_it_answers_and_while_it_judges_asks_for_nothing_again(
    server: Any, start: Start, tmp_path: Path
) -> None:
    server.reply = rated
    finish(start(tmp_path / "undisturbed"))
    expected, all_asked = outcome(tmp_path / "undisturbed"), asked(server)
    assert len(all_asked) == len(set(all_asked)) == REQUESTS
    details = expected["results"]["tasks"]["mt_bench"]["details"]
    assert (details["verdicts"], details["malformed"], details["requests"]) == (REQUESTS - 2, 2, REQUESTS)
    assert details["usd"] > 0
    texts = {text for answer in expected["answers"] for text in answer["texts"]}
    assert len(texts) > QUESTIONS, "answers that are all alike would show nothing"

    store = tmp_path / "killed"
    server.requests.clear()
    kill_when(start(store), lambda: len(lines(store, ANSWERS)) >= TOGETHER)
    answered = lines(store, ANSWERS)
    assert TOGETHER <= len(answered) < QUESTIONS
    assert server.requests == []

    with silent_after(server, SAID):
        kill_when(start(store), lambda: len(lines(store, VERDICTS)) == SAID)
    assert lines(store, ANSWERS) == expected["answers"], "answers that were there are made again, or others"
    assert lines(store, ANSWERS)[: len(answered)] == answered
    said = lines(store, VERDICTS)
    assert len(said) == SAID
    assert not list(store.glob("run/*/record.json"))

    server.settle()
    server.requests.clear()
    finish(start(store))
    assert outcome(store) == expected
    assert lines(store, VERDICTS)[:SAID] == said
    # Those whose replies were there when it was killed are not among them.
    assert len(asked(server)) == len(set(asked(server))) == REQUESTS - SAID
    assert len({line["key"] for line in lines(store, VERDICTS)}) == len(lines(store, VERDICTS)) == REQUESTS
