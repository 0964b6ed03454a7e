/* Packet headers in network byte order. */
#pragma once
#include "base.h"

struct ethhdr {
	u8 dst[6], src[6];
	u16 proto;
} __attribute__((packed));

struct vlanhdr {
	u16 tci, proto;
};

struct iphdr {
	u8 ihl : 4, version : 4;
	u8 tos;
	u16 tot_len, id, frag_off;
	u8 ttl, protocol;
	u16 check;
	u32 saddr, daddr;
};

struct ipv6hdr {
	u8 priority : 4, version : 4;
	u8 flow_lbl[3];
	u16 payload_len;
	u8 nexthdr, hop_limit;
	u32 saddr[4], daddr[4];
};

struct ipv6_opt {
	u8 nexthdr, hdrlen;
};

struct tcphdr {
	u16 source, dest;
	u32 seq, ack_seq;
	u16 res1 : 4, doff : 4, fin : 1, syn : 1, rst : 1, psh : 1, ack : 1, urg : 1, ece : 1, cwr : 1;
	u16 window, check, urg_ptr;
};

struct udphdr {
	u16 source, dest, len, check;
};

struct icmphdr {
	u8 type, code;
	u16 checksum;
	u16 id, sequence;
};

struct arphdr {
	u16 htype, ptype;
	u8 hlen, plen;
	u16 oper;
	u8 sha[6];
	u8 spa[4];
	u8 tha[6];
	u8 tpa[4];
} __attribute__((packed));

enum { ETH_IP = 0x0800, ETH_ARP = 0x0806, ETH_VLAN = 0x8100, ETH_QINQ = 0x88a8, ETH_IPV6 = 0x86dd };
enum { PROTO_ICMP = 1, PROTO_IPIP = 4, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_GRE = 47, PROTO_ICMPV6 = 58 };

/* Start and end of the packet of an XDP or socket-buffer context. */
#define PKT(ctx) ((void *)(long)(ctx)->data)
#define PKT_END(ctx) ((void *)(long)(ctx)->data_end)
#define PKT_META(ctx) ((void *)(long)(ctx)->data_meta)
/* True if a whole *p lies before end. */
#define FITS(p, end) ((void *)((p) + 1) <= (end))
