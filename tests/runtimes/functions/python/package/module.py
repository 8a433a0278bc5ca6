from typing import Any


def handle(event: Any, _context: Any) -> Any:
    return event.data
