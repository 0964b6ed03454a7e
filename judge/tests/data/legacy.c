/* A map defined without BTF, by name and as a static; one definition that is too short. */
#include "base.h"
struct old_def {
	u32 type, key_size, value_size, max_entries, flags, id, pinning;
};
struct old_def hits SEC("maps") = { 2, 4, 8, 4, 0, 0, 0 };
struct {
	u32 type, key_size;
} stub SEC("maps/short") = { 1, 4 };
static void *(*lookup)(void *map, const void *key) = (void *)1;

SEC("xdp")
int counts(void *ctx)
{
	u32 key = 0;
	u64 *n = lookup(&hits, &key);

	if (n)
		*n += 1;
	return 2;
}
SEC("xdp")
int unchecked(void *ctx)
{
	u32 key = 4;

	return *(u64 *)lookup(&hits, &key) & 1;
}
SEC("xdp")
int uses_stub(void *ctx)
{
	u32 key = 0;

	return lookup(&stub, &key) != 0;
}
LICENSE("GPL");
