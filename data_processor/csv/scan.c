#include "scan.h"

#include "bytes.h"
#include "split.h"

const char bytes_masks[64] = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                             "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";

/* Bit i: how many bits up to and with i are set, modulo 2. */
static inline uint64_t plain_prefix_xor(uint64_t bits)
{
    for (unsigned shift = 1; shift < 64; shift *= 2)
        bits ^= bits << shift;
    return bits;
}

/* Plain C: 8 bytes in a word. */

/* A bit for each byte of the word that is `byte`. Exact: nothing is carried from one byte to
 * the next. The product gathers the top bits. */
static inline uint64_t equal_bytes(uint64_t word, unsigned char byte)
{
    const uint64_t low = UINT64_C(0x7F7F7F7F7F7F7F7F);
    uint64_t t = word ^ (UINT64_C(0x0101010101010101) * byte);

    t = ~(((t & low) + low) | t | low) >> 7;
    return t * UINT64_C(0x0102040810204080) >> 56;
}

static inline void plain_marks(const char *at, struct scan_marks *ret)
{
    struct scan_marks m = {0};

    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t word = load64(at + i);
        m.comma |= equal_bytes(word, ',') << i;
        m.quote |= equal_bytes(word, '"') << i;
        m.line_end |= (equal_bytes(word, '\n') | equal_bytes(word, '\r')) << i;
    }
    *ret = m;
}

#define SCAN_TARGET
#define SCAN_NAME(part) plain_##part
#include "scan_rows.h"

static bool always(void)
{
    return true;
}

#ifdef __x86_64__
#include <immintrin.h>

/* SSE2 is part of x86-64. */
static inline uint64_t sse2_equal(const __m128i part[4], char byte)
{
    __m128i wanted = _mm_set1_epi8(byte);
    uint64_t bits = 0;

    for (unsigned i = 0; i < 4; i++)
        bits |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(part[i], wanted))
                << 16 * i;
    return bits;
}

static inline void sse2_marks(const char *at, struct scan_marks *ret)
{
    __m128i part[4];

    for (unsigned i = 0; i < 4; i++)
        part[i] = _mm_loadu_si128((const __m128i *)(const void *)(at + 16 * i));
    ret->comma = sse2_equal(part, ',');
    ret->quote = sse2_equal(part, '"');
    ret->line_end = sse2_equal(part, '\n') | sse2_equal(part, '\r');
}

static inline uint64_t sse2_prefix_xor(uint64_t bits)
{
    return plain_prefix_xor(bits);
}

#define SCAN_TARGET
#define SCAN_NAME(part) sse2_##part
#include "scan_rows.h"

#define AVX2 __attribute__((target("avx2,bmi,bmi2,pclmul")))

AVX2 static inline uint64_t avx2_equal(__m256i low, __m256i high, char byte)
{
    __m256i wanted = _mm256_set1_epi8(byte);
    uint64_t l = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted));
    uint64_t h = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted));

    return l | h << 32;
}

AVX2 static inline void avx2_marks(const char *at, struct scan_marks *ret)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)at);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(at + 32));

    ret->comma = avx2_equal(low, high, ',');
    ret->quote = avx2_equal(low, high, '"');
    ret->line_end = avx2_equal(low, high, '\n') | avx2_equal(low, high, '\r');
}

/* Times all ones without carrying is the same (simdjson, G. Langdale and D. Lemire, 2019). */
AVX2 static inline uint64_t avx2_prefix_xor(uint64_t bits)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_set_epi64x(0, (int64_t)bits), _mm_set1_epi8((char)0xFF), 0);

    return (uint64_t)_mm_cvtsi128_si64(product);
}

#define SCAN_TARGET     AVX2
#define SCAN_NAME(part) avx2_##part
#include "scan_rows.h"

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("pclmul");
}

#define AVX512 __attribute__((target("avx512f,avx512bw,bmi,bmi2,pclmul")))

AVX512 static inline void avx512_marks(const char *at, struct scan_marks *ret)
{
    __m512i all = _mm512_loadu_si512(at);

    ret->comma = _mm512_cmpeq_epi8_mask(all, _mm512_set1_epi8(','));
    ret->quote = _mm512_cmpeq_epi8_mask(all, _mm512_set1_epi8('"'));
    ret->line_end = _mm512_cmpeq_epi8_mask(all, _mm512_set1_epi8('\n')) |
                    _mm512_cmpeq_epi8_mask(all, _mm512_set1_epi8('\r'));
}

/* Times all ones without carrying is the same (simdjson, G. Langdale and D. Lemire, 2019). */
AVX512 static inline uint64_t avx512_prefix_xor(uint64_t bits)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_set_epi64x(0, (int64_t)bits), _mm_set1_epi8((char)0xFF), 0);

    return (uint64_t)_mm_cvtsi128_si64(product);
}

#define SCAN_TARGET     AVX512
#define SCAN_NAME(part) avx512_##part
#include "scan_rows.h"

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("pclmul");
}
#endif

#if defined __aarch64__ && defined __ARM_NEON
#include <arm_neon.h>

static inline uint64_t neon_equal(const uint8x16_t part[4], uint8_t byte)
{
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                        1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t weight = vld1q_u8(weights), wanted = vdupq_n_u8(byte);
    uint8x16_t bits[4];

    for (unsigned i = 0; i < 4; i++)
        bits[i] = vandq_u8(vceqq_u8(part[i], wanted), weight);
    /* three times adding neighbours leaves one byte for each eight */
    uint8x16_t sum = vpaddq_u8(vpaddq_u8(bits[0], bits[1]), vpaddq_u8(bits[2], bits[3]));
    sum = vpaddq_u8(sum, sum);
    return vgetq_lane_u64(vreinterpretq_u64_u8(sum), 0);
}

static inline void neon_marks(const char *at, struct scan_marks *ret)
{
    uint8x16_t part[4];

    for (unsigned i = 0; i < 4; i++)
        part[i] = vld1q_u8((const uint8_t *)at + 16 * i);
    ret->comma = neon_equal(part, ',');
    ret->quote = neon_equal(part, '"');
    ret->line_end = neon_equal(part, '\n') | neon_equal(part, '\r');
}

static inline uint64_t neon_prefix_xor(uint64_t bits)
{
    return plain_prefix_xor(bits);
}

#define SCAN_TARGET
#define SCAN_NAME(part) neon_##part
#include "scan_rows.h"
#endif

const struct scanner scanners[] = {
#ifdef __x86_64__
    {"avx512", avx512_rows, avx512_split, has_avx512},
    {"avx2", avx2_rows, avx2_split, has_avx2},
    {"sse2", sse2_rows, sse2_split, always},
#endif
#if defined __aarch64__ && defined __ARM_NEON
    {"neon", neon_rows, neon_split, always},
#endif
    {"plain", plain_rows, plain_split, always},
    {NULL, NULL, NULL, NULL},
};

const struct scanner *scanner_best(void)
{
    const struct scanner *s = scanners;

    while (!s->runs_here())
        s++;
    return s;
}
