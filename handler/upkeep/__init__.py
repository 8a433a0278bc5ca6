"""What no event asks for: the sweep, the queue, and the removal of what nobody needs."""
