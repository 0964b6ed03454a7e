/* One program per shape of global data: each is refused exactly when its variable holds what the test's
 * variant writes.
 * clang-19 -target bpf -mcpu=v3 -O2 -g -fdebug-compilation-dir=. -c shapes.c && llvm-strip-19 -g shapes.o
 */
typedef _Bool flag;
typedef unsigned short port;
enum mode { SLOW = 1, FAST = 1000 };
enum wide { NEAR = 1, FAR = 0x100000000 };
struct limits {
	unsigned int low : 3;
	unsigned int high;
	struct {
		port from;
		flag on;
	} inner;
	union {
		long long whole;
		unsigned char parts[8];
	};
};

const volatile flag strict;
const volatile signed char small = 3;
const volatile unsigned char byte;
const volatile port p16;
const volatile int number;
const volatile unsigned long long big;
const volatile enum mode mode = SLOW;
const volatile enum wide wide;
const volatile char name[8] = "lo";
const volatile port ports[4] = { 1, 2, 3, 4 };
const volatile struct limits limits;
const volatile struct limits table[3];
const volatile void *pointer;
const volatile double real;
const volatile int named __attribute__((section(".rodata.more"))) = 5;
static const volatile int hidden = 5;
int counter = 1;
int zeroed;

#define SEC(s) __attribute__((section(s), used))
#define REFUSED_IF(fn, cond)                                 \
	SEC("tc") int fn(void *ctx)                          \
	{                                                    \
		return (cond) ? *(volatile int *)0 : 0;      \
	}

REFUSED_IF(p_bool, strict)
REFUSED_IF(p_signed, small == -3)
REFUSED_IF(p_byte, byte == 255)
REFUSED_IF(p_port, p16 == 443)
REFUSED_IF(p_int, number == -2147483647 - 1)
REFUSED_IF(p_u64, big == 0xffffffffffffffffULL)
REFUSED_IF(p_enum, mode == FAST)
REFUSED_IF(p_wide, wide == FAR)
REFUSED_IF(p_text, name[0] == 'e' && name[3] == '0' && name[4] == 0)
REFUSED_IF(p_array, ports[0] == 7 && ports[1] == 0)
REFUSED_IF(p_element, ports[2] == 9 && ports[3] == 4)
REFUSED_IF(p_member, limits.high == 9)
REFUSED_IF(p_inner, limits.inner.from == 8080 && limits.inner.on)
REFUSED_IF(p_unnamed, limits.parts[1] == 2)
REFUSED_IF(p_rows, table[1].inner.from == 5)
REFUSED_IF(p_section, named == 6)
REFUSED_IF(p_static, hidden == 6)

SEC("tc") int p_data(void *ctx)
{
	return counter + zeroed + (pointer != 0) + *(volatile char *)&real;
}
char _license[] SEC("license") = "GPL";
