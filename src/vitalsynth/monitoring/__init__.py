"""Watching trainings: what their logs say."""
