"""Scores of rows by what models answer on their turns: the part of DEITA's scorers that goes from rows to values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from siftune.selection.features.encoders.encoder import Progress
from siftune.selection.features.scorers.deita_answers import Answers, Prompt
from siftune.selection.features.scorers.scorer import ScoredBlock
from siftune.selection.pool.rows import Row
from siftune.selection.pool.source import TurnReduction
from siftune.selection.pool.turns import deita, over_turns, turns_of

NO_TURN = "no turn of a user that the assistant answers"
NOT_FINITE = "the model gives no finite score"


class OpenTurnScorer:
    """One loaded model a score, and how the turns' scores become the row's."""

    def __init__(self, models: Mapping[str, Answers], reductions: Mapping[str, TurnReduction]) -> None:
        self.provides = tuple(reductions)
        self._models = models
        self._reductions = reductions

    def score(self, rows: Sequence[Row], progress: Progress = lambda rows: None) -> ScoredBlock:
        """Scores of the rows; the turns of all rows are sorted by length and batched together."""
        return self.score_prepared(self.prepare(rows), progress)

    def prepare(self, rows: Sequence[Row]) -> Prepared:
        """What the models read of every turn."""
        turns = [(row, turn) for row, own in enumerate(rows) for turn in turns_of(own.messages)]
        prompts = {name: [model.prompt(turn) for _, turn in turns] for name, model in self._models.items()}
        return Prepared(len(rows), np.array([row for row, _ in turns], dtype=np.int64), prompts)

    def score_prepared(self, prepared: Prepared, progress: Progress = lambda rows: None) -> ScoredBlock:
        """The scores of what `prepare` gave."""
        told = _RowsDone(prepared, progress)
        turn_values, tokens, positions = {}, 0, 0
        for name, model in self._models.items():
            values, own_tokens, own_positions = model.expected(prepared.prompts[name], told.prompts_done)
            turn_values[name] = [own.tolist() for own in np.split(values, prepared.starts()[1:])]
            tokens, positions = tokens + own_tokens, positions + own_positions
        found = [self._row({name: values[row] for name, values in turn_values.items()}) for row in range(prepared.rows)]
        missing = np.flatnonzero(np.isnan(found).any(axis=1)).tolist()
        cut = {
            int(prepared.row_of[i])
            for prompts in prepared.prompts.values()
            for i, prompt in enumerate(prompts)
            if prompt.truncated
        }
        return ScoredBlock(
            values=np.array(found, dtype=np.float64).reshape(prepared.rows, len(self.provides)),
            reasons={row: self._reason(prepared, row) for row in missing},
            truncated=len(cut),
            tokens=tokens,
            positions=positions,
        )

    def _row(self, turns: Mapping[str, Sequence[float]]) -> list[float]:
        """The row's scores, of those of its turns."""
        if not len(next(iter(turns.values()))):
            return [np.nan] * len(self.provides)
        return [
            over_turns(turns[name], how) if name in turns else deita(turns["quality"], turns["complexity"], how)
            for name, how in self._reductions.items()
        ]

    def _reason(self, prepared: Prepared, row: int) -> str:
        turns = np.flatnonzero(prepared.row_of == row).tolist()
        if not turns:
            return NO_TURN
        for name, model in self._models.items():
            for number, i in enumerate(turns, 1):
                if not prepared.prompts[name][i].ids:
                    return f"turn {number}: no token of the {model.last} within max_length"
        return NOT_FINITE


@dataclass(frozen=True)
class Prepared:
    """The prompts of some rows."""

    rows: int
    row_of: np.ndarray
    """(t,) int64 ascending: the row that each turn belongs to."""
    prompts: Mapping[str, Sequence[Prompt]]
    """score -> t prompts."""

    def starts(self) -> np.ndarray:
        """(rows,) int64: where each row's turns begin."""
        return np.searchsorted(self.row_of, np.arange(self.rows))


class _RowsDone:
    """Tells `progress` of a row when the last of its prompts is computed."""

    def __init__(self, prepared: Prepared, progress: Progress) -> None:
        self._row_of = prepared.row_of
        self._progress = progress
        self._waiting = np.zeros(prepared.rows, dtype=np.int64)
        for prompts in prepared.prompts.values():
            there = [len(prompt.ids) > 0 for prompt in prompts]
            np.add.at(self._waiting, prepared.row_of[there], 1)
        without = int((self._waiting == 0).sum())
        if without:
            progress(without)

    def prompts_done(self, prompts: np.ndarray) -> None:
        rows = self._row_of[prompts]
        np.subtract.at(self._waiting, rows, 1)
        finished = int((self._waiting[np.unique(rows)] == 0).sum())
        if finished:
            self._progress(finished)
