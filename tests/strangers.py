"""What is shared by the tests of what strangers bring."""


def one_line(error):
    """The text of an error, which is a single line."""
    assert "\n" not in str(error.value)
    return str(error.value)


def raises(error=ZeroDivisionError):
    """A function of any arguments that raises an error of its author's."""

    def fails(*given, **named):
        raise error("its own")

    return fails


FAILED = r"raised ZeroDivisionError: its own \(.*strangers.py, line \d+, in raises.<locals>.fails\)"
