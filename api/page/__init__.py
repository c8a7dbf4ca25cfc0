"""The page for people: its door, its frame, its actions. It runs in a process of its own."""
