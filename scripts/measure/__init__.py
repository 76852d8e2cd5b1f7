"""What `jsma bench` measures."""
