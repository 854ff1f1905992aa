"""A table's cells as overrides: who replaces whom, and what is left to launch when some are done."""

from __future__ import annotations

from itertools import chain

import pytest

from siftune.runs.build import ConfigError
from siftune.runs.paper import Miniature, Paper
from siftune.runs.reproduction.cells import as_lines, cells_in, lines_of, merged, require_free, scale_of

PAPER = Paper(
    citation="Own 2025",
    grids=({"selection": "none"}, {"selection": "random,mig", "seed": "0,1"}),
    miniature=Miniature(overrides=("tagger=keywords", "budget.amount=8"), grids=({"selection": "random,mig"},)),
)


def test_a_line_a_grid_under_the_experiment_and_the_users_overrides() -> None:
    lines = lines_of("own/table", PAPER, None, ["seed=5", "store=there"])
    assert lines == [
        ("experiment=own/table", "selection=none", "seed=5", "store=there"),
        ("experiment=own/table", "selection=random,mig", "seed=5", "store=there"),
    ]


def test_the_miniature_has_its_scale_its_overrides_and_its_grids() -> None:
    (line,) = lines_of("own/table", PAPER, "miniature", ["budget.amount=16"])
    assert line == (
        "experiment=own/table",
        "scale=miniature",
        "tagger=keywords",
        "selection=random,mig",
        "budget.amount=16",
    )


@pytest.mark.parametrize(
    ("overrides", "merged_overrides"),
    [
        (["a=1", "b=2", "a=3"], ("b=2", "a=3")),
        (["a=1", "+a=2"], ("+a=2",)),
        (["a=1", "~a"], ("~a",)),
        (["~a", "a=1"], ("a=1",)),
        (["encoder=x", "encoder@tag_encoder=y", "encoder@tag_encoder=z"], ("encoder=x", "encoder@tag_encoder=z")),
        (["scorer@scorers.deita=a", "+scorer@scorers.deita=b"], ("+scorer@scorers.deita=b",)),
        (["a=1,2", "a=3,4"], ("a=3,4",)),
    ],
    ids=["last", "plus", "deleted", "given again", "package", "plus package", "sweep"],
)
def test_of_a_key_the_last_counts(overrides: list[str], merged_overrides: tuple[str, ...]) -> None:
    assert merged(overrides) == merged_overrides


@pytest.mark.parametrize(
    ("overrides", "miniature", "scale"),
    [
        ([], False, None),
        ([], True, "miniature"),
        (["scale=miniature_real"], False, "miniature_real"),
        (["scale=miniature_real"], True, "miniature_real"),
        (["scale=null"], False, None),
    ],
)
def test_the_users_scale_counts(overrides: list[str], miniature: bool, scale: str | None) -> None:
    assert scale_of(overrides, miniature) == scale


@pytest.mark.parametrize("override", ["experiment=other", "hydra/sweeper=search", "hydra.sweeper.params.a=1"])
def test_what_the_command_sets_itself_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"sets .* itself"):
        require_free(["seed=1", override])
    require_free(["seed=1", "hydra/launcher=parallel", "hydra.launcher.n_jobs=2"])


def test_a_grid_of_which_nothing_is_done_is_one_line() -> None:
    line = ("experiment=own/table", "selection=random,mig", "x=[1,2],[3,4]", "seed=0,1", 'label="a,b"')
    assert len(cells_in(line)) == 8
    assert as_lines(cells_in(line)) == [line]


@pytest.mark.parametrize("done", [{0}, {0, 1, 2}, {3, 4}, {1, 6}, set(range(7)), {0, 2, 4, 6}])
def test_what_is_left_of_a_grid_is_in_the_lines_once(done: set[int]) -> None:
    cells = cells_in(("selection=random,mig", "budget.amount=8,16", "seed=0,1"))
    left = [cell for number, cell in enumerate(cells) if number not in done]
    assert sorted(chain.from_iterable(cells_in(line) for line in as_lines(left))) == sorted(left)


def test_what_is_left_of_an_interrupted_grid_is_few_lines() -> None:
    cells = cells_in(("selection=a,b,c,d", "seed=0,1,2"))
    assert as_lines(cells[4:]) == [("selection=b", "seed=1,2"), ("selection=c,d", "seed=0,1,2")]
    assert as_lines([]) == []
