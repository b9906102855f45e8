"""The kinds of record, a package each: its requests become events, its events become writes, its reads.

Nothing here knows sockets, event loops or threads.
"""
