"""Adapters: recollectd behind the interfaces of agent frameworks, a package for each, on the client alone.

    from recollectd.adapters.langgraph import RecollectdSaver

Each needs the extra of its name (`pip install 'recollectd[langgraph]'`), and nothing of it is loaded before it is
imported. Adapters do not import each other.
"""
