/* The "kernel" that core.c is relocated against: same names, other layouts. */
enum color { BLUE, GREEN = 7, RED = -3 };
enum big { HUGE_A = 0x100000001ULL, HUGE_B = 5 };
struct inner { long pad; int value; };
struct plain {
	char added[16];
	struct inner *next;
	int a;
	struct { union { int hidden; short other; }; };
	unsigned int bits_a : 3, bits_b : 9;
	signed int bits_c : 4;
	struct inner items[4];
	unsigned short narrowed;
	unsigned char flex[];
};
struct two_shapes { int x; int y; };
struct two_shapes___again { int x; int y; };
typedef struct inner inner_t;
union either { int i; long l; };
struct grown { long a, b, c, d, e; };

struct plain plain; struct two_shapes two; struct two_shapes___again two_again; inner_t in; union either either;
struct grown grown; enum color color; enum big big;
