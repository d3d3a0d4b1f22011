"""Counterparties to test against: they answer like authorities, and misbehave on request."""
