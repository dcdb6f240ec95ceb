"""The control port, over which tests set faults and read counters: one JSON object per line, one answer per line."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Awaitable, Callable, Mapping, Sequence

from sqmon.simulator.faults import Fault

Command = Callable[[Any], Awaitable[Mapping[str, Any]]]
Types = Mapping[str, tuple[type, ...]]
NUMBER = (int, float)
_SET_TYPES: Types = {
    "function": (str,),
    "step": (str,),
    "action": (str,),
    "text": (str,),
    "seconds": NUMBER,
    "times": (int,),
}
RUN_TYPES: Types = {
    "sql": (str,),
    "seconds": (type(None), *NUMBER),
    "user": (str,),
    "database": (str,),
    "service": (str,),
    "orphan_seconds": (type(None), *NUMBER),
}
CONFIGURE_TYPES: Types = {
    "contention": NUMBER,
    "statement_lock_timeout": NUMBER,
    "clock_skew": NUMBER,
    "time_zone": (str,),
    "idle": (bool,),
}


def fault_from(value: Any) -> Fault:
    """Return the fault that a `set` object describes; raises ValueError that says what is wrong with it and what is allowed."""
    return Fault(**fields_of("set", value, _SET_TYPES, needs=("step", "action")))


def fields_of(command: str, value: Any, types: Types, *, needs: Sequence[str] = ()) -> dict[str, Any]:
    """Return the object of a command if its keys and their types are right; raises ValueError that says what is wrong with it."""
    fields: dict[str, Any] = expect(value, dict, f'"{command}" takes an object')
    for name, item in fields.items():
        if name not in types:
            raise ValueError(f"unknown key {name!r} in {command}: one of {', '.join(types)}")
        if not isinstance(item, types[name]) or (isinstance(item, bool) and bool not in types[name]):
            raise ValueError(f"{name} in {command} is a {types[name][-1].__name__}, not {json.dumps(item)}")
    for name in needs:
        if name not in fields:
            raise ValueError(f"{command} needs {name}")
    return fields


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
