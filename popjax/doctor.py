"""`python -m popjax.doctor`: the door of the command."""

from popjax.commands.door import enter

if __name__ == "__main__":
    enter("doctor")
