"""The journal: orders commits, makes them durable and hands them out again. It knows no socket and no event loop."""
