# cython: language_level=3, boundscheck=False, wraparound=False
"""The rows of commits that are applied in one step: by record, each record's head once."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from recollectd._native.hot_writes cimport HotWrite
from recollectd_hot_commit cimport hot_write_row_number

from operator import attrgetter

KEY_OF = attrgetter("key")


def take_rows(to_apply, list items not None, list rows not None, Py_ssize_t rows_max):
    cdef list run = []
    cdef Py_ssize_t room = rows_max - len(rows)
    cdef HotWrite write, before = None
    while room > 0 and to_apply and isinstance(to_apply[0], HotWrite) and (<HotWrite>to_apply[0])._keys is None:
        write = to_apply.popleft()
        run.append(write)
        room -= 2 + write.more_rows
    items.extend(run)
    run.sort(key=KEY_OF)  # those of one record stay in their order
    for write in reversed(run):
        write.superseded = before is not None and before.key == write.key
        before = write
    for write in run:
        write.add_rows(rows)
    return len(run)


cdef bytes row_key(uint8_t *path, uint64_t path_bytes, uint64_t number):
    hot_write_row_number(path + path_bytes, number)
    return PyBytes_FromStringAndSize(<char *>path, path_bytes + 8)
