"""The daemon process: sockets, the event loop, and the way of a request through them."""
