"""The GPU's side of gpusess: what runs on a rented instance.

It is pushed there as one file and imports nothing of `gpusess`.
"""

SCHEMA_VERSION = 1
"""Version of the journal's records and of the order that starts a run."""
