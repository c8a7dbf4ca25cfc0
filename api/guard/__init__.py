"""Who and what is let in: keys, limits, early closing."""
