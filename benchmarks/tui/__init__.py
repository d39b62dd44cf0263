"""The cockpit's figures, taken on a pseudo terminal: keys are pressed, and what is painted is read.

`python -m benchmarks.tui` runs them; ../README.md says what each row measures. Nothing else imports this.
"""
