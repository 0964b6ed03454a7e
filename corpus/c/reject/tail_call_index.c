/* Tail calls with the wrong map or context. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_FD_ARRAY(progs, MAP_PROG_ARRAY, 4);
DEFINE_MAP(plain, MAP_ARRAY, u32, u32, 4);

SEC("tc")
int wrong_map_bad(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &plain, 0);
	return TC_OK;
}

SEC("tc")
int wrong_context_bad(struct __sk_buff *skb)
{
	u64 fake = 0;

	bpf_tail_call(&fake, &progs, 0);
	return TC_OK;
}

SEC("tc")
int lookup_bad(struct __sk_buff *skb)
{
	u32 key = 0;

	return bpf_map_lookup_elem(&progs, &key) != 0;
}

SEC("tc")
int call_ok(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &progs, skb->len);
	return TC_OK;
}
LICENSE("GPL");
