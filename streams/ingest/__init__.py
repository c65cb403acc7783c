"""Ingest: files from outside become root events, each once, whatever dies when.

- ``finding``: the files that paths mean
- ``deposit``: a file goes into the store, digested on the way
- ``ledger``: what was published of a file is written down before, and confirmed after
- ``plans``: which exposures are to come
- ``intake``: a file, from check to event
- ``watching``: new files, once they are whole
- ``presence``: what the others are told of it
- ``session``: all of it, as `calstream ingest` asks for it
"""
