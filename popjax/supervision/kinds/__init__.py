"""Kinds of targets, one file each. May import what supervision/ may, except its tasks."""
