/* A message program with its own pointer-sized context fields. */
#include "ctx.h"
#include "helpers.h"
#include "maps.h"

DEFINE_FD_ARRAY(peers, MAP_SOCKMAP, 16);

SEC("sk_msg")
int shortcut(struct sk_msg_md *msg)
{
	if (msg->family != 2 || msg->remote_ip4 != HTONL(0x7f000001))
		return SK_PASS;
	return bpf_msg_redirect_map(msg, &peers, msg->local_port & 15, 1);
}
LICENSE("GPL");
