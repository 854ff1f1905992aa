"""A random-weight Llama and a byte-level BPE tokenizer made in code: what tests run the real paths with."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from siftune.finetune.templates import template_text

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
WORDS = (
    " the of and to in is that it for as with was on are be this by or from at have not an which you what how all can"
    " your if will each about many then them write would like these so some her him two more time find list number name"
    " give answer question user assistant system file table select command where count sort first last line print"
    " people water after words only little work know place year back good thing very sentence great think say help low"
    " through much before right means old any same tell boy follow came want show also around form three small set put"
)


def save_tiny(folder: Path, *, hidden_size: int, num_layers: int, num_heads: int, vocab_size: int, seed: int) -> None:
    """Write the model (float32) and its tokenizer to `folder` in HuggingFace's layout."""
    tokenizer = byte_tokenizer(vocab_size)
    config = tiny_config(tokenizer, hidden_size=hidden_size, num_layers=num_layers, num_heads=num_heads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tiny_config(
    tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, num_layers: int, num_heads: int
) -> LlamaConfig:
    """The sizes of the model."""
    return LlamaConfig(
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        vocab_size=len(tokenizer),
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )


def byte_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE that joins the letters of common words: any text has tokens; the special tokens are ChatML's."""
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *bytes_))}
    merges: list[tuple[str, str]] = []
    for word in WORDS.split():
        _add_word("Ġ" + word, vocabulary, merges, vocab_size)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[2], pad_token=SPECIAL[3]
    )
    fast.add_special_tokens({"additional_special_tokens": [SPECIAL[1]]})
    fast.chat_template = template_text("chatml")
    return fast


def _add_word(word: str, vocabulary: dict[str, int], merges: list[tuple[str, str]], vocab_size: int) -> None:
    for i in range(1, len(word)):
        pair = (word[:i], word[i])
        if pair[0] + pair[1] not in vocabulary:
            if len(vocabulary) == vocab_size:
                return
            vocabulary[pair[0] + pair[1]] = len(vocabulary)
            merges.append(pair)
