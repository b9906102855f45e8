"""recollectd: the memory of AI agents, as a daemon.

Importing this package imports nothing else: a program that only needs the client asks for `recollectd.client`.
"""

__version__ = "0.1.0"
