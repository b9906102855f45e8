"""MCP: a server for the Model Context Protocol over a recollectd daemon, `recollectd mcp`.

It has the nine tools of the protocol's reference memory server, with their names, fields and results, the resource
`memory://knowledge-graph`, and tools of its own. Any number of processes may serve one memory at once.
"""
