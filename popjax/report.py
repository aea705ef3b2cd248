"""`python -m popjax.report`: the door of the command; it starts without JAX."""

from popjax.commands import cli
from popjax.commands.report import main

if __name__ == "__main__":
    cli.run(main)
