"""Agents: models that learn by doing."""
