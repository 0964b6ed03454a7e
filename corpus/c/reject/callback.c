/* Callbacks that return too much or touch what they may not. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_MAP(m, MAP_HASH, u32, u64, 8);

static long returns_two(u32 i, void *unused)
{
	return 2;
}

static long writes_key(void *map, u32 *key, u64 *value, void *unused)
{
	*key = 1;
	return 0;
}

static long returns_one(u32 i, void *unused)
{
	return 1;
}

SEC("tc")
int return_bad(struct __sk_buff *skb)
{
	bpf_loop(4, returns_two, 0, 0);
	return TC_OK;
}

SEC("tc")
int key_bad(struct __sk_buff *skb)
{
	bpf_for_each_map_elem(&m, writes_key, 0, 0);
	return TC_OK;
}

SEC("tc")
int stops_ok(struct __sk_buff *skb)
{
	bpf_loop(4, returns_one, 0, 0);
	return TC_OK;
}
LICENSE("GPL");
