"""What every process has: its settings, its log, the moments that a test can observe. Imports nothing of ours.

Every package may import it.
"""
