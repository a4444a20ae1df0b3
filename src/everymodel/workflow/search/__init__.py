"""What the search is made of: the crew that fits, the ledger that remembers, the plan, the ensemble."""
