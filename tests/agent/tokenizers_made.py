"""Small real tokenizers, each with the fault that a test asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2_STYLE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}<|assistant|>\n"


def byte_level(
    special: list[str] | None = None, template: str | None = CHATML, begin: bool = False, **settings: Any
) -> Any:
    """A byte-level tokenizer without merges: 256 bytes, and the special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    names = ["<|im_start|>", "<|im_end|>"] if special is None else special
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=names[-1],
        pad_token=names[-1],
        padding_side="left",
        additional_special_tokens=names,
        **({"bos_token": "<s>"} if begin else {}),
        **settings,
    )
    if begin:
        made.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", made.bos_token_id)]
        )
    made.chat_template = template
    return made


def saved(tokenizer: Any, folder: Path) -> Path:
    tokenizer.save_pretrained(folder)
    return folder


def chat(tokenizer: Any, question: str = "How many?") -> str:
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
    return text
