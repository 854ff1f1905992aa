"""A model behind an endpoint has the scores that it has in this process, and is asked nothing twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from siftune.evaluate.backends.config import HERE, VLLM, ChatEndpoint, CompletionsEndpoint
from siftune.evaluate.harness import evaluate_suite, validate_suite
from siftune.evaluate.judged import Judge
from siftune.evaluate.lm import SiftuneLM
from siftune.evaluate.mt_bench import MTBench
from siftune.evaluate.results import SuiteResult
from siftune.evaluate.suite import Suite
from siftune.evaluate.tasks import EvaluationError, ExactMatch, LMEvalTask, ResponseLoss
from siftune.finetune.decoding import Decoding
from siftune.finetune.model import load_causal_lm, load_tokenizer
from siftune.finetune.model_sources import ModelRef
from siftune.selection.features.endpoint.endpoint import Endpoint, EndpointError
from siftune.selection.pool.file_pool import FilePool
from siftune.selection.pool.source import PoolSource
from siftune.selection.pool.store import Pool

Pools = Callable[[PoolSource], Pool]


@pytest.fixture
def sums(local_tasks: Path) -> LMEvalTask:
    """Written answers, two examples as turns."""
    return LMEvalTask(
        task=str(local_tasks / "sums.yaml"),
        metric="exact_match",
        filter="strict-match",
        num_fewshot=2,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        data_files={"test": str(local_tasks / "sums.jsonl"), "train": str(local_tasks / "sums_train.jsonl")},
    )


@pytest.fixture
def colours(local_tasks: Path) -> LMEvalTask:
    """The likeliest of three answers."""
    return LMEvalTask(
        task=str(local_tasks / "colours.yaml"),
        metric="acc_norm",
        data_files={"test": str(local_tasks / "colours.jsonl")},
    )


def outputs(folder: Path, task: str) -> list[str]:
    lines = (folder / "samples" / f"{task}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["resps"][0][0] for line in lines]


def comparable(result: SuiteResult) -> dict[str, Any]:
    return {
        name: (task.value, task.stderr, {k: v for k, v in task.details.items() if not k.startswith("endpoint_")})
        for name, task in result.tasks.items()
    }


def test_completions_give_the_scores_of_this_process(
    tiny: ModelRef, served: Any, sums: LMEvalTask, colours: LMEvalTask, heldout: FilePool, pools: Pools, tmp_path: Path
) -> None:
    em = ExactMatch(data=heldout, max_new_tokens=6)
    suite = Suite(name="s", tasks={"loss": ResponseLoss(data=heldout), "em": em, "sums": sums, "colours": colours})
    backend = CompletionsEndpoint(model="tiny", base_url=served.url)
    validate_suite(suite, backend=backend)
    here = evaluate_suite(tiny, suite, tmp_path / "here", pools=pools)
    there = evaluate_suite(tiny, suite, tmp_path / "there", pools=pools, backend=backend)
    mine, theirs = comparable(here), comparable(there)
    assert mine.keys() == theirs.keys()
    for name, (value, stderr, details) in mine.items():
        assert theirs[name][0] == pytest.approx(value, rel=1e-5)
        assert theirs[name][1] == pytest.approx(stderr, rel=1e-4)
        assert theirs[name][2] == pytest.approx(details, rel=1e-5)
    assert outputs(tmp_path / "there", "sums") == outputs(tmp_path / "here", "sums")
    assert outputs(tmp_path / "there", "em") == outputs(tmp_path / "here", "em")
    assert there.tasks["em"].tokens == here.tasks["em"].tokens
    assert there.tasks["sums"].details["endpoint_requests"] == 4


@pytest.mark.parametrize("length", [2048, 24])
def test_whole_texts_have_the_likelihood_of_this_process(
    length: int, tiny: ModelRef, served: Any, tmp_path: Path
) -> None:
    texts = ["One text, of which some windows are made where the model has little room.", "Short."]
    requests = [Instance("loglikelihood_rolling", {}, (text,), number) for number, text in enumerate(texts)]
    tokenizer = load_tokenizer(tiny)
    backend = CompletionsEndpoint(model="tiny", base_url=served.url, max_length=length)
    found = backend.start(tiny, tokenizer, None, tmp_path).lm.loglikelihood_rolling(requests, disable_tqdm=True)
    here = SiftuneLM(load_causal_lm(tiny), tokenizer, batch_size=1, conversation_length=2048)
    # HFLM's windows are as long as the model; what is served has two positions less.
    here._max_length = length - 2
    assert found == pytest.approx(here.loglikelihood_rolling(requests, disable_tqdm=True), rel=1e-4)


def test_a_long_prompt_loses_its_beginning_as_in_this_process(
    tiny: ModelRef, served: Any, colours: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    backend = CompletionsEndpoint(model="tiny", base_url=served.url, max_length=12)
    found = evaluate_suite(
        tiny, Suite(name="s", tasks={"colours": colours}), tmp_path / "out", pools=pools, backend=backend
    )
    assert found.tasks["colours"].samples == 6
    # With the token that is written, no more than the endpoint has room for.
    assert {len(body["prompt"]) for body in served.bodies} == {11}


def test_chat_gives_the_texts_of_this_process(
    tiny: ModelRef, served: Any, sums: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    suite = Suite(name="s", tasks={"sums": sums})
    evaluate_suite(tiny, suite, tmp_path / "here", pools=pools)
    backend = ChatEndpoint(model="tiny", base_url=served.url, input_price=1.0, output_price=1.0)
    there = evaluate_suite(tiny, suite, tmp_path / "there", pools=pools, backend=backend)
    assert outputs(tmp_path / "there", "sums") == outputs(tmp_path / "here", "sums")
    assert [turn["role"] for turn in served.bodies[0]["messages"]] == ["user", "assistant", "user", "assistant", "user"]
    assert served.bodies[0]["stop"] == ["Question:"]
    tokens = there.tasks["sums"].tokens
    assert there.tasks["sums"].details["endpoint_usd"] == pytest.approx((tokens["read"] + tokens["written"]) / 1e6)


def test_what_an_endpoint_does_not_take_is_left_out(
    tiny: ModelRef, served: Any, sums: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    backend = ChatEndpoint(model="tiny", base_url=served.url, leave_out=("stop",), extra={"top_k": 5})
    evaluate_suite(tiny, Suite(name="s", tasks={"sums": sums}), tmp_path / "out", pools=pools, backend=backend)
    assert all("stop" not in body and body["top_k"] == 5 for body in served.bodies)
    # The texts are cut all the same.
    assert not any("Question:" in text for text in outputs(tmp_path / "out", "sums"))


def test_samples_of_one_prompt_differ_and_are_asked_for_once(
    tiny: ModelRef, served: Any, sums: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    path = Path(sums.task)
    path.write_text(path.read_text() + "repeats: 3\n")
    drawn = dataclasses.replace(sums, generation={"do_sample": True, "temperature": 1.0})
    suite, backend = Suite(name="s", tasks={"sums": drawn}), CompletionsEndpoint(model="tiny", base_url=served.url)
    first = evaluate_suite(tiny, suite, tmp_path / "out", pools=pools, backend=backend)
    assert len(served.bodies) == 12
    assert len({body["seed"] for body in served.bodies}) == 12
    lines = (tmp_path / "out" / "samples" / "sums.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(len(set(json.loads(line)["resps"][0])) == 3 for line in lines)
    # A run that was killed before the task was written: nothing is asked for again, and what it cost is told.
    (tmp_path / "out" / "tasks" / "sums.json").unlink()
    assert evaluate_suite(tiny, suite, tmp_path / "out", pools=pools, backend=backend) == first
    assert len(served.bodies) == 12


def test_samples_differ_where_the_endpoint_takes_no_seed(
    tiny: ModelRef, served: Any, sums: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    path = Path(sums.task)
    path.write_text(path.read_text() + "repeats: 2\n")
    drawn = dataclasses.replace(sums, generation={"do_sample": True, "temperature": 1.0}, limit=1)
    backend = ChatEndpoint(model="tiny", base_url=served.url, leave_out=("seed",))
    evaluate_suite(tiny, Suite(name="s", tasks={"sums": drawn}), tmp_path / "out", pools=pools, backend=backend)
    assert len(served.bodies) == 2
    assert not any("seed" in body for body in served.bodies)


def test_evaluations_share_what_an_endpoint_said(
    tiny: ModelRef, served: Any, sums: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    backend = ChatEndpoint(model="tiny", base_url=served.url)
    for limit, requests in ((2, 2), (None, 4)):
        suite = Suite(name="s", tasks={"sums": sums}, limit=limit)
        folder = tmp_path / str(limit)
        evaluate_suite(tiny, suite, folder, pools=pools, backend=backend, verdicts=tmp_path / "verdicts")
        assert len(served.bodies) == requests


def test_an_endpoint_with_less_room_than_was_said_is_no_matter_of_single_questions(
    tiny: ModelRef, served: Any, sums: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    served.room = 100
    suite = Suite(name="s", tasks={"sums": sums})
    with pytest.raises(EvaluationError, match=r"backend.max_length .*maximum context length is 100"):
        evaluate_suite(
            tiny,
            suite,
            tmp_path / "a",
            pools=pools,
            backend=CompletionsEndpoint(model="tiny", base_url=served.url),
        )
    backend = CompletionsEndpoint(model="tiny", base_url=served.url, max_length=8)
    with pytest.raises(EvaluationError, match=r"answers may have 8 tokens and the model has 8 positions"):
        evaluate_suite(tiny, suite, tmp_path / "b", pools=pools, backend=backend)


def test_a_model_goes_on_with_an_answer_that_has_begun(
    tiny: ModelRef, served: Any, sums: LMEvalTask, pools: Pools, tmp_path: Path
) -> None:
    path = Path(sums.task)
    path.write_text(path.read_text() + 'gen_prefix: "The sum is"\n')
    suite = Suite(name="s", tasks={"sums": sums})
    with pytest.raises(EvaluationError, match=r"backend\.continues=true"):
        validate_suite(suite, backend=ChatEndpoint(model="tiny", base_url=served.url))
    evaluate_suite(tiny, suite, tmp_path / "here", pools=pools)
    backends = {
        "completions": CompletionsEndpoint(model="tiny", base_url=served.url),
        "chat": ChatEndpoint(model="tiny", base_url=served.url, continues=True),
    }
    for name, backend in backends.items():
        validate_suite(suite, backend=backend)
        evaluate_suite(tiny, suite, tmp_path / name, pools=pools, backend=backend, verdicts=tmp_path / name / "kept")
        assert outputs(tmp_path / name, "sums") == outputs(tmp_path / "here", "sums")


def test_what_changes_a_result_in_vllm_is_part_of_its_identity() -> None:
    plain = VLLM().inputs()
    assert plain == VLLM(tensor_parallel_size=2, options={"enforce_eager": True}).inputs()
    assert plain != VLLM(options={"quantization": "fp8"}).inputs()
    assert plain != VLLM(max_model_len=1024).inputs()
    with pytest.raises(ValueError, match=r"backend\.options\.dtype: siftune sets it"):
        VLLM(options={"dtype": "float16"})


@pytest.mark.parametrize("kind", [CompletionsEndpoint, ChatEndpoint])
def test_open_questions_are_answered_by_an_endpoint(
    kind: type[CompletionsEndpoint | ChatEndpoint], tiny: ModelRef, served: Any, tmp_path: Path
) -> None:
    questions = [{"question_id": i, "category": "writing", "turns": [f"First {i}?", "Then?"]} for i in range(3)]
    data = tmp_path / "questions.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in questions))
    judge = Judge(endpoint=Endpoint(model="judge", base_url=served.url), max_tokens=3, max_malformed=0.0)
    task = MTBench(
        data=str(data),
        judge=judge,
        decoding=Decoding(max_new_tokens=5),
        template="{conversation}",
        reference_template="{conversation}{reference}",
        temperatures={},
    )
    suite = Suite(name="s", tasks={"mt": task})
    for folder, backend in (("here", HERE), ("there", kind(model="tiny", base_url=served.url))):
        # The tiny model is no judge: it is asked, and says nothing that is a rating.
        with pytest.raises(EvaluationError, match="hold no verdict"):
            evaluate_suite(tiny, suite, tmp_path / folder, pools=lambda source: pytest.fail("no pool"), backend=backend)
    lines = (tmp_path / "here" / "answers" / "mt.jsonl").read_text().split("\n")
    here = [text for line in lines if line for text in json.loads(line)["texts"]]
    kept = "".join(path.read_text() for path in (tmp_path / "there" / "replies").glob("tiny-*.jsonl"))
    there = [json.loads(line)["text"].strip() for line in kept.split("\n") if line]
    assert sorted(here) == sorted(there)
    assert len(here) == 6


def test_what_a_chat_endpoint_cannot_do_is_said_at_once(
    served: Any, sums: LMEvalTask, colours: LMEvalTask, heldout: FilePool
) -> None:
    tasks = {
        "sums": sums,
        "plain": dataclasses.replace(sums, apply_chat_template=False, fewshot_as_multiturn=False),
        "colours": colours,
        "loss": ResponseLoss(data=heldout),
    }
    suite = Suite(name="s", tasks=tasks, headline=("sums", "colours"))
    with pytest.raises(EvaluationError) as refused:
        validate_suite(suite, backend=ChatEndpoint(model="m", base_url=served.url))
    said = str(refused.value)
    assert "++evaluate.tasks.plain.apply_chat_template=true" in said
    assert "evaluate.tasks.colours: its answers are the likeliest of some" in said
    assert "evaluate.tasks.loss: it reads the model's own tokens" in said
    assert "~evaluate.tasks.plain ~evaluate.tasks.colours ~evaluate.tasks.loss 'evaluate.headline=[sums]'" in said
    assert not served.bodies


def test_an_endpoint_that_echoes_no_probabilities_is_named(
    tiny: ModelRef, served: Any, colours: LMEvalTask, pools: Pools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "_logprobs", lambda ids: None)
    backend = CompletionsEndpoint(model="tiny", base_url=served.url)
    with pytest.raises(EndpointError, match="echo and logprobs"):
        evaluate_suite(
            tiny, Suite(name="s", tasks={"colours": colours}), tmp_path / "out", pools=pools, backend=backend
        )


def test_identity_is_the_model_and_not_the_place() -> None:
    here = CompletionsEndpoint(model="m", base_url="http://a/v1").inputs()
    assert here == CompletionsEndpoint(model="m", base_url="http://b/v1", concurrency=2).inputs()
    assert here != CompletionsEndpoint(model="n", base_url="http://a/v1").inputs()
    assert here != ChatEndpoint(model="m", base_url="http://a/v1").inputs()
    assert HERE.inputs() == {}
