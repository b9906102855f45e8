"""The store on disk: the data folder, RocksDB, key layouts, recovery. Knows neither asyncio nor sockets."""
