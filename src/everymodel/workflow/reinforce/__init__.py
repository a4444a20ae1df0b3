"""Agents: from an environment to a chosen, trained, evaluated agent.

`story.py` tells it all; `model.py` is what users hold.
"""
