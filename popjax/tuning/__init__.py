"""The tuning loop: driver, samplers, schedulers, callbacks, steering by a person. May import the engine."""
