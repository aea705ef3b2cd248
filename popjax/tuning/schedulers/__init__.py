"""What decides between two segments: a scheduler a file. Each is `scheduler(problem) -> Scheduler`."""
