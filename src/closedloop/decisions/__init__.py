"""`decision = decide(evidence, policy)`: the evidence, the policy, and the rules.

Pure: the standard library only, no clock, no chance, no I/O. A check holds, fails or is unknown;
unknown never opens a gate.
"""
