"""Schedulers, one per file: each is called as `scheduler(problem) -> Scheduler`."""
