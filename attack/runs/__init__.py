"""Very many samples: `run` (crafting in shards), `processes` (many at once), `shards` (the folder
and its files)."""
