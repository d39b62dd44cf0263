"""The names of tasks and engines, and where each one lives.

Strings only: nothing heavy is imported before a run needs it. A new task or engine is one module and
one line here.
"""

from __future__ import annotations

import importlib
from typing import Any

TASKS: dict[str, str] = {
    "arc_challenge": "remote_agent.tasks.arc:ArcChallenge",
    "arc_easy": "remote_agent.tasks.arc:ArcEasy",
    "arithmetic": "remote_agent.tasks.arithmetic:Arithmetic",
    "aqua": "remote_agent.tasks.aqua:Aqua",
    "continuation": "remote_agent.tasks.continuation:Continuation",
    "function_calling": "remote_agent.tasks.function_calling:FunctionCalling",
    "gsm8k": "remote_agent.tasks.gsm8k:Gsm8k",
    "hellaswag": "remote_agent.tasks.hellaswag:HellaSwag",
    "mathqa": "remote_agent.tasks.mathqa:MathQa",
    "mmlu": "remote_agent.tasks.mmlu:Mmlu",
    "own": "remote_agent.tasks.own:Own",
    "svamp": "remote_agent.tasks.svamp:Svamp",
    "word_problems": "remote_agent.tasks.word_problems:WordProblems",
}

METRICS: dict[str, str] = {
    "number": "remote_agent.tasks.families:NUMBER",
    "choice": "remote_agent.tasks.families:CHOICE",
    "text": "remote_agent.tasks.families:TEXT",
    "contains": "remote_agent.tasks.families:CONTAINS",
    "call": "remote_agent.tasks.families:CALL",
}
"""Families of answers: the rules that read them, and how they are compared."""

EXTRACTORS: dict[str, tuple[str, ...]] = {
    "number": (
        *("hashes", "boxed", "json", "answer_is", "first_number", "last_number"),
        *("lm_eval_strict", "lm_eval_flexible", "lm_eval_answer_is"),
    ),
    "choice": (
        *("answer_is", "boxed", "hashes", "json", "only_letter", "choice_text", "last_letter"),
        *("lm_eval_multi_choice", "lm_eval_first_line"),
    ),
    "text": ("whole", "first_line", "last_line", "hashes", "boxed", "answer_is", "json"),
    "contains": ("whole", "first_line", "last_line", "hashes", "boxed", "answer_is", "json"),
    "call": ("tool_call", "json", "python", "no_call"),
    "score": ("acc", "acc_norm", "acc_bytes", "acc_tokens"),
    "continuation": ("greedy",),
}
"""The rules of each family; `score` and `continuation` are those of log-likelihoods."""

METHODS: dict[str, tuple[str, ...]] = {
    "arc_challenge": ("score", "generate"),
    "arc_easy": ("score", "generate"),
    "arithmetic": ("score", "generate"),
    "aqua": ("generate", "score"),
    "continuation": ("score",),
    "function_calling": ("generate",),
    "gsm8k": ("generate",),
    "hellaswag": ("score", "generate"),
    "mathqa": ("score", "generate"),
    "mmlu": ("score", "generate"),
    "own": ("generate", "score"),
    "svamp": ("generate",),
    "word_problems": ("generate",),
}
"""The ways in which each task can be evaluated, the usual one first."""

FAMILIES: dict[str, str] = {
    "aqua": "choice",
    "arc_challenge": "choice",
    "arc_easy": "choice",
    "arithmetic": "number",
    "function_calling": "call",
    "gsm8k": "number",
    "hellaswag": "choice",
    "mathqa": "choice",
    "mmlu": "choice",
    "svamp": "number",
    "word_problems": "number",
}
"""The family of each task's written answers; of `own` it is the user's to say."""

STYLES: dict[str, tuple[str, ...]] = {
    "arithmetic": ("default", "bare"),
    "function_calling": ("hermes", "json", "python", "context"),
    "gsm8k": ("default", "lm_eval"),
    "mmlu": ("default", "letter"),
}
"""The ways in which a task can ask, where it has several; `default` is the first of them."""

ENGINES: dict[str, str] = {
    "openai": "remote_agent.engines.openai:OpenAIEngine",
    "recorded": "remote_agent.engines.recorded:RecordedEngine",
    "transformers": "remote_agent.engines.transformers:TransformersEngine",
    "vllm": "remote_agent.engines.vllm:VllmEngine",
}

RERANKERS: dict[str, str] = {
    "logprob": "remote_agent.reranking.logprob:Logprob",
    "model": "remote_agent.reranking.model:RewardModel",
    "module": "remote_agent.reranking.module:Module",
}
"""What a reranker may go by, and where it lives."""

BASE_NEEDS: tuple[str, ...] = (
    "pydantic>=2.12,<3",
    "psutil>=7,<8",
    "blake3>=1,<2",
    "nvidia-ml-py>=13",
    "zstandard>=0.23,<1",
)
"""What pip installs for the agent itself into an environment that the bootstrap makes."""

ENGINE_NEEDS: dict[str, tuple[str, ...]] = {
    "adapters": ("peft>=0.21",),
    "openai": ("httpx>=0.28,<1",),
    "recorded": (),
    "training": ("trl>=1.16,<1.17", "peft>=0.21", "datasets>=5"),
    "transformers": ("torch", "transformers>=5.23,<6", "accelerate>=1.15"),
    "vllm": ("vllm>=0.27,<0.33",),
}
"""What an engine, a training, or adapters on a model, need beyond that."""


def load(path: str) -> Any:
    """Import what a registry line names (`package.module:Name`) and return it."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
