"""The original's daemon: each notebook has a guardian of perijove's instead."""
