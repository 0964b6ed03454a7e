/* Programs that run at entry and return of a function. */
#include "kfunc.h"

extern _Bool bpf_session_is_return(void *ctx) KFUNC;
extern u64 *bpf_session_cookie(void *ctx) KFUNC;

SEC("fsession/tcp_connect")
int plain(u64 *ctx)
{
	return ctx[0] == 0 ? 0 : 0;
}

SEC("fsession/tcp_connect")
int not_zero_bad(u64 *ctx)
{
	return 1;
}

SEC("fsession/tcp_connect")
int time_between(u64 *ctx)
{
	u64 *start = bpf_session_cookie(ctx);

	if (!bpf_session_is_return(ctx)) {
		*start = 5;
		return 0;
	}
	*start = *start + 1;
	return 0;
}

SEC("fsession/tcp_connect")
__attribute__((naked)) int cookie_beyond_bad(void)
{
	asm volatile("call %[c]; r1 = *(u64 *)(r0 + 8); r0 = 0; exit" : : [c] "i"(bpf_session_cookie) : "r0");
}

SEC("fsession/tcp_connect")
int reads_result(u64 *ctx)
{
	if (!bpf_session_is_return(ctx))
		return 0;
	return (int)ctx[1] != 0 ? 0 : 0;
}

SEC("fentry/tcp_connect")
int entry_asks_bad(u64 *ctx)
{
	return bpf_session_is_return(ctx) ? 0 : 0;
}

SEC("fsession/tcp_connect")
__attribute__((naked)) int reads_beyond_bad(void)
{
	asm volatile("r0 = *(u64 *)(r1 + 16); r0 = 0; exit");
}
LICENSE("GPL");
