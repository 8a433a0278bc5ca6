"""What an image bears with it: a bill of materials, its provenance, signatures; and whom to trust."""
