"""The command, and what a sender of events needs."""
