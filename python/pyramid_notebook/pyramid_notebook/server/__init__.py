"""A user's notebook where no perijove runs: a daemon with a Jupyter server on a port."""
