"""Shared basics: pytrees, atomic files, text, clocks, the machine. Imports nothing else of popjax."""
