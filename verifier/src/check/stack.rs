//! Stack reads, writes, spills and fills (`check_stack_read`, `check_stack_write`, `check_stack_range_initialized`).
