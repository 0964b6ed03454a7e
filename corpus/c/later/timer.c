/* A timer in a map value with its callback. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

struct bpf_timer {
	u64 opaque[2];
};
struct elem {
	struct bpf_timer timer;
	u64 fired;
};
DEFINE_MAP(timers, MAP_ARRAY, u32, struct elem, 1);

static int on_timer(void *map, u32 *key, struct elem *e)
{
	e->fired++;
	return 0;
}

SEC("tc")
int arm(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct elem *e = bpf_map_lookup_elem(&timers, &zero);

	if (!e)
		return TC_OK;
	if (bpf_timer_init(&e->timer, &timers, 1))
		return TC_OK;
	bpf_timer_set_callback(&e->timer, on_timer);
	bpf_timer_start(&e->timer, 1000000, 0);
	return TC_OK;
}
LICENSE("GPL");
