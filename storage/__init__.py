"""Where bytes lie: one port, a file per vendor, one guard around them."""
