"""Every message, by file of its kind; `recollectd.protocol.table` puts them into one table."""
