"""The peer's tasks as YAML: its own templates, choices, filters and metrics, over rows of a file.

What is written here are the settings of its tasks hellaswag, arc_easy, mmlu, mmlu_generative, mmlu_flan and
gsm8k, with the path of the rows and the number of tokens put in.
"""

from __future__ import annotations

import json
from pathlib import Path

LETTERS = "\\nA. {{choices[0]}}\\nB. {{choices[1]}}\\nC. {{choices[2]}}\\nD. {{choices[3]}}\\nAnswer:"
_FILTERS = {
    "lm_eval_strict": ("strict-match", "{function: regex, regex_pattern: '#### (\\-?[0-9\\.\\,]+)'}"),
    "lm_eval_flexible": (
        "flexible-extract",
        "{function: regex, group_select: -1, regex_pattern: '(-?[$0-9.,]{2,})|(-?[0-9]+)'}",
    ),
    "lm_eval_multi_choice": (
        "flexible-extract",
        "{function: multi_choice_regex, group_select: -1, ignore_case: true, ignore_punctuation: true, "
        "regex_pattern: '(\\([A-Z]\\))'}",
    ),
    "lm_eval_first_line": (
        "get_response",
        "{function: regex, regex_pattern: '^(.*?)(?=\\n|$)'}, {function: remove_whitespace}, "
        "{function: regex, regex_pattern: '^(.*?)\\s*$'}",
    ),
}
FILTERS = {rule: name for rule, (name, _) in _FILTERS.items()}
"""The peer's name of the filter that one of our rules reads as."""


def rows(path: Path, shots: tuple[Path, int] | None = None) -> str:
    """Where the rows are. shots: a file whose first ones are the few-shots, and how many."""
    files = {"validation": str(path), **({"train": str(shots[0])} if shots else {})}
    text = f"dataset_path: json\ndataset_kwargs: {{data_files: {json.dumps(files)}}}\n"
    text += "validation_split: validation\n"
    if shots is None:
        return f"{text}num_fewshot: 0\n"
    return f"{text}num_fewshot: {shots[1]}\nfewshot_split: train\nfewshot_config: {{sampler: first_n}}\n"


def scored(text: str, choices: str, target: str) -> str:
    """A task whose choices are scored."""
    return (
        f'output_type: multiple_choice\ndoc_to_text: "{text}"\ndoc_to_choice: {choices}\n'
        f"doc_to_target: {target}\nmetric_list: [{{metric: acc}}, {{metric: acc_norm}}]\n"
    )


def written(text: str, target: str, stops: list[str], tokens: int, metric: str, rules: list[str]) -> str:
    """A task whose answers are written, and read by the filters that our `rules` are held against."""
    filters = "".join(
        f"  - {{name: {name}, filter: [{steps}, {{function: take_first}}]}}\n"
        for name, steps in (_FILTERS[rule] for rule in rules)
    )
    return (
        f'output_type: generate_until\ndoc_to_text: "{text}"\ndoc_to_target: "{target}"\n'
        f"generation_kwargs: {{until: {json.dumps(stops)}, do_sample: false, max_gen_toks: {tokens}}}\n"
        f"metric_list: [{{metric: exact_match, ignore_case: true, {metric}}}]\nfilter_list:\n{filters}"
    )


NUMBERS = 'regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]'
"""What is left out before texts are compared, where the answer is a number."""
BARE = "ignore_punctuation: true"
