"""Training as it was promised: what it gains, survives and stops, and what it costs beside TRL."""
