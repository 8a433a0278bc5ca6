"""Who asks, and whether they may: what the HTTP door asks before it lets anything in."""
