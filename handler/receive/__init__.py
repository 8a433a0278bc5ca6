"""The HTTP door: what comes in is read, let in, counted, handled and answered."""
