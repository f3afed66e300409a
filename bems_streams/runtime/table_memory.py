"""The memory that all table partitions of one worker share, and how RocksDB is set up to keep to it.

Not here: what is stored (table.py), how much memory a worker gets (config.py).
"""

from typing import Final

import rocksdict

SMALLEST_BYTES: Final = 16 << 20
WRITE_SHARE: Final = 2
"""One part in so many is for what is written and not yet in a file. Larger files are merged less often: at 400,000
invoices a partition, a half instead of a quarter brought compaction from 15 to 6 µs of CPU per event."""

LARGEST_WRITE_BUFFER_BYTES: Final = 16 << 20
ARENA_BLOCK_BYTES: Final = 128 << 10
"""What an open partition takes at least once it was written to; RocksDB's own megabyte would add up to 99."""

BLOOM_BITS: Final = 10
OPEN_FILES: Final = 64


class TableMemory:
    """At most `limit_bytes` for blocks, their indexes and filters, and write buffers, of all partitions together.

    Write buffers count against the block cache, so that together they have one bound. Beyond it comes only what a
    running read or compaction holds: see docs/performance/memory.md.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = max(limit_bytes, SMALLEST_BYTES)
        self._blocks = rocksdict.Cache(self.limit_bytes)
        self._writes = rocksdict.WriteBufferManager.new_write_buffer_manager_with_cache(
            self.limit_bytes // WRITE_SHARE, False, self._blocks
        )

    @property
    def used_bytes(self) -> int:
        """By all partitions that are open."""
        return self._blocks.get_usage()

    def options(self) -> rocksdict.Options:
        """For one partition."""
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_manager(self._writes)
        options.set_write_buffer_size(LARGEST_WRITE_BUFFER_BYTES)
        options.set_arena_block_size(ARENA_BLOCK_BYTES)
        # Merges files of like size instead of rewriting the largest level each time: another 2 µs per event less, for
        # up to twice the disk while one is rewritten.
        options.set_compaction_style(rocksdict.DBCompactionStyle.universal())
        options.set_max_open_files(OPEN_FILES)
        options.set_keep_log_file_num(2)
        options.set_block_based_table_factory(self._blocks_of_files())
        return options

    def _blocks_of_files(self) -> rocksdict.BlockBasedOptions:
        blocks = rocksdict.BlockBasedOptions()
        blocks.set_block_cache(self._blocks)
        blocks.set_bloom_filter(BLOOM_BITS, False)
        blocks.set_cache_index_and_filter_blocks(True)  # else they stay in memory for every open file, without bound
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
        blocks.set_index_type(rocksdict.BlockBasedIndexType.two_level_index_search())
        blocks.set_partition_filters(True)
        return blocks
