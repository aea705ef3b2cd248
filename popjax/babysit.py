"""`python -m popjax.babysit`: the door of the command; it starts without JAX."""

from popjax.commands import cli
from popjax.commands.babysit import main

if __name__ == "__main__":
    cli.run(main)
