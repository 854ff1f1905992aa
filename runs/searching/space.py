"""What a search varies: the sweep overrides of its command line (choices, ranges, intervals), as parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from hydra.core.override_parser.types import IntervalSweep, Override, Transformer

from siftune.runs.build import ConfigError
from siftune.runs.overrides import spelt
from siftune.runs.preflight import parse

if TYPE_CHECKING:
    from optuna import Trial

Value: TypeAlias = "str | int | float | bool | None"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several values. Text is kept as it is written in an override, with its quotes."""

    key: str
    values: tuple[Value, ...]

    def suggest(self, trial: Trial) -> Value:
        """What Optuna's sampler makes of it."""
        suggested: Value = trial.suggest_categorical(self.key, list(self.values))
        return suggested

    @property
    def ends(self) -> tuple[Value, Value]:
        """The first and the last."""
        return self.values[0], self.values[-1]

    def __str__(self) -> str:
        return f"{self.key}=choice({','.join(map(written, self.values))})"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number between two others, both included."""

    key: str
    low: int | float
    high: int | float
    step: int | float | None = None
    """None: any number, or any whole one."""
    log: bool = False
    """Whether all orders of magnitude are equally likely."""
    whole: bool = False

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ConfigError(f"{self.key}: the interval from {self.low} to {self.high} is empty")
        if self.log and self.low <= 0:
            raise ConfigError(f"{self.key}: a logarithmic interval starts above 0, not at {self.low}")

    def suggest(self, trial: Trial) -> Value:
        """What Optuna's sampler makes of it."""
        if self.whole:
            return int(
                trial.suggest_int(self.key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
            )
        return float(trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log))

    @property
    def ends(self) -> tuple[Value, Value]:
        """Low and high; of any numbers not quite high, which may be whole where a setting takes whole ones alone."""
        free = self.step is None and not self.whole
        return self.low, self.high - (self.high - self.low) / 97 if free else self.high

    def __str__(self) -> str:
        if self.step is not None:
            return f"{self.key}=range({self.low},{self.high}) by {self.step}"
        interval = f"interval({written(self.low)},{written(self.high)})"
        return f"{self.key}={f'tag(log,{interval})' if self.log else interval}"


Parameter: TypeAlias = "Choice | Interval"


@dataclass(frozen=True)
class Space:
    """The parameters of a search, and the overrides that are the same in all of its trials."""

    parameters: tuple[Parameter, ...]
    fixed: tuple[str, ...]

    def split(self, groups: Iterable[str]) -> tuple[list[Choice], list[Parameter]]:
        """The parameters that choose options of config groups, and the others: settings, which an option may lack."""
        names = set(groups)
        choosing = [item for item in self.parameters if isinstance(item, Choice) and _group(item.key) in names]
        return choosing, [item for item in self.parameters if item not in choosing]


def space_of(overrides: Sequence[str], params: Mapping[str, Any] | None) -> Space:
    """From what was typed, and `hydra.sweeper.params`; what was typed comes later, and so replaces. ConfigError for a
    sweep that is no choice, range or interval."""
    lines = [f"{key}={value}" for key, value in (params or {}).items()]
    parsed = parse([*lines, *overrides])
    last = {item.get_key_element(): item for item in parsed}
    kept = [item for item in parsed if last[item.get_key_element()] is item]
    swept = [item for item in kept if item.is_sweep_override()]
    fixed = [item.input_line or "" for item in kept if not item.is_sweep_override()]
    return Space(tuple(map(_parameter, swept)), tuple(fixed))


def override(key: str, value: Value) -> str:
    """The parameter's value as an override."""
    return f"{key}={written(value)}"


def written(value: Value) -> str:
    """A value in Hydra's grammar; text is in it already."""
    return value if isinstance(value, str) else spelt(value, {})


def _parameter(item: Override) -> Parameter:
    key, sweep = item.get_key_element(), item.value()
    if isinstance(sweep, IntervalSweep):
        return _interval(key, sweep)
    if item.is_range_sweep():
        return _range(key, [value for value in item.sweep_iterator() if isinstance(value, (int, float))])
    if item.is_choice_sweep():
        values = tuple(item.sweep_iterator(transformer=Transformer.encode))
        if all(value is None or isinstance(value, (str, int, float, bool)) for value in values):
            return Choice(key=key, values=values)  # type: ignore[arg-type]
    raise ConfigError(f"{item.input_line}: a search takes choices (a,b,c), range(...) and interval(...)")


def _interval(key: str, sweep: IntervalSweep) -> Interval:
    low, high = sweep.start, sweep.end
    if low is None or high is None:
        raise ConfigError(f"{key}: an interval has a start and an end: interval(1e-4,1e-3)")
    whole = isinstance(low, int) and isinstance(high, int)
    return Interval(key=key, low=low, high=high, log="log" in sweep.tags, whole=whole)


def _range(key: str, values: Sequence[int | float]) -> Parameter:
    """Hydra's ranges end before their stop."""
    if not values:
        raise ConfigError(f"{key}: the range is empty")
    if len(values) == 1 or values[0] > values[1]:
        return Choice(key=key, values=tuple(values))
    whole = all(isinstance(value, int) for value in values)
    return Interval(key=key, low=values[0], high=values[-1], step=values[1] - values[0], whole=whole)


def _group(key: str) -> str:
    """encoder@tag_encoder, +experiment -> the group whose option is chosen."""
    return key.lstrip("+").partition("@")[0]
