"""`python -m popjax.export`: the door of the command; it starts without JAX."""

from popjax.commands import cli
from popjax.commands.export import main

if __name__ == "__main__":
    cli.run(main)
