"""The loop train, look, decide: search, schedulers, rounds, callbacks, resuming, sessions. May import the engine."""
