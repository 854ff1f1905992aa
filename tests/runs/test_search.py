"""Searches: what is varied, what is made better, and how trials are proposed, pruned, noted and taken up again."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_module
from omegaconf import DictConfig

from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import LMEvalTask
from siftune.runs.build import ConfigError, build
from siftune.runs.config import experiment_config
from siftune.runs.preflight import CONFIG_MODULE, VERSION_BASE, compose_cell, plain_node
from siftune.runs.search import Searcher, begin_search
from siftune.runs.searching.cells import all_groups
from siftune.runs.searching.config import SearchConfig
from siftune.runs.searching.objective import objective_of
from siftune.runs.searching.report import markdown, show_search
from siftune.runs.searching.space import Choice, Interval, space_of
from siftune.runs.searching.state import FILE, Search, read_search

pytest.importorskip("optuna", reason="searches need siftune[optuna]")
FIXED = ["model=tiny", "budget.amount=32", "tracking=disabled"]
RATE = "finetune.learning_rate=tag(log,interval(1e-4,1e-3))"
METHODS = ["selection=random,kmq", "selection.num_clusters=choice(2,4)", RATE]
SETTINGS: dict[str, Any] = {"n_trials": 6, "startup_trials": 3, "rungs": (8, 16), "objective": "shell_loss"}


@pytest.fixture(autouse=True, scope="module")
def composing() -> Iterator[None]:
    with initialize_config_module(config_module=CONFIG_MODULE, version_base=VERSION_BASE):
        yield


class Runs:
    """Stands in for Hydra's launcher: records runs whose loss follows from their overrides, and counts them."""

    def __init__(self, store: Path, loss: Callable[[dict[str, str]], float], stop_after: int = 1000) -> None:
        self._store, self._loss, self._left = store, loss, stop_after
        self.made: list[dict[str, str]] = []

    def __call__(self, cells: Sequence[Sequence[str]]) -> list[Path | str]:
        return [self._run(dict(override.split("=", 1) for override in cell)) for cell in cells]

    def _run(self, cell: dict[str, str]) -> Path | str:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1
        self.made.append(cell)
        value = self._loss(cell)
        if value != value:
            return "the loss is not a number"
        folder = self._store / "run" / f"it-{len(self.made)}"
        folder.mkdir(parents=True, exist_ok=True)
        tasks = {"shell_loss": {"value": value, "higher_is_better": False}}
        record = {"summary": {"results": {"headline": None, "tasks": tasks}}}
        (folder / "record.json").write_text(json.dumps(record))
        return folder


def loss(cell: dict[str, str]) -> float:
    """The higher the learning rate and the budget, the better."""
    return 1 - 100 * float(cell["finetune.learning_rate"]) - float(cell["budget.amount"]) / 1000


def searcher(store: Path, runs: Runs, space: Sequence[str] = METHODS, **settings: Any) -> Searcher:
    config = SearchConfig(**{**SETTINGS, **settings})
    overrides = [*FIXED, f"store={store}", *space]

    def compose(own: Sequence[str]) -> DictConfig:
        cell = copy.deepcopy(composed(tuple(line for line in own if not line.startswith("store="))))
        cell.store = str(store)
        return cell

    return Searcher(begin_search(config, overrides, compose, all_groups()), config, runs)


@functools.cache
def composed(overrides: tuple[str, ...]) -> DictConfig:
    """Composing takes most of a test's time, and the same cells come again and again."""
    return compose_cell("run", overrides, None)


def plainly(search: Search) -> list[Any]:
    return [(trial.params, trial.state, [(rung.budget, rung.value) for rung in trial.rungs]) for trial in search.trials]


def test_the_space_is_what_sweeps() -> None:
    typed = [
        "a=x,y",
        "b=range(1,9,3)",
        "c=int(interval(1,5))",
        "d=tag(log,interval(1e-4,1))",
        "e=3",
        "f=range(0,1,0.25)",
    ]
    space = space_of(typed, {"a": "p,q", "g": "1,2", "e": "1,2"})
    assert space.fixed == ("e=3",)
    assert {item.key: item for item in space.parameters} == {
        "a": Choice(key="a", values=("x", "y")),
        # Hydra's ranges end before their stop.
        "b": Interval(key="b", low=1, high=7, step=3, whole=True),
        "c": Interval(key="c", low=1, high=5, whole=True),
        "d": Interval(key="d", low=1e-4, high=1, log=True),
        "f": Interval(key="f", low=0.0, high=0.75, step=0.25),
        "g": Choice(key="g", values=(1, 2)),
    }
    with pytest.raises(ConfigError, match="d: a logarithmic interval starts above 0"):
        space_of(["d=tag(log,interval(0,1))"], None)


def suite(**tasks: bool | None) -> Suite:
    made = {name: LMEvalTask(task=name, metric="acc", higher_is_better=higher) for name, higher in tasks.items()}
    return Suite(name="mine", tasks=made)


def test_the_direction_is_the_tasks() -> None:
    assert objective_of(suite(a=True, b=False), "b", None).direction == "minimize"
    assert objective_of(suite(a=True, b=False), None, None).direction == "maximize"
    assert objective_of(suite(a=None), "a", "minimize").direction == "minimize"
    assert objective_of(suite(a=False, b=False), ("a", "b"), None).name == "mean of a, b"


@pytest.mark.parametrize(
    ("tasks", "named", "direction", "words"),
    [
        ({"a": False}, "a", "maximize", "losses are minimised here; hydra.sweeper.direction=minimize is right"),
        ({"a": True}, None, "minimize", "scores are maximised here"),
        ({"a": True, "b": False}, ("a", "b"), None, "mixes losses"),
        ({"a": False, "b": False}, None, None, r"'hydra.sweeper.objective=\[a,b\]'"),
        ({"a": None}, "a", None, "add hydra.sweeper.direction=maximize"),
        ({"mmlu": True}, "mmul", None, "Did you mean mmlu"),
    ],
    ids=["loss", "score", "mixed", "losses alone", "unknown direction", "unknown task"],
)
def test_an_objective_that_cannot_be_is_refused(tasks: Any, named: Any, direction: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        objective_of(suite(**tasks), named, direction)


def test_pruned_trials_cost_their_rungs_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Runs(tmp_path, loss)
    search = searcher(tmp_path, runs).run()
    assert len(runs.made) == sum(len(trial.rungs) for trial in search.trials) < 6 * 3
    assert [trial.number for trial in search.trials] == [*range(6)]
    # Nobody is better than the first when it comes by; who goes on from then on is among the better half.
    assert search.trials[0].state == "complete"
    assert {len(trial.rungs) for trial in search.trials if trial.state == "complete"} == {3}
    assert {trial.state for trial in search.trials} == {"complete", "pruned"}
    seen: list[float] = []
    for trial in search.trials:
        first = trial.rungs[0].value
        seen = sorted([*seen, first])
        assert (len(trial.rungs) > 1) == (first <= seen[max(len(seen) // 2 - 1, 0)])
    best = search.best
    assert best is not None
    assert best.value == min(trial.value or 9 for trial in search.trials if trial.state == "complete")
    assert "pruned" in capsys.readouterr().err


def test_a_setting_that_the_method_lacks_is_left_out_of_the_trial(tmp_path: Path) -> None:
    runs = Runs(tmp_path, loss)
    search = searcher(tmp_path, runs, rungs=()).run()
    assert {trial.params["selection"] for trial in search.trials} == {"random", "kmq"}
    for trial in search.trials:
        assert ("selection.num_clusters" in trial.params) == (trial.params["selection"] == "kmq")
    for cell in runs.made:
        node = plain_node(composed(tuple(f"{key}={value}" for key, value in cell.items() if key != "store")))
        assert experiment_config(node).finetune is not None


@pytest.mark.parametrize("stop_after", [0, 1, 4, 9])
def test_an_interrupted_search_ends_like_an_undisturbed_one(tmp_path: Path, stop_after: int) -> None:
    whole = searcher(tmp_path / "whole", Runs(tmp_path / "whole", loss)).run()
    first = Runs(tmp_path, loss, stop_after)
    with pytest.raises(KeyboardInterrupt):
        searcher(tmp_path, first).run()
    again = Runs(tmp_path, loss)
    resumed = searcher(tmp_path, again).run()
    assert plainly(resumed) == plainly(whole)
    # No run is made twice: where the search stopped, none had been made that it had not noted.
    assert len(first.made) + len(again.made) == sum(len(trial.rungs) for trial in whole.trials)


def test_a_finished_search_makes_no_trial_and_more_trials_go_on_from_it(tmp_path: Path) -> None:
    done = searcher(tmp_path, Runs(tmp_path, loss), n_trials=4).run()
    none = Runs(tmp_path, loss)
    searcher(tmp_path, none, n_trials=4).run()
    assert none.made == []
    longer = searcher(tmp_path, Runs(tmp_path, loss), n_trials=6).run()
    assert plainly(longer)[:4] == plainly(done)
    assert len(longer.trials) == 6


def test_a_failed_trial_is_noted_and_the_others_go_on(tmp_path: Path) -> None:
    def some_fail(cell: dict[str, str]) -> float:
        return float("nan") if cell["selection"] == "kmq" else loss(cell)

    search = searcher(tmp_path, Runs(tmp_path, some_fail)).run()
    failed = [trial for trial in search.trials if trial.params["selection"] == "kmq"]
    assert {trial.state for trial in failed} == {"failed"}
    assert {trial.error for trial in failed} == {"the loss is not a number"}
    assert len(search.trials) == 6
    assert search.best is not None
    assert "the loss is not a number" in markdown(search, [])


def test_trials_run_side_by_side(tmp_path: Path) -> None:
    sizes: list[int] = []
    runs = Runs(tmp_path, loss)

    def launch(cells: Sequence[Sequence[str]]) -> list[Path | str]:
        sizes.append(len(cells))
        return runs(cells)

    begun = searcher(tmp_path, runs, n_jobs=2)
    begun._launch = launch
    search = begun.run()
    assert sizes[0] == 2
    assert len(search.trials) == 6
    assert search.count("running") == 0


def test_another_search_of_the_same_name_is_refused(tmp_path: Path) -> None:
    searcher(tmp_path, Runs(tmp_path, loss), study_name="mine", n_trials=1).run()
    assert (tmp_path / "search" / "mine" / FILE).is_file()
    with pytest.raises(ConfigError, match="another space, another rungs: start it as it was"):
        searcher(tmp_path, Runs(tmp_path, loss), [RATE], study_name="mine", rungs=(8,))


@pytest.mark.parametrize(
    ("space", "settings", "words"),
    [
        ([], {}, "a search varies something"),
        ([RATE], {"rungs": (8, 32)}, r"rungs=\[8, 32\] must be below budget.amount=32"),
        ([RATE, "budget.amount=16,32"], {}, "are budgets already"),
        ([RATE, "evaluate=skills,skills_all"], {}, "different suites do not compare"),
        (["finetune.learning_rat=interval(0,1)"], {}, "Did you mean learning_rate"),
        (["selection=random,kmk"], {}, "Did you mean kmq"),
        (["finetune.epochs=interval(1,3)"], {}, "finetune.epochs=2.97938"),
    ],
    ids=["nothing", "rungs", "budget", "suite", "key", "option", "whole number"],
)
def test_a_space_that_cannot_be_searched_is_refused(
    tmp_path: Path, space: list[str], settings: dict[str, Any], words: str
) -> None:
    def compose_all() -> None:
        for own in searcher(tmp_path, Runs(tmp_path, loss), space, **settings)._cells.ends():
            experiment_config(plain_node(composed((*FIXED, *own))))

    with pytest.raises(ConfigError, match=words):
        compose_all()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"rungs": (16, 8)}, "must rise"),
        ({"n_trials": 0}, "must be at least 1"),
        ({"study_name": "a/b"}, "name of a folder"),
        ({"pruner": "hyper"}, "Allowed: halving, median"),
        ({"n_trails": 3}, "Did you mean n_trials"),
    ],
)
def test_settings_are_checked(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(SearchConfig, setting, "hydra.sweeper")


def test_the_report_has_every_trial_and_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    search = searcher(tmp_path, Runs(tmp_path, loss), study_name="mine").run()
    folder = tmp_path / "search" / "mine"
    show_search(search, folder)
    best = search.best
    assert best is not None
    said = capsys.readouterr().out
    assert f"Best: trial {best.number}, shell_loss {best.value:.5g}\nsiftune run model=tiny" in said
    assert {path.name for path in folder.iterdir()} == {FILE, "search.md", "history.png", "parameters.png"}
    text = (folder / "search.md").read_text()
    rows = [line for line in text.splitlines() if line[:2] == "| " and line[2].isdigit()]
    assert [row.split(" | ")[1].strip("*") for row in rows] == [trial.state for trial in search.trials]
    assert read_search(folder) == search


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_was(tmp_path: Path, run_command: Any) -> None:
    """Six trials of real runs; killed at the first rung of the third."""
    noted = tmp_path / "search" / "mine" / FILE

    def third_begins() -> bool:
        return noted.is_file() and len(json.loads(noted.read_text())["trials"]) == 3

    run_command.kill_when(tmp_path, third_begins)
    before = json.loads(noted.read_text())
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/*/record.json")}
    errors = run_command.finish(tmp_path)
    search = read_search(noted.parent)
    assert search is not None
    assert "6 trials, of which 3 are begun or done" in errors
    assert json.loads(noted.read_text())["trials"][:2] == before["trials"][:2]
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert search.count("complete") + search.count("pruned") == len(search.trials) == 6
    assert {(tmp_path / rung.run / "record.json").is_file() for trial in search.trials for rung in trial.rungs} == {
        True
    }
    assert (noted.parent / "history.png").is_file()


OVERRIDES = [
    *("-m", "hydra/sweeper=search", "hydra.sweeper.study_name=mine", "hydra.sweeper.n_trials=6"),
    *("hydra.sweeper.rungs=[4]", "hydra.sweeper.startup_trials=3", "hydra.sweeper.objective=shell_loss"),
    *("model=tiny", "pool.size=100", "selection=random", "budget.amount=8", "finetune.epochs=1", RATE),
    *("~evaluate.tasks.shell_em", "~evaluate.tasks.sql_em", "~evaluate.tasks.sql_loss", "evaluate.limit=2"),
    *("tracking=disabled", "check_resources=false"),
]
