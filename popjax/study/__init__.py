"""A study as a user begins it: `search`, `Session`, `replay`, scikit-learn's estimators, and their directories.

They open pages, so this room stands above pages and the live page; only the commands are above it.
"""
