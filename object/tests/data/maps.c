/* Maps of every sort the loader makes, and every section it makes them of. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key { __u32 a, b; };
struct value { __u64 count; char name[12]; };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 100);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key);
	__type(value, struct value);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} a_ring_buffer_with_a_long_name SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__uint(value_size, 8);
} inner_one SEC(".maps"), inner_two SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [1] = &inner_two, [3] = &inner_one } };

int tail_target(struct __sk_buff *skb);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int (struct __sk_buff *));
} jumps SEC(".maps") = { .values = { [1] = &tail_target } };

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 10);
	__uint(map_extra, 3);
	__uint(value_size, 4);
} bloom SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

int zeroed[3];
static int quiet;
__hidden long long unseen = 3;
int counter = 7;
const volatile struct value config = { 0x1122334455667788ULL, "name" };
const int table[] = { 1, 2, 3, 4 };
int custom SEC(".data.mine") = 9;
static const volatile char text[] SEC(".rodata.words") = "words";

extern int LINUX_KERNEL_VERSION __kconfig;
extern unsigned long CONFIG_HZ __kconfig __weak;
extern enum libbpf_tristate CONFIG_TUN __kconfig __weak;
extern _Bool CONFIG_ABSENT_OPTION __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[8] __kconfig __weak;

SEC("tc")
int reader(struct __sk_buff *skb)
{
	struct key k = { skb->len, custom };
	struct value *v = bpf_map_lookup_elem(&hash, &k);
	void *p = bpf_map_lookup_elem(&outer, &k.a);

	quiet++;
	zeroed[1] += (int)config.count + table[skb->len & 3] + text[skb->mark & 3];
	unseen += LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_TUN + CONFIG_ABSENT_OPTION + CONFIG_DEFAULT_HOSTNAME[1];
	if (v)
		v->count += counter;
	bpf_map_push_elem(&bloom, &k.a, 0);
	bpf_perf_event_output(skb, &events, 0, &k, sizeof(k));
	bpf_ringbuf_output(&a_ring_buffer_with_a_long_name, &k, sizeof(k), 0);
	bpf_tail_call(skb, &jumps, 1);
	return p != 0;
}

SEC("tc")
int tail_target(struct __sk_buff *skb) { return quiet; }

__u32 _version SEC("version") = 0x060102;
char _license[] SEC("license") = "GPL";
