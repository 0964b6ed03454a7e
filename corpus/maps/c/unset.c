/* Maps that most applications complete before they load; as they stand no kernel makes them. */
#include "maps.h"

struct {
	__uint(type, HASH);
	__type(key, u32);
	__type(value, u64);
} unsized SEC(".maps");

struct {
	__uint(type, ARRAY_OF_MAPS);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 2);
} no_inner SEC(".maps");

struct {
	__uint(type, ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 8);
	__uint(max_entries, 4);
} plain SEC(".maps");

struct {
	__uint(type, STACK_TRACE);
	__uint(key_size, 4);
	__uint(max_entries, 4);
} no_depth SEC(".maps");

struct {
	__uint(type, RINGBUF);
} no_pages SEC(".maps");

static void *(*const lookup)(void *, const void *) = (void *)1;

SEC("socket") int p(void *ctx)
{
	u32 key = 1;

	return lookup(&unsized, &key) ? 1 : 0;
}
