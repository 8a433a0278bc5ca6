"""Greets whoever the event names, and tells which version of its dependency it runs with."""

import inflection


def handle(event, context):
    """Return what becomes the data of the reply."""
    name = (event.data or {}).get("name", "world")
    context.log.info("greeting %s", name)
    return {"hello": inflection.titleize(name), "inflection": inflection.__version__}
