/* Fixed-width types, sections and small tools every program of the corpus uses. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef short s16;
typedef int s32;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
/* A global function the loader turns into a static one. */
#define HIDDEN __attribute__((visibility("hidden")))
#define WEAK __attribute__((weak))
#define LICENSE(text) char _license[] SEC("license") = text

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define OFFSET_OF(type, field) __builtin_offsetof(type, field)

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Stops the compiler from knowing a value. */
#define OPAQUE(x) asm volatile("" : "+r"(x))

/* Network byte order; the corpus is compiled for little-endian BPF. */
#define HTONS(x) ((u16)__builtin_bswap16((u16)(x)))
#define HTONL(x) ((u32)__builtin_bswap32((u32)(x)))

#define COPY(dst, src, n) __builtin_memcpy(dst, src, n)
#define ZERO(dst) __builtin_memset(&(dst), 0, sizeof(dst))
