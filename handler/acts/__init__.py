"""What an event asks for: each of these is one event's handler, or what such a one needs."""
