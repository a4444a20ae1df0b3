"""Nodes of a graph: a table of edges and one of nodes in, a tested model of one of the nodes' columns out.

tables.py      which columns name nodes, the graph, what is known of each node as numbers
candidates.py  what is tried: labels that flow over edges, classic models, graph networks
nodes.py       the whole story of such a run
sets.py        the same for whole graphs, each with a label: their shapes in numbers for the search, and graph networks
model.py       a model of whole graphs as users hold it
"""

from __future__ import annotations
