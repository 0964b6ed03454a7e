/* A congestion control may write some fields of its socket, but not through a pointer nobody vouches for. */
#include "base.h"
#include "kfunc.h"

#define PRESERVE __attribute__((preserve_access_index))

struct sock {
	int sk_rcvbuf;
} PRESERVE;
struct tcp_sock {
	u32 snd_cwnd, snd_ssthresh;
} PRESERVE;
struct tcp_congestion_ops {
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	u32 (*ssthresh)(struct sock *sk);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	void (*set_state)(struct sock *sk, u8 state);
	char name[16];
};

extern void *bpf_rdonly_cast(const void *obj, u32 btf_id) KFUNC;

#define KERNEL_ID(type) __builtin_btf_type_id(*(type *)0, 1)
#define CAST(type, p) ((type *)bpf_rdonly_cast(p, KERNEL_ID(type)))

SEC("struct_ops")
void cast_from_nothing_bad(u64 *ctx)
{
	u32 v = 1;
	void *p = bpf_rdonly_cast(&v, 0);

	CAST(struct tcp_sock, p)->snd_cwnd = 1;
}

SEC("struct_ops")
void cast_argument_bad(u64 *ctx)
{
	CAST(struct tcp_sock, (void *)ctx[0])->snd_ssthresh = 2;
}

SEC("struct_ops")
u32 forbidden_field_bad(u64 *ctx)
{
	CAST(struct sock, (void *)ctx[0])->sk_rcvbuf = 2;
	return 2;
}

SEC("struct_ops")
void atomic_bad(u64 *ctx)
{
	__sync_fetch_and_add(&CAST(struct tcp_sock, (void *)ctx[0])->snd_cwnd, 1);
}

SEC("struct_ops")
u32 read_ok(u64 *ctx)
{
	return CAST(struct tcp_sock, (void *)ctx[0])->snd_cwnd;
}

SEC("struct_ops")
void write_ok(u64 *ctx)
{
	struct tcp_sock *tp = (void *)ctx[0];

	tp->snd_cwnd = 1;
}

SEC(".struct_ops")
struct tcp_congestion_ops untrusted = {
	.init = (void *)cast_from_nothing_bad,
	.release = (void *)cast_argument_bad,
	.ssthresh = (void *)forbidden_field_bad,
	.undo_cwnd = (void *)read_ok,
	.cong_avoid = (void *)write_ok,
	.set_state = (void *)atomic_bad,
	.name = "assay_ro",
};
LICENSE("GPL");
