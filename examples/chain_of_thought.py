"""A reward for chains of thought: how much likelier the right answer becomes by them, and by them alone.

The model that is trained judges its own thoughts (an actor reward): after a thought, without the question,
how likely does it find the right answer? So the thought has to hold what the answer needs.
"""

ASKED = "Here is somebody's reasoning:\n\n{}\n\nWhat is the final answer? Say the number only."
MOST = 10.0
"""Nats. One lucky token is no signal."""


def reward(completions, gold, actor, **_):
    """ln P(answer | thought) - ln P(answer | no thought), at most MOST either way."""
    thoughts = [without_answer(turns[-1]["content"]) for turns in completions]
    told = actor.logprobs([asked(thought) for thought in thoughts], gold)
    different = sorted(set(gold))
    untold = dict(zip(different, actor.logprobs([asked("")] * len(different), different), strict=True))
    gains = [after - untold[right] for after, right in zip(told, gold, strict=True)]
    return [max(-MOST, min(MOST, gain)) for gain in gains]


def asked(thought):
    """The chat after which the answer is to be likely."""
    return [{"role": "user", "content": ASKED.format(thought)}]


def without_answer(text):
    """The thought up to the line with the answer: copying the answer from there would be too easy."""
    return text.partition("####")[0].strip()
