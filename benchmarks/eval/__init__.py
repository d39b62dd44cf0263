"""Evaluation beside the peers: the same scores and verdicts, and the pace at which they come."""
