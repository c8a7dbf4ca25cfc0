"""`closedloop.open_loop`: what people read and compare in Python; nothing moves."""
