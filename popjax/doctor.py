"""`python -m popjax.doctor`: the entry point of the command."""

from popjax.commands.entry import enter

if __name__ == "__main__":
    enter("doctor")
