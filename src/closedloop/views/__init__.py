"""What people are shown of a loop, as facts: no HTML, no terminal, and nothing is changed."""
