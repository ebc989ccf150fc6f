"""A word-level tokenizer over LIBERO's task sentences, for policies small enough to train on a laptop.

The built files lie beside this module, so `AutoTokenizer.from_pretrained(TOKENIZER_DIR)` needs no hub.
Rebuild them with `python -m pirl.policies.tokenizer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TOKENIZER_DIR = Path(__file__).parent
# BART's convention, which Florence-2 inherits: <s>, <pad>, </s>, <unk> are ids 0 to 3.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")


def build_tokenizer(sentences: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build the tokenizer: lower-cased words, each an id, in alphabetical order after the special tokens.

    Args:
        sentences: every sentence whose words get an id; other words become `<unk>`.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for sentence in sentences for word in sentence.lower().split()})
    vocabulary = {word: index for index, word in enumerate((*SPECIAL_TOKENS, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def libero_sentences() -> list[str]:
    """The task sentences of LIBERO's five suites."""
    from pirl.envs.tasks import SUITES, get_task, num_tasks

    return [get_task(suite, task_id).language for suite in SUITES for task_id in range(num_tasks(suite))]
