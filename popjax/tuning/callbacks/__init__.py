"""Who listens to a run: the bar, plain lines, the run's directory. A callback a file."""
