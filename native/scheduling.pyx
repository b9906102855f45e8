# cython: language_level=3
"""How long a thread runs at a time, as Linux's scheduler (EEVDF, from 6.12 on) lets everybody choose."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from "<sys/syscall.h>" nogil:
    long SYS_sched_getattr
    long SYS_sched_setattr

cdef extern from "<unistd.h>" nogil:
    long syscall(long number, ...)

# As in linux/sched/types.h, which glibc has no name for.
cdef struct Attributes:
    uint32_t size
    uint32_t policy
    uint64_t flags
    int32_t nice
    uint32_t priority
    uint64_t runtime_ns
    uint64_t deadline_ns
    uint64_t period_ns


cdef bint read_attributes(Attributes *attributes) noexcept:
    memset(attributes, 0, sizeof(Attributes))
    return syscall(SYS_sched_getattr, 0, attributes, <uint32_t>sizeof(Attributes), <uint32_t>0) == 0


def take_turns_of(uint32_t turn_us):
    cdef Attributes attributes
    if not read_attributes(&attributes):
        return False
    attributes.size = sizeof(Attributes)
    attributes.flags = 0
    attributes.runtime_ns = <uint64_t>turn_us * 1000
    return syscall(SYS_sched_setattr, 0, &attributes, <uint32_t>0) == 0 and turn_of() == turn_us


def turn_of():
    cdef Attributes attributes
    return attributes.runtime_ns // 1000 if read_attributes(&attributes) else 0
