/* Contexts of the program types, laid out as the verifier knows them. */
#pragma once
#include "base.h"

/* Pointers take eight bytes in a context whatever the machine. */
#define CTX_PTR(type, name)                                                                        \
	union {                                                                                    \
		type name;                                                                         \
		u64 : 64;                                                                          \
	} __attribute__((aligned(8)))

struct bpf_flow_keys;
struct bpf_sock;

struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
	u32 priority, ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid;
	u32 data, data_end, napi_id;
	u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port;
	u32 data_meta;
	CTX_PTR(struct bpf_flow_keys *, flow_keys);
	u64 tstamp;
	u32 wire_len, gso_segs;
	CTX_PTR(struct bpf_sock *, sk);
	u32 gso_size;
	u8 tstamp_type;
	u32 : 24;
	u64 hwtstamp;
};

struct xdp_md {
	u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

struct sk_msg_md {
	CTX_PTR(void *, data);
	CTX_PTR(void *, data_end);
	u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port, size;
	CTX_PTR(struct bpf_sock *, sk);
};

struct bpf_sock {
	u32 bound_dev_if, family, type, protocol, mark, priority;
	u32 src_ip4, src_ip6[4], src_port;
	u16 dst_port;
	u16 : 16;
	u32 dst_ip4, dst_ip6[4], state;
	s32 rx_queue_mapping;
};

struct bpf_sock_tuple {
	union {
		struct {
			u32 saddr, daddr;
			u16 sport, dport;
		} ipv4;
		struct {
			u32 saddr[4], daddr[4];
			u16 sport, dport;
		} ipv6;
	};
};

struct bpf_tunnel_key {
	u32 tunnel_id;
	union {
		u32 remote_ipv4;
		u32 remote_ipv6[4];
	};
	u8 tunnel_tos, tunnel_ttl;
	u16 tunnel_flags;
	u32 tunnel_label;
	union {
		u32 local_ipv4;
		u32 local_ipv6[4];
	};
};

struct bpf_fib_lookup {
	u8 family, l4_protocol;
	u16 sport, dport, tot_len;
	u32 ifindex;
	u32 flowinfo;
	u32 src[4], dst[4];
	u16 vlan_proto, vlan_tci;
	u8 smac[6], dmac[6];
};

/* x86-64 registers as kprobes, uprobes and perf events see them. */
struct pt_regs {
	u64 r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	u64 orig_rax, rip, cs, eflags, rsp, ss;
};
#define ARG1(regs) ((regs)->rdi)
#define ARG2(regs) ((regs)->rsi)
#define ARG3(regs) ((regs)->rdx)
#define ARG4(regs) ((regs)->rcx)
#define ARG5(regs) ((regs)->r8)
#define RETVAL(regs) ((regs)->rax)

struct bpf_perf_event_data {
	struct pt_regs regs;
	u64 sample_period;
	u64 addr;
};

struct bpf_raw_tracepoint_args {
	u64 args[0];
};

/* Verdicts. */
enum { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };
enum { TC_UNSPEC = -1, TC_OK = 0, TC_SHOT = 2, TC_REDIRECT = 7 };
enum { SK_DROP = 0, SK_PASS = 1 };
#define F_CURRENT_CPU 0xffffffffULL
#define F_USER_STACK (1ULL << 8)
