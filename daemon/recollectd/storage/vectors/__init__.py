"""Vectors of records, found by nearness: a view of the journal with files of its own.

view         what callers use: apply, search, checkpoint, rebuild, compact
spec         what a space is; whether a vector may enter it (`check_vector`)
changes      what the journal's events mean for vectors
space        one space: snapshots for readers, changes, the two ends of a merge
delta        its newest rows, in memory; segment: the others, mapped
selection    the rows that a filter allows; searching: the plan of a search
merging      when and what to merge; building, build_process, builders: how, in a process of its own
durability   opening, checkpoints, commits of merges; manifest, dumps, files: what is on disk
keeper, pressure, recall, statistics     merges by themselves; bounds; quality; figures
"""
