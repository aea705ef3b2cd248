"""`python -m popjax.retest`: the door of the command; it starts without JAX."""

from popjax.commands.door import enter

if __name__ == "__main__":
    enter("retest")
