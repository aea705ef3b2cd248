"""What everything stands on: trees of arrays, atomic files, words, clocks, the machine. Imports nothing of popjax."""
