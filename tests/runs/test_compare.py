"""`siftune compare` from records and samples on disk to a table, Markdown, JSON and the flipped questions."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from rich.console import Console

from siftune.runs.commands import run
from siftune.runs.compare import check_compare, compare, compared
from siftune.runs.comparing.config import CompareConfig
from siftune.runs.comparing.report import CompareReport
from siftune.runs.comparing.table import markdown, print_table
from siftune.runs.main import _with_sides
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, check_command, plain_node
from siftune.runs.report import ReportError

Values = Mapping[str, Sequence[Any]]
METRICS = {"em": "exact_match", "loss": "nats_per_byte", "mcc": "mcc", "chrf": "chrf", "f1": "f1"}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def save(store: Path, label: str, values: Values, seed: int = 0, group: str = "g", **changes: Any) -> Path:
    """A run and its evaluation, with one document a value; `prompt` begins all prompts, `settings` are the tasks'."""
    prompt, settings = changes.pop("prompt", "Q"), changes.pop("settings", {})
    fingerprint = digest(f"{label}{seed}{group}{prompt}{changes}")[:16]
    tasks = {name: METRICS[name.split("_")[0]] for name in values}
    evaluation = store / "evaluation" / f"suite-{fingerprint}"
    for name, metric in tasks.items():
        lines = [sample(name, metric, number, value, prompt, label) for number, value in enumerate(values[name])]
        path = evaluation / "samples" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (evaluation / "record.json").write_text("{}")
    results = {name: result(metric, values[name]) for name, metric in tasks.items()}
    trained = {"rows": 8} if label != "base" else None
    summary = {
        "label": label,
        "group": group,
        "seed": seed,
        "model": "tiny",
        "pool": "skills",
        "targets": [],
        "budget": {"amount": 8, "unit": "examples"},
        "suite": "suite",
        "results": {"tasks": results, "headline": None},
        "selection": trained,
        "training": trained,
    }
    suite = {"tasks": {name: {"class": "LMEvalTask", "task": name, "num_fewshot": 0} | settings for name in tasks}}
    record = {
        "fingerprint": fingerprint,
        "created": "2026-11-22T01:00:00+00:00",
        "seconds": 1.0,
        "inputs": {"evaluation": fingerprint},
        "config": {"evaluate": suite, "seed": seed, "budget": group} | changes,
        "summary": summary,
    }
    folder = store / "run" / f"{label}-{fingerprint}"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def result(metric: str, values: Sequence[Any]) -> dict[str, Any]:
    value = sum(v[0] for v in values) / sum(v[1] for v in values) if metric == "nats_per_byte" else 0.5
    if metric in ("exact_match", "f1"):
        value = sum(values) / len(values)
    higher = metric != "nats_per_byte"
    return {"metric": metric, "value": value, "stderr": None, "higher_is_better": higher, "samples": len(values)}


def sample(task: str, metric: str, number: int, value: Any, prompt: str, label: str) -> dict[str, Any]:
    asked = f"{prompt}: question {number} of {task}"
    return {
        "task": task,
        "doc_id": number,
        "target": str(number),
        "arguments": [[asked, {"until": ["\n"]}]],
        "resps": [[f"{label} says {value}"]],
        "filtered_resps": [str(value)],
        "filter": "none",
        "doc_hash": digest(f"{task}{number}"),
        "prompt_hash": digest(asked),
        "target_hash": digest(str(number)),
        metric: value,
    }


def found(store: Path, a: str = "random", b: str = "rds_plus", **settings: Any) -> CompareReport:
    return compared(CompareConfig(a=a, b=b, store=store, resamples=500, **settings))


def printed(report: CompareReport, width: int = 140) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_table(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


# 20 questions: 10 go from wrong to right, 2 from right to wrong, 5 are right in both, 3 wrong in both.
BEFORE = [0] * 10 + [1] * 2 + [1] * 5 + [0] * 3
AFTER = [1] * 10 + [0] * 2 + [1] * 5 + [0] * 3


def test_flips_and_mcnemar_of_one_run_each(tmp_path: Path) -> None:
    save(tmp_path, "random", {"em": BEFORE})
    save(tmp_path, "rds_plus", {"em": AFTER})
    report = found(tmp_path)
    (task,) = report.tasks
    assert (task.a, task.b, task.difference) == pytest.approx((7 / 20, 15 / 20, 8 / 20))
    assert (task.better, task.worse, task.questions, task.binary) == (10, 2, 20, True)
    assert task.p == pytest.approx(158 / 4096)
    assert task.adjusted == task.p
    assert task.low is not None
    assert task.high is not None
    assert 0 <= task.low < 0.4 < task.high
    assert (report.together, task.note) == ((), "")
    assert [flip["doc_id"] for flip in report.flips] == list(range(12))
    first = report.flips[0]
    assert (first["change"], first["prompt"], first["target"]) == ("to right", "Q: question 0 of em", "0")
    assert (first["a"]["output"], first["b"]["output"]) == ("random says 0", "rds_plus says 1")
    assert report.flips[-1]["change"] == "to wrong"


def test_swapping_the_two_turns_the_flips(tmp_path: Path) -> None:
    save(tmp_path, "random", {"em": BEFORE})
    save(tmp_path, "rds_plus", {"em": AFTER})
    (task,) = found(tmp_path, "rds_plus", "random").tasks
    assert (task.better, task.worse, task.difference) == (2, 10, pytest.approx(-0.4))
    assert task.p == pytest.approx(158 / 4096)


def test_a_loss_is_compared_by_document_and_better_when_lower(tmp_path: Path) -> None:
    bytes_of = [1, 2, 3, 4, 5]
    save(tmp_path, "random", {"loss": [(2.0 * size, size) for size in bytes_of]})
    save(tmp_path, "rds_plus", {"loss": [(2.0 * size - size * (n + 1) / 10, size) for n, size in enumerate(bytes_of)]})
    (task,) = found(tmp_path).tasks
    # Documents get better by 0.1 to 0.5 nats a byte, all together by (.1 + .4 + .9 + 1.6 + 2.5) / 15.
    assert (task.better, task.worse, task.binary) == (5, 0, False)
    assert task.p == pytest.approx(2 / 32)
    assert task.difference == pytest.approx(-5.5 / 15)
    assert task.low is not None
    assert task.high is not None
    assert -0.5 <= task.low < -5.5 / 15 < task.high <= -0.1


def test_several_tasks_are_adjusted_and_taken_together(tmp_path: Path) -> None:
    save(tmp_path, "random", {"em_a": BEFORE, "em_b": [0] * 6, "loss": [(2.0, 1)] * 4})
    save(tmp_path, "rds_plus", {"em_a": AFTER, "em_b": [1] * 5 + [0], "loss": [(1.0, 1)] * 4})
    report = found(tmp_path)
    assert [task.p for task in report.tasks] == pytest.approx([158 / 4096, 2 / 32, report.tasks[2].p])
    assert report.tasks[0].adjusted == pytest.approx(3 * 158 / 4096)
    (together,) = report.together
    assert (together.name, together.questions) == ("all 2: right answers", 26)
    assert (together.better, together.worse, together.adjusted) == (15, 2, None)
    # Of 17 coins at most 2 or at least 15: 2 (1 + 17 + 136) / 2^17.
    assert together.p == pytest.approx(308 / 2**17)
    assert (together.a, together.b) == pytest.approx(((7 / 20) / 2, (15 / 20 + 5 / 6) / 2))


def test_seeds_are_pooled_question_by_question(tmp_path: Path) -> None:
    # Net flips of the four questions: 2, 1, -1 and 0.
    for seed, (before, after) in enumerate((([0, 0, 1, 1], [1, 1, 1, 1]), ([0, 0, 1, 0], [1, 0, 0, 0]))):
        save(tmp_path, "random", {"em": before}, seed)
        save(tmp_path, "rds_plus", {"em": after}, seed)
    save(tmp_path, "rds_plus", {"em": [1, 1, 1, 1]}, seed=7)
    report = found(tmp_path)
    (task,) = report.tasks
    assert (task.better, task.worse) == (3, 1)
    assert task.p == pytest.approx(6 / 8)
    assert [(pair.seed_a, pair.better, pair.worse, pair.p) for pair in task.pairs] == [(0, 2, 0, 0.5), (1, 1, 1, 1.0)]
    assert (task.a, task.b) == (pytest.approx(3 / 8), pytest.approx(5 / 8))
    assert [flip["doc_id"] for flip in report.flips] == [0, 1, 2]
    assert report.flips[2]["a"]["seed"] == 1
    assert any("seeds: 0, 1; without a partner: rds_plus seed 7" in line for line in printed(report))
    assert "| em | 1 | 1 | 1 | 1 | 1.0000 |" in markdown(report, 1)


def test_losses_are_averaged_over_seeds(tmp_path: Path) -> None:
    for seed, shift in enumerate((0.5, -0.1)):
        save(tmp_path, "random", {"loss": [(1.0, 1), (2.0, 1), (4.0, 1)]}, seed)
        save(tmp_path, "rds_plus", {"loss": [(1.0 - shift, 1), (2.0 - 2 * shift, 1), (4.0 - 3 * shift, 1)]}, seed)
    (task,) = found(tmp_path).tasks
    assert (task.better, task.worse, task.pairs) == (3, 0, ())
    assert task.p == pytest.approx(2 / 8)
    assert task.difference == pytest.approx(-0.2 * 2)


def test_one_run_of_the_base_model_meets_every_seed(tmp_path: Path) -> None:
    save(tmp_path, "base", {"em": [0, 1]})
    for seed in (0, 1):
        save(tmp_path, "random", {"em": [1, 1]}, seed)
    report = found(tmp_path, "base", "random")
    assert [(pair.a.seed, pair.b.seed) for pair in report.pairs] == [(0, 0), (0, 1)]
    assert len(found(tmp_path, "base", "random", seeds=(0,)).pairs) == 1


def test_documents_are_paired_by_their_hash_not_their_place(tmp_path: Path) -> None:
    save(tmp_path, "random", {"em": BEFORE})
    folder = save(tmp_path, "rds_plus", {"em": AFTER})
    samples = tmp_path / "evaluation" / f"suite-{folder.name.rpartition('-')[2]}" / "samples" / "em.jsonl"
    samples.write_text("".join(reversed(samples.read_text().splitlines(keepends=True))))
    (task,) = found(tmp_path).tasks
    assert (task.better, task.worse) == (10, 2)


def test_a_metric_of_all_documents_together_is_shown_without_a_test(tmp_path: Path) -> None:
    for label in ("random", "rds_plus"):
        save(tmp_path, label, {"em": [1, 0], "mcc": [(1, 0), (0, 0)]})
    em, mcc = found(tmp_path).tasks
    assert (mcc.p, mcc.low, mcc.adjusted) == (None, None, None)
    assert "computed from all documents together" in mcc.note
    assert em.adjusted == 1.0


def test_texts_are_compared_one_by_one_where_the_score_is_of_all(tmp_path: Path) -> None:
    save(tmp_path, "random", {"chrf": [("a b c d", "x y z w"), ("one two", "one two")]})
    save(tmp_path, "rds_plus", {"chrf": [("a b c d", "a b c d"), ("one two", "one two")]})
    (task,) = found(tmp_path).tasks
    assert (task.better, task.worse, task.binary) == (1, 0, False)
    assert "of all texts together" in task.note


def test_a_score_that_weighs_questions_otherwise_says_so(tmp_path: Path) -> None:
    save(tmp_path, "random", {"em": BEFORE})
    folder = save(tmp_path, "rds_plus", {"em": AFTER})
    record = json.loads((folder / "record.json").read_text())
    record["summary"]["results"]["tasks"]["em"]["value"] = 0.9
    (folder / "record.json").write_text(json.dumps(record))
    (task,) = found(tmp_path).tasks
    assert "does not count every question alike, as interval and tests do: from 0.35 to 0.75" in task.note


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": "Other"}, "em: 2 of 2 documents have other prompts in random .* than in rds_plus"),
        ({"settings": {"num_fewshot": 5}}, r"evaluate\.tasks\.em\.num_fewshot is 0 and 5"),
        ({"values": {"em": [1, 0, 1]}}, "other documents in random .*, 2, than in rds_plus .*, 3: 0 .* and 1 only"),
        (
            {"values": {"em": [1, 0], "loss": [(1.0, 1)]}},
            r"rds_plus .* has loss, which random .* has not.*tasks=\[em\]",
        ),
        ({"values": {"loss": [(1.0, 1)]}}, "they have no task in common"),
        ({"seed": 3}, None),
    ],
    ids=["prompts", "shots", "documents", "tasks", "no task", "another seed"],
)
def test_runs_that_were_not_asked_the_same_are_refused(
    tmp_path: Path, change: dict[str, Any], words: str | None
) -> None:
    save(tmp_path, "random", {"em": [1, 0]})
    save(tmp_path, "rds_plus", change.pop("values", {"em": [1, 1]}), **change)
    if words is None:
        assert len(found(tmp_path).pairs) == 1
        return
    with pytest.raises(ReportError, match=words):
        found(tmp_path)


def test_what_both_have_is_compared_on_request(tmp_path: Path) -> None:
    save(tmp_path, "random", {"em": [1, 0]})
    save(tmp_path, "rds_plus", {"em": [1, 1], "loss": [(1.0, 1)]})
    assert [task.name for task in found(tmp_path, tasks=("em",)).tasks] == ["em"]
    with pytest.raises(ReportError, match="Did you mean em"):
        found(tmp_path, tasks=("emm",))


def test_names_of_runs(tmp_path: Path) -> None:
    folders = {group: save(tmp_path, "random", {"em": [0, 1]}, group=group) for group in ("small", "large")}
    save(tmp_path, "rds_plus", {"em": [1, 1]}, group="large")
    with pytest.raises(ReportError, match=r"a=random names the runs of 2 experiments: random \(budget=small\)"):
        found(tmp_path)
    small, large = (folders[group].name.rpartition("-")[2] for group in ("small", "large"))
    for a, settings, expected in (
        ("random", {"group": "large"}, large),
        ("small/random", {}, small),
        ("small", {}, small),
        ("random (budget=small)", {}, small),
        (small[:8], {}, small),
        (folders["small"].name, {}, small),
        (str(folders["small"]), {}, small),
    ):
        assert found(tmp_path, a, **settings).pairs[0].a.fingerprint == expected, a
    with pytest.raises(ReportError, match="Did you mean rds_plus"):
        found(tmp_path, "small", "rds_pluss")
    with pytest.raises(ReportError, match="Did you mean large"):
        found(tmp_path, group="larg")
    with pytest.raises(ReportError, match="the same run"):
        found(tmp_path, "small", "small/random")
    with pytest.raises(ReportError, match=r"a=small has no run of seeds=\[4\]: it has the seeds 0"):
        found(tmp_path, "small", seeds=(4,))


def test_seeds_without_a_partner_and_lost_evaluations_are_refused(tmp_path: Path) -> None:
    for seed in (0, 1):
        save(tmp_path, "random", {"em": [0, 1]}, seed)
        folder = save(tmp_path, "rds_plus", {"em": [0, 1]}, seed + 5)
    with pytest.raises(ReportError, match=r"random \(seeds 0, 1\) and rds_plus \(seeds 5, 6\) have no seed in common"):
        found(tmp_path)
    (tmp_path / "evaluation" / f"suite-{folder.name.rpartition('-')[2]}" / "record.json").unlink()
    with pytest.raises(ReportError, match=r"the evaluation .* of rds_plus \(seed 6, .*\) is not in"):
        found(tmp_path, "random", "rds_plus", seeds=(0, 6))


def test_the_table_fits_and_the_files_hold_the_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "example " * 200
    save(tmp_path, "random", {"em": BEFORE, "f1": [0.5, 0.25]}, prompt=long)
    save(tmp_path, "rds_plus", {"em": AFTER, "f1": [0.5, 0.5]}, prompt=long)
    report = compare({"a": "random", "b": "rds_plus", "store": str(tmp_path), "resamples": 500, "examples": 1})
    assert capsys.readouterr().out.startswith("A random · B rds_plus")
    lines = printed(report, 80)
    assert max(map(len, lines)) <= 80
    (folder,) = (tmp_path / "compare").iterdir()
    assert folder.name.startswith("random-vs-rds_plus-")
    text = (folder / "compare.md").read_text()
    assert "| em | exact_match ↑ | 20 | 0.350 | 0.750 | +0.400 [" in text
    assert "| 10 | 2 | 0.0386 | 0.0771 |" in text
    assert "### em, document 0: exact_match 0 → 1 (to right)" in text
    assert "### em, document 10: exact_match 1 → 0 (to wrong)" in text
    assert "document 1: exact_match" not in text
    assert "    … " in text
    assert long not in text
    assert "A (seed 0), taken as `0`:\n\n    random says 0\n" in text
    flips = [json.loads(line) for line in (folder / "flips.jsonl").read_text().splitlines()]
    assert len(flips) == 13
    assert flips[0]["prompt"] == f"{long}: question 0 of em"
    assert json.loads((folder / "compare.json").read_text())["tasks"][0]["better"] == 10


def test_words_before_the_overrides_are_the_two() -> None:
    assert _with_sides(["random", "rds_plus", "group=g"]) == ['a="random"', 'b="rds_plus"', "group=g"]
    assert _with_sides(["kmq(num_clusters=6)", "b=x"]) == ['a="kmq(num_clusters=6)"', "b=x"]
    assert _with_sides(["--help"]) == ["--help"]


def test_the_command_refuses_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="a=random: the store has no finished run"):
        found(tmp_path)
    save(tmp_path, "random", {"em": BEFORE})
    with pytest.raises(ReportError, match=r"b=rnadom: there is no such .* Did you mean random"):
        check_command("compare", ["a=random", "b=rnadom", f"store={tmp_path}"], False, None, check_compare)
    with pytest.raises(ValueError, match="b must be given a value"):
        check_command("compare", ["a=random", f"store={tmp_path}"], False, None, check_compare)
    with pytest.raises(ValueError, match=r"confidence=1\.5"):
        CompareConfig(a="a", b="b", confidence=1.5)


def test_real_evaluations_of_the_tiny_model(tmp_path: Path) -> None:
    """Random picks against the base model, on what the harness itself wrote."""
    small = ["model=tiny", "pool.size=120", "budget.amount=8", "finetune.epochs=1", "finetune.learning_rate=0.05"]
    small += ["evaluate.limit=2", "tracking=disabled", f"store={tmp_path}"]
    for own in (["selection=none"], ["selection=random"]):
        with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
            node = plain_node(compose("run", overrides=[*small, *own]))
        run(node, own)
    report = found(tmp_path, "base", "random")
    assert [task.name for task in report.tasks] == ["shell_loss", "sql_loss", "shell_em", "sql_em"]
    assert [item.name for item in report.together] == ["all 2: nats_per_byte", "all 2: right answers"]
    assert not any(task.note for task in report.tasks)
    loss = report.tasks[0]
    assert (loss.questions, loss.better + loss.worse, len(report.pairs)) == (2, 2, 1)
    assert loss.low is not None
    assert loss.high is not None
    assert loss.low <= loss.difference <= loss.high
    shown = next(flip for flip in report.flips if flip["task"] == "shell_loss")
    assert shown["prompt"].startswith("<|im_start|>")
    assert shown["a"]["run"] == report.a.runs[0].fingerprint
