"""What is predicted, and what follows from it: a file each. May import what supervision/ may, but none of its tasks."""
