"""The commands, a file each; `place.py` says where they ask, `output.py` how they show it."""
