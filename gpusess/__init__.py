"""gpusess: a cockpit in the terminal for GPUs that are rented by the hour."""

__version__ = "0.1.0"
