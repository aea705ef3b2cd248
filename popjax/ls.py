"""`python -m popjax.ls`: the entry point of the command; it starts without JAX."""

from popjax.commands.entry import enter

if __name__ == "__main__":
    enter("ls")
