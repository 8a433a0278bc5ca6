"""What the contract suite asks of a function, by the type of the event; node/index.js does the same."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

BOTH = threading.Barrier(2)
BUSY: list[str] = []


def see(event: Any, _context: Any) -> Any:
    data = {"bytes": event.data.hex()} if isinstance(event.data, bytes) else {"value": event.data}
    return {"attributes": event.get_attributes(), **data}


def made(event: Any, context: Any) -> Any:
    return context.event(type=event.data["type"], subject="its own", data=event.data["data"])


def plain_event(_event: Any, _context: Any) -> Any:
    attributes = {
        "specversion": "1.0",
        "id": "7",
        "source": "/elsewhere",
        "type": "plain",
        "subject": 'é "%',
        "flag": True,
    }
    return {**attributes, "datacontenttype": "text/plain", "data": "grüß"}


def binary_event(_event: Any, context: Any) -> Any:
    return context.event(type="made", data=b"\x00\xff")


def bad_event(_event: Any, _context: Any) -> Any:
    return {"specversion": "1.0", "id": "", "source": "/elsewhere", "type": "plain", "bad_name": "x"}


def fail(_event: Any, _context: Any) -> Any:
    raise LookupError("the password is 1234")


def say(_event: Any, context: Any) -> None:
    context.log.info("said by the function")


def about(_event: Any, context: Any) -> Any:
    now = time.time()
    return {
        "name": context.name,
        "tenant": context.tenant,
        "revision": context.revision,
        "traceparent": context.traceparent,
        "seconds": round(context.deadline.timestamp() - now, 1),
    }


def wait(event: Any, _context: Any) -> Any:
    Path(event.data["began"]).touch()
    while not Path(event.data["until"]).exists():
        time.sleep(0.01)
    return "done"


def meet(_event: Any, _context: Any) -> Any:
    BOTH.wait()
    return "met"


def crowd(event: Any, _context: Any) -> Any:
    BUSY.append(event.id)
    time.sleep(0.05)
    seen = len(BUSY)
    BUSY.remove(event.id)
    return seen


TABLE = {
    "see": see,
    "nothing": lambda _event, _context: None,
    "give": lambda event, _context: event.data,
    "same": lambda event, _context: event,
    "made": made,
    "plain-event": plain_event,
    "binary-event": binary_event,
    "bad-event": bad_event,
    "no-json": lambda _event, _context: object(),
    "bytes": lambda _event, _context: b"bytes",
    "fail": fail,
    "say": say,
    "about": about,
    "wait": wait,
    "meet": meet,
    "crowd": crowd,
}


def handle(event: Any, context: Any) -> Any:
    return TABLE[event.type](event, context)


def one(event: Any) -> Any:
    return event.data


async def coroutine(event: Any, _context: Any) -> Any:
    await asyncio.sleep(0)
    return event.data


async def failing_coroutine(_event: Any, _context: Any) -> Any:
    await asyncio.sleep(0)
    raise LookupError("the password is 1234")
