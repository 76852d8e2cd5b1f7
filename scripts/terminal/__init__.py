"""What commands share on the terminal: options, progress, text."""
