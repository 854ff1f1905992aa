"""Tasks whose answers another model judges: what they share, as configs that load no model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from siftune.evaluate.judged_files import HUB, beside, identity_of, located, packaged
from siftune.evaluate.tasks import EvaluationError, check_limit
from siftune.finetune.decoding import Decoding
from siftune.selection.features.endpoint.endpoint import Endpoint
from siftune.selection.features.endpoint.endpoint_replies import Reply
from siftune.selection.pool.reading import read_file
from siftune.selection.pool.rows import Message
from siftune.selection.pool.source import PoolError


@dataclass(frozen=True, kw_only=True)
class Judge:
    """A chat model that gives verdicts on answers."""

    endpoint: Endpoint
    """The model and where it is."""
    temperature: float | None = 0.0
    """Of its replies; null leaves it to the endpoint (OpenAI's reasoning models take no other value)."""
    max_tokens: int | None = 2048
    """Of a reply; null leaves it to the endpoint. Judges that reason first need hundreds."""
    max_malformed: float = field(default=0.1, metadata={"identity": False})
    """The task fails when more than this share of the replies holds no verdict. Up to it they are counted and left out
    of the mean."""

    def __post_init__(self) -> None:
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"judge.temperature={self.temperature} must not be negative")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"judge.max_tokens={self.max_tokens} must be at least 1")
        if not 0 <= self.max_malformed < 1:
            raise ValueError(f"judge.max_malformed={self.max_malformed} must be at least 0 and below 1")

    @property
    def options(self) -> dict[str, Any]:
        """Entries of a request's body."""
        options = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True)
class Question:
    """What the evaluated model is asked."""

    id: str
    category: str
    asked: tuple[str, ...]
    """The user's turns, each of which is answered before the next."""
    history: tuple[Message, ...] = ()
    """Turns before the first of them, with answers of somebody else."""
    material: tuple[str, ...] = ()
    """What the judge is given besides: reference answers, a checklist, the answer of another model."""


@dataclass(frozen=True)
class Ask:
    """A request to the judge."""

    messages: tuple[Message, ...]
    swapped: bool = False
    """Whether the evaluated model's answer stands first where two are compared."""


@dataclass(frozen=True)
class Judged:
    """A question with the model's answers and the judge's verdicts."""

    question: Question
    answers: tuple[str, ...]
    verdicts: tuple[float | str, ...]
    """One a request; text says why there is none."""

    @property
    def given(self) -> list[float]:
        """The verdicts that there are."""
        return [verdict for verdict in self.verdicts if not isinstance(verdict, str)]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the verdicts come to."""

    value: float
    stderr: float | None
    share: float
    """The value between 0 and 1, as averages over benchmarks take it."""
    values: tuple[float | None, ...]
    """What each question counts for; None where it has no verdict."""
    details: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class JudgedTask(ABC):
    """A benchmark of open questions. The model answers all of them, then the judge gives its verdicts."""

    per_document: ClassVar[bool] = True
    """Whether the value is the mean of what the questions count for."""

    data: str | None = field(default=None, metadata={"identity": False})
    """The questions: a file (.jsonl, .json, .parquet; text also compressed), or hub:OWNER/DATASET/FILE. With
    evaluate.data_dir a file of the hub, and where this is null the file `local_name`, is read from that folder. A local
    file's content enters the fingerprint through `inputs`."""
    judge: Judge
    """Who judges."""
    decoding: Decoding
    """How the model's answers are drawn."""
    template: str
    """What the judge is asked, as one user message; it may be a file's text, or name a file that an installed package
    carries as package:IMPORT_NAME/FILE. Turns marked <|im_start|>ROLE ... <|im_end|> become messages of their own."""
    limit: int | None = None
    """Evaluate the first questions only; null: the suite's limit."""

    slots: ClassVar[tuple[str, ...]]
    """What the template must hold."""
    local_name: ClassVar[str]
    """The questions' file in evaluate.data_dir."""

    def __post_init__(self) -> None:
        check_limit(self.limit)
        if not self.template.startswith("package:"):
            self.check_template("template", self.template, self.slots)

    @property
    @abstractmethod
    def metric(self) -> str:
        """What the value is called."""

    @property
    def options(self) -> dict[str, Any]:
        """Entries of the body of each request to the judge."""
        return self.judge.options

    def temperature_of(self, question: Question) -> float:
        """Of the model's answers to a question."""
        return self.decoding.temperature

    @abstractmethod
    def question_of(self, value: Mapping[str, Any], number: int) -> Question:
        """A row of the file, the `number`-th from 0; KeyError or ValueError where it is not one."""

    @abstractmethod
    def asks(self, question: Question, answers: Sequence[str]) -> list[Ask]:
        """What the judge is asked about the answers."""

    @abstractmethod
    def verdict(self, reply: Reply, ask: Ask) -> float | str:
        """The verdict in a judge's reply, or why there is none."""

    @abstractmethod
    def outcome(self, judged: Sequence[Judged]) -> Outcome:
        """The task's value. At least one verdict is there."""

    def inputs(self) -> dict[str, str]:
        """The name of the file on the hub, or the digest of the local one; the digest of a package's template."""
        found = {"data": identity_of(self._given_data())}
        return found | ({"template": self.filled_template()} if self.template.startswith("package:") else {})

    def in_folder(self, folder: str) -> JudgedTask:
        """The task with its files from a folder in place of the hub."""
        return replace(self, data=beside(folder, self.data or f"{HUB}{self.local_name}"))

    def check(self, limit: int | None) -> None:
        """EvaluationError where the data is not there or not what is needed; no model is asked anything."""
        self.questions(limit)
        self.check_template("template", self.filled_template(), self.slots)

    def filled_template(self) -> str:
        """The template's text."""
        return packaged(self.template) if self.template.startswith("package:") else self.template

    def questions(self, limit: int | None) -> list[Question]:
        """The first `limit` questions; EvaluationError names the file and the row that cannot be read."""
        path, found = located(self._given_data()), []
        try:
            for number, record in enumerate(read_file(path)):
                if number == limit:
                    break
                if record.problem is not None or not isinstance(record.value, Mapping):
                    raise EvaluationError(f"{path}, row {record.line}: {record.problem or 'not an object'}")
                found.append(self._question(record.value, number, f"{path}, row {record.line}"))
        except PoolError as error:
            raise EvaluationError(str(error)) from error
        if not found:
            raise EvaluationError(f"{path} holds no question")
        if len({question.id for question in found}) < len(found):
            raise EvaluationError(f"{path}: two questions have the same id")
        return found

    def _question(self, value: Mapping[str, Any], number: int, where: str) -> Question:
        try:
            question = self.question_of(value, number)
        except KeyError as error:
            keys = ", ".join(map(str, value))
            raise EvaluationError(
                f"{where} has no {error}, which {type(self).__name__} needs; it has {keys}"
            ) from error
        except (TypeError, ValueError) as error:
            raise EvaluationError(f"{where}: {error}") from error
        if not question.asked or not all(turn.strip() for turn in question.asked):
            raise EvaluationError(f"{where} asks nothing")
        return question

    def _given_data(self) -> str:
        if self.data is None:
            raise EvaluationError(
                f"data is not given: name the file of its questions, or a folder that holds it as {self.local_name} by "
                "evaluate.data_dir"
            )
        return self.data

    @staticmethod
    def check_template(name: str, text: str, slots: Sequence[str]) -> None:
        """ValueError where the judge would not see what it is to judge."""
        missing = [f"{{{slot}}}" for slot in slots if f"{{{slot}}}" not in text]
        if missing:
            raise EvaluationError(f"{name} lacks {' and '.join(missing)}: the judge would not see it")
