"""Parts of every process: its settings, its log, the moments that a test can observe. Imports `domain`.

Every package may import it.
"""
