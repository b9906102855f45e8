# distutils: language = c++
# cython: language_level=3, boundscheck=False, wraparound=False
"""Text to terms. What a word's term is, is asked of Python once and remembered; all else is done here.

A word is a run of letters, digits and the marks that combine with them; with `joins_apostrophe` an apostrophe between
two of them belongs to it. In scripts written without spaces every character is a word, and so is every pair of
neighbours. A symbol (an emoji) is a word by itself. Everything else separates.

Nothing remembered is ever forgotten: asking Python may let another thread in here, whose numbers must stay true. Who uses
an analysis takes a new one when it is full.
"""

cimport cython
from cython.operator cimport dereference
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_READ
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libcpp.algorithm cimport sort
from libcpp.string cimport string
from libcpp.unordered_map cimport unordered_map
from libcpp.vector cimport vector

cdef extern from "recollectd_keyword_memory.h" namespace "keyword" nogil:
    size_t varint_bytes(uint8_t *into, uint64_t value)

cdef enum:
    UNKNOWN = 0
    SEPARATOR = 1
    WORD = 2
    MARK = 3
    UNSPACED = 4
    SYMBOL = 5
    CODE_POINTS = 0x110000

cdef uint32_t STOPPED = 0xFFFFFFFF  # no term has this number

CLASSES = {"separator": SEPARATOR, "word": WORD, "mark": MARK, "unspaced": UNSPACED, "symbol": SYMBOL}

cdef struct Span:
    Py_ssize_t begin
    Py_ssize_t end


@cython.final
@cython.auto_pickle(False)
cdef class TextAnalysis:
    cdef object resolve
    cdef object classify
    cdef bint joins_apostrophe
    cdef size_t words_max
    cdef Py_ssize_t word_chars_max
    cdef vector[uint8_t] classes
    cdef unordered_map[string, uint32_t] numbers
    cdef unordered_map[string, uint32_t] number_of_term
    cdef vector[string] terms_known

    def __cinit__(self, resolve, classify, bint joins_apostrophe, size_t words_max, Py_ssize_t word_chars_max):
        self.resolve, self.classify = resolve, classify
        self.joins_apostrophe = joins_apostrophe
        self.words_max, self.word_chars_max = words_max, word_chars_max
        self.classes.resize(CODE_POINTS)

    # -- where the words are -----------------------------------------------------------------------------------------------

    cdef uint8_t class_of(self, Py_UCS4 char) except 0:
        if self.classes[char] == UNKNOWN:
            self.classes[char] = self.classify(chr(char))
        return self.classes[char]

    cdef int spans_of(self, str text, vector[Span] &spans) except -1:
        cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), at = 0, begin
        cdef int kind = PyUnicode_KIND(text)
        cdef const void *data = PyUnicode_DATA(text)
        cdef uint8_t here
        while at < length:
            here = self.class_of(PyUnicode_READ(kind, data, at))
            begin = at
            at += 1
            if here == WORD:
                at = self.end_of_word(kind, data, length, at)
                spans.push_back(Span(begin, at))
            elif here == SYMBOL:
                spans.push_back(Span(begin, at))
            elif here == UNSPACED:
                spans.push_back(Span(begin, at))
                if at < length and self.class_of(PyUnicode_READ(kind, data, at)) == UNSPACED:
                    spans.push_back(Span(begin, at + 1))
        return 0

    cdef Py_ssize_t end_of_word(self, int kind, const void *data, Py_ssize_t length, Py_ssize_t at) except -1:
        cdef uint8_t here
        cdef Py_UCS4 char
        while at < length:
            char = PyUnicode_READ(kind, data, at)
            here = self.class_of(char)
            if here == WORD or here == MARK:
                at += 1
            elif (
                self.joins_apostrophe
                and (char == 0x27 or char == 0x2019)
                and at + 1 < length
                and self.class_of(PyUnicode_READ(kind, data, at + 1)) == WORD
            ):
                at += 2
            else:
                break
        return at

    # -- what their terms are ----------------------------------------------------------------------------------------------

    cdef uint32_t number_of(self, str text, Span span) except? 0:
        """The number of a word's term, or STOPPED."""
        cdef Py_ssize_t at, end = min(span.end, span.begin + self.word_chars_max)
        cdef int kind = PyUnicode_KIND(text)
        cdef const void *data = PyUnicode_DATA(text)
        cdef Py_UCS4 char
        cdef string key
        for at in range(span.begin, end):
            char = PyUnicode_READ(kind, data, at)
            if char < 0x80:
                key.push_back(<char>(<uint32_t>char | 32 if 65 <= char <= 90 else <uint32_t>char))
            else:
                push_utf8(key, char)
        found = self.numbers.find(key)
        if found != self.numbers.end():
            return dereference(found).second
        cdef bytes term = self.resolve(text[span.begin : end])  # Python code: no reference into the maps outlives it
        cdef uint32_t number = STOPPED
        if term:
            known = self.number_of_term.find(<string>term)
            if known != self.number_of_term.end():
                number = dereference(known).second
            else:
                number = <uint32_t>self.terms_known.size()
                self.terms_known.push_back(term)
                self.number_of_term[<string>term] = number
        self.numbers[key] = number
        return number

    # -- for Python --------------------------------------------------------------------------------------------------------

    @property
    def is_full(self):
        return self.numbers.size() >= self.words_max

    def pack(self, str text not None):
        cdef vector[Span] spans
        cdef vector[uint32_t] numbers
        cdef uint32_t number
        cdef string packed
        cdef size_t at = 0, begin
        self.spans_of(text, spans)
        for span in spans:
            number = self.number_of(text, span)
            if number != STOPPED:
                numbers.push_back(number)
        sort(numbers.begin(), numbers.end())
        push_varint(packed, numbers.size())
        while at < numbers.size():
            begin = at
            while at < numbers.size() and numbers[at] == numbers[begin]:
                at += 1
            push_varint(packed, self.terms_known[numbers[begin]].size())
            packed.append(self.terms_known[numbers[begin]])
            push_varint(packed, at - begin)
        return PyBytes_FromStringAndSize(packed.data(), <Py_ssize_t>packed.size())

    def spans(self, str text not None):
        cdef vector[Span] spans
        cdef uint32_t number
        cdef list found = []
        cdef bytes term
        self.spans_of(text, spans)
        for span in spans:
            number = self.number_of(text, span)
            if number != STOPPED:
                term = PyBytes_FromStringAndSize(
                    self.terms_known[number].data(), <Py_ssize_t>self.terms_known[number].size()
                )
                found.append((span.begin, span.end, term))
        return found


cdef inline void push_varint(string &into, uint64_t value):
    cdef uint8_t room[10]
    cdef size_t count = varint_bytes(room, value)
    into.append(<const char *>room, count)


cdef inline void push_utf8(string &into, uint32_t char):
    """Lone surrogates too: the bytes are a key, they need not be valid."""
    if char < 0x800:
        into.push_back(<char>(0xC0 | (char >> 6)))
    elif char < 0x10000:
        into.push_back(<char>(0xE0 | (char >> 12)))
        into.push_back(<char>(0x80 | ((char >> 6) & 0x3F)))
    else:
        into.push_back(<char>(0xF0 | (char >> 18)))
        into.push_back(<char>(0x80 | ((char >> 12) & 0x3F)))
        into.push_back(<char>(0x80 | ((char >> 6) & 0x3F)))
    into.push_back(<char>(0x80 | (char & 0x3F)))
