"""Self-contained pages: the files of `jsma explain` and `jsma survey`."""
