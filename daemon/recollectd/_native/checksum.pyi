"""XXH64, the checksum of journal batches and segment headers."""

def xxh64(data: bytes | bytearray | memoryview, seed: int = 0) -> int:
    """Return the 64-bit checksum of contiguous bytes. Long inputs are read without the GIL: keep them unchanged."""
