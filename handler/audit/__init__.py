"""The audit trail: who asked for what, and what came of it; a line for each call that changes something."""
