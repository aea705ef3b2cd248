"""Callbacks of a run: the progress bar, plain lines, a notebook's cell, a linear model beside the search."""
