"""`python -m popjax.doctor`: the door of the command."""

from popjax.commands import cli
from popjax.commands.doctor import main

if __name__ == "__main__":
    cli.run(main)
