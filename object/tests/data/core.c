/* Every kind of CO-RE relocation, with what matches, what does not, and what is only poisoned. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define CORE __attribute__((preserve_access_index))
enum color { RED, GREEN, BLUE };
enum color___old { PURPLE___old = 9 };
enum big { HUGE_A = 0x1ffffffffULL, HUGE_B = 6 };
struct inner { int value; long pad; } CORE;
struct plain {
	int a;
	int hidden;
	int gone;
	struct inner *next;
	unsigned int bits_a : 5, bits_b : 7;
	signed int bits_c : 4;
	struct inner items[8];
	unsigned int narrowed;
	unsigned char flex[];
} CORE;
struct two_shapes___mine { int y; } CORE;
typedef struct inner inner_t;
union either { int i; } CORE;
struct grown { long a; } CORE;
struct absent { int x; } CORE;
struct local_only { int q; };

long out[64];
const volatile int chosen = 1;

SEC("raw_tp/fields")
int fields(struct plain *o)
{
	out[0] = o->a;
	out[1] = o->hidden;
	out[2] = o->items[2].value;
	out[3] = o->next->value;
	out[4] = o->narrowed;
	out[5] = o->flex[3];
	o->a = 5;
	out[6] = ((struct two_shapes___mine *)o)->y;
	out[7] = BPF_CORE_READ_BITFIELD(o, bits_a);
	out[8] = BPF_CORE_READ_BITFIELD(o, bits_b);
	out[9] = BPF_CORE_READ_BITFIELD(o, bits_c);
	return 0;
}

SEC("raw_tp/infos")
int infos(struct plain *o)
{
	out[0] = bpf_core_field_exists(o->gone);
	out[1] = bpf_core_field_exists(o->hidden);
	out[2] = bpf_core_field_size(o->items);
	out[3] = bpf_core_field_size(o->narrowed);
	out[4] = bpf_core_type_exists(struct absent);
	out[5] = bpf_core_type_exists(union either);
	out[6] = bpf_core_type_size(struct grown);
	out[7] = bpf_core_type_size(struct absent);
	out[8] = bpf_core_type_id_kernel(inner_t);
	out[9] = bpf_core_type_id_local(struct local_only);
	out[10] = bpf_core_type_matches(struct grown);
	out[11] = bpf_core_type_matches(struct plain);
	out[12] = bpf_core_enum_value_exists(enum color, BLUE);
	out[13] = bpf_core_enum_value_exists(enum color___old, PURPLE___old);
	out[14] = bpf_core_enum_value(enum color, RED);
	out[15] = bpf_core_enum_value(enum big, HUGE_A);
	out[16] = bpf_core_field_offset(o->items[1]);
	return 0;
}

SEC("raw_tp/poisoned")
int poisoned(struct plain *o)
{
	if (chosen)
		return o->gone;
	out[0] = bpf_core_enum_value(enum color___old, PURPLE___old);
	return ((struct absent *)o)->x;
}

SEC("raw_tp/too_far")
int too_far(struct plain *o)
{
	return o->items[6].value;
}

char _license[] SEC("license") = "GPL";
