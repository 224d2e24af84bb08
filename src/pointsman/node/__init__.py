"""The agent: boots closed, observes, reconciles, verifies and reports."""
