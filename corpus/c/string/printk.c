/* Formats in read-only data, up to three arguments. */
#include "ctx.h"
#include "helpers.h"

SEC("tc")
int say(struct __sk_buff *skb)
{
	PRINTK("len %u", skb->len);
	PRINTK("mark %x prio %u if %d", skb->mark, skb->priority, skb->ifindex);
	return TC_OK;
}
LICENSE("GPL");
