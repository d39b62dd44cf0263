"""Measurements of what a user waits for and pays for: start-up, the cockpit, the stream, generation.

`python -m benchmarks.cli` runs them; README.md says what each row measures. Nothing else imports this.
"""
