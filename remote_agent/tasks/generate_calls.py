"""Makes the function calls that ship: `python -m` this module prints `data/function_calling.jsonl`.

Some requests need one call, some two, some none of the functions that are offered.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

PER_CATEGORY = 15
Request = tuple[str, list[dict[str, Any]]]
"""A question, and the calls that answer it."""

CITIES = ("Lisbon", "Oslo", "Cairo", "Lima", "Hanoi", "Quito", "Turin", "Ghent", "Cork", "Malmo")
PEOPLE = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Greta", "Hugo", "Ines", "Jon")
ROOMS = ("kitchen", "bedroom", "office", "hall", "garage")
THINGS = ("milk", "bread", "apples", "rice", "soap", "tea")
OFF_TOPIC = (
    "Who wrote the play that {0} is reading?",
    "What is the plural of the word {1}?",
    "Tell {0} a short joke about the {2}.",
    "Translate the word {1} into French.",
    "How many letters are in the name {0}?",
)


def _tool(name: str, does: str, required: list[str], /, **properties: tuple[str, str]) -> dict[str, Any]:
    fields = {key: {"type": kind, "description": words} for key, (kind, words) in properties.items()}
    parameters = {"type": "object", "properties": fields, "required": required}
    return {"name": name, "description": does, "parameters": parameters}


TOOLS = (
    _tool(
        "get_weather", "The weather forecast of a city.", ["city", "days"],
        city=("string", "Name of the city"), days=("integer", "Days ahead, 1 to 7"),
    ),
    _tool(
        "set_thermostat", "Set the temperature of a room.", ["room", "celsius"],
        room=("string", "Name of the room"), celsius=("number", "Degrees Celsius"),
    ),
    _tool(
        "switch_light", "Switch the light of a room on or off.", ["room", "on"],
        room=("string", "Name of the room"), on=("boolean", "true: on, false: off"),
    ),
    _tool(
        "add_to_list", "Add things to the shopping list.", ["items"],
        items=("array", "The things, each a text"),
    ),
    _tool(
        "send_message", "Send a short message to a person.", ["to", "text"],
        to=("string", "The person's name"), text=("string", "The message, word for word"),
    ),
)  # fmt: skip


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


def _weather(draw: random.Random) -> Request:
    city, days = draw.choice(CITIES), draw.randint(2, 7)
    return f"What will the weather be like in {city} over the next {days} days?", [
        _call("get_weather", city=city, days=days)
    ]


def _thermostat(draw: random.Random) -> Request:
    room, celsius = draw.choice(ROOMS), draw.choice((17, 18.5, 19, 20.5, 22))
    return f"Set the {room} to {celsius} degrees Celsius.", [
        _call("set_thermostat", room=room, celsius=celsius)
    ]


def _light(draw: random.Random) -> Request:
    room, on = draw.choice(ROOMS), draw.random() < 0.5
    return f"Turn the light in the {room} {'on' if on else 'off'}.", [_call("switch_light", room=room, on=on)]


def _shopping(draw: random.Random) -> Request:
    items = draw.sample(THINGS, 2)
    return f"Put {items[0]} and {items[1]} on the shopping list.", [_call("add_to_list", items=items)]


def _message(draw: random.Random) -> Request:
    to, minutes = draw.choice(PEOPLE), draw.choice((5, 10, 20, 30))
    text = f"I am {minutes} minutes late"
    return f'Send {to} this message: "{text}"', [_call("send_message", to=to, text=text)]


SINGLE = (_weather, _thermostat, _light, _shopping, _message)


def _one(draw: random.Random) -> Request:
    return draw.choice(SINGLE)(draw)


def _two(draw: random.Random) -> Request:
    first, second = draw.sample(SINGLE, 2)
    (asked, calls), (more, others) = first(draw), second(draw)
    return f"{asked} And then: {more}", [*calls, *others]


def _none(draw: random.Random) -> Request:
    return draw.choice(OFF_TOPIC).format(draw.choice(PEOPLE), draw.choice(THINGS), draw.choice(ROOMS)), []


CATEGORIES: dict[str, Callable[[random.Random], Request]] = {
    "one call": _one,
    "two calls": _two,
    "no call": _none,
}


def rows(seed: int = 0, per_category: int = PER_CATEGORY) -> Iterator[dict[str, Any]]:
    """Distinct requests, the categories taking turns: `id`, `question`, `tools`, `answer`, `category`."""
    draw = random.Random(seed)
    seen: set[str] = set()
    for number in range(per_category):
        for category, make in CATEGORIES.items():
            question, answer = make(draw)
            while question in seen:
                question, answer = make(draw)
            seen.add(question)
            yield {
                "id": f"{category.replace(' ', '-')}-{number + 1:03d}",
                "question": question,
                "tools": _offered(draw, answer),
                "answer": answer,
                "category": category,
            }


def _offered(draw: random.Random, answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Three functions or so, the needed ones among them, in an order of chance."""
    needed = {call["name"] for call in answer}
    others = [tool for tool in TOOLS if tool["name"] not in needed]
    offered = [tool for tool in TOOLS if tool["name"] in needed] + draw.sample(others, 2)
    draw.shuffle(offered)
    return offered


def jsonl() -> str:
    """The shipped file, `data/function_calling.jsonl`."""
    return "".join(json.dumps(row) + "\n" for row in rows())


if __name__ == "__main__":
    sys.stdout.write(jsonl())
