"""`python -m popjax`, and the console script `popjax`: the entry point of all commands; it starts without JAX."""

from popjax.commands.entry import enter

if __name__ == "__main__":
    enter("named_commands")
