"""The asyncio face: one connection carries all calls in flight, each watch has one of its own."""
