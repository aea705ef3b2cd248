"""The commands: sweep, babysit, retest, report, export, doctor, and what they share. May import everything."""
