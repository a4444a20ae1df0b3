"""Floor 0: the words every other floor uses. Standard library only."""
