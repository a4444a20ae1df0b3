"""Nodes of a graph: a table of edges and one of nodes in, a tested model of one of the nodes' columns out.

tables.py      which columns name nodes, the graph, what is known of each node as numbers
candidates.py  what is tried: labels that flow over edges, classic models, graph networks
nodes.py       the whole story of such a run
"""

from __future__ import annotations
