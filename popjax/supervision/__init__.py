"""Supervised learning as a Task: fitting, optimizers, preprocessing, the predictor. May import what is below."""
