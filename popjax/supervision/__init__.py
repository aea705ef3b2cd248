"""Supervised learning as a Task: fitting, optimizers, preprocessing, predictor. May import the packages below it."""
