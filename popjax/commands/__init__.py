"""The command line: sweep, babysit, retest, report, and what they share. May import everything."""
