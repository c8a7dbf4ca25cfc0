"""`decision = decide(evidence, policy)`: what was seen, every number that decides, the rules, and
the words of a verdict.

Pure: the standard library only, no clock, no chance, no I/O. A check holds, fails or is unknown;
unknown never opens a gate.
"""
