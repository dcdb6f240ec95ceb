"""The control port: each line is a JSON object, and gets a line in answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Awaitable, Callable, Mapping

from sqmon.simulator.faults import Fault

Command = Callable[[Any], Awaitable[Mapping[str, Any]]]
_SET_TYPES: dict[str, tuple[type, ...]] = {
    "function": (str,),
    "step": (str,),
    "action": (str,),
    "text": (str,),
    "seconds": (int, float),
    "times": (int,),
}


def fault_from(value: Any) -> Fault:
    """Return the fault that a `set` object describes; raises ValueError that says what is wrong with it and what is allowed."""
    fields = expect(value, dict, '"set" takes an object')
    for name, item in fields.items():
        if name not in _SET_TYPES:
            raise ValueError(f"unknown key {name!r} in set: one of {', '.join(_SET_TYPES)}")
        if not isinstance(item, _SET_TYPES[name]) or isinstance(item, bool):
            raise ValueError(f"{name} in set is a {_SET_TYPES[name][-1].__name__}, not {json.dumps(item)}")  # noqa: TRY004
    for name in ("step", "action"):
        if name not in fields:
            raise ValueError(f"set needs {name}")
    return Fault(**fields)


def expect(value: Any, type_: type, message: str) -> Any:
    """Return the value if it is of the type; raises ValueError with the message otherwise."""
    if not isinstance(value, type_):
        raise ValueError(f"{message}, not {json.dumps(value)}")  # noqa: TRY004
    return value


async def answer(line: bytes, commands: Mapping[str, Command]) -> Mapping[str, Any]:
    """Run the one command of this line and return its answer; a bad command changes nothing, and its answer says what is wrong."""
    try:
        name, value = _one_command(line, commands)
        return await commands[name](value)
    except (ValueError, OSError) as error:
        return {"error": str(error)}


def _one_command(line: bytes, commands: Mapping[str, Command]) -> tuple[str, Any]:
    allowed = f"a line is an object with one command of {', '.join(commands)}"
    try:
        asked = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON ({error}): {allowed}") from error
    if not isinstance(asked, dict) or len(asked) != 1:
        raise ValueError(allowed)
    name, value = next(iter(asked.items()))
    if name not in commands:
        raise ValueError(f"unknown command {name!r}: {allowed}")
    return name, value


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Mapping[str, Command]) -> None:
    """Answer line after line until the client closes the connection."""
    try:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                writer.write(b'{"error": "the line is too long"}\n')
                break
            if not line:
                break
            writer.write(json.dumps(await answer(line, commands)).encode() + b"\n")
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
