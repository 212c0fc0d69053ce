"""What runs inside a notebook's own Python, loaded by file location: perijove is not there."""
