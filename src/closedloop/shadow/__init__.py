"""A candidate beside production: what it answers to real requests, which nobody is given."""
