"""`python -m gpusess`."""

from gpusess.cli import main

main()
