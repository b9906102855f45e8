"""What hot_steps.pyx has for the modules of single kinds of records."""

from libc.stdint cimport uint8_t, uint64_t

# The key of a row below a path, which has room for the number behind it.
cdef bytes row_key(uint8_t *path, uint64_t path_bytes, uint64_t number)
