"""What is built from: sources, archives, and where they may come from."""
