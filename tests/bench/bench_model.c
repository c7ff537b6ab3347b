/* Time and work of one incremental step, by part and batch, with the caches of a million cards in
 * random order; beside it the same step and the same matrix products in FP32, by our own AVX-512
 * loops and by OpenBLAS. */
#include <cblas.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/rng.h"
#include "model/model_format.h"
#include "model/served.h"
#include "model/train.h"
#include "tests/support/machine.h"
#include "tests/support/net_twin.h"
#include "tests/support/step_fp32.h"

#define CARDS 1000000U
#define STEPS 400000U
#define BATCH_MAX 64U
#define ROWS_KEPT 4096U /* different feature rows */
#define RUNS 3

static double now_s(void)
{
    return (double)machine_thread_ns() * 1e-9;
}

/* --- what this core can do ------------------------------------------------------------------- */

#if defined(__x86_64__)
/* Eight independent sums, operands in registers: the most that the instruction gives. */
__attribute__((target("avx512f,avx512vnni"))) static void vnni_loop(long rounds)
{
    __asm__ volatile("1:\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm0\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm1\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm2\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm3\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm4\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm5\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm6\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm7\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm8\n"
                     "vpdpbusd %%zmm30, %%zmm31, %%zmm9\n"
                     "dec %0\n"
                     "jnz 1b\n"
                     : "+r"(rounds)
                     :
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "cc");
}

/* GOP/s (a multiply and an add are two), 0 without the instruction. */
static double peak_int8(void)
{
    const long rounds = 4000000;
    double best = 0;
    if (!KERNEL_AVX512.usable()) {
        return 0;
    }
    for (int r = 0; r < 5; r++) {
        double start = now_s();
        vnni_loop(rounds);
        double gops = (double)rounds * 10 * 128 / (now_s() - start) * 1e-9;
        best = gops > best ? gops : best;
    }
    return best;
}

#else
static double peak_int8(void)
{
    return 0;
}

#endif

static double peak_fp32(void)
{
    enum { N = 512 };
    static float a[N * N], b[N * N], c[N * N];
    double best = 0;
    for (int r = 0; r < 5; r++) {
        double start = now_s();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, N, N, N, 1, a, N, b, N, 0, c, N);
        double gops = 2.0 * N * N * N / (now_s() - start) * 1e-9;
        best = gops > best ? gops : best;
    }
    return best;
}

/* --- the step -------------------------------------------------------------------------------- */

struct bench {
    struct train_result *r;
    struct model *m;
    struct model_work *w;
    size_t file_bytes;
    float *x; /* [ROWS_KEPT, columns] */
    char *caches;
    const struct step_fp32_ops *fp32; /* NULL: none on this CPU */
    struct step_fp32 *step32;         /* chosen for time_steps instead of the model; or NULL */
    char *caches32;
    uint32_t *order; /* [STEPS] cards, a batch's all different */
    int64_t time_us;
};

static void *must(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return p;
}

static void load(struct bench *b, uint32_t columns, uint32_t active)
{
    struct net_shape s;
    struct errmsg e = {""};
    uint8_t *bytes = NULL;
    net_shape_default(&s, columns, 0);
    b->r = twin_random(&s, active, 20, 1);
    struct model_lineage l = {.data_until_us = 1};
    if (model_pack(b->r, &l, &bytes, &b->file_bytes, &e) != ERR_OK ||
        model_load(bytes, b->file_bytes, &b->m, &e) != ERR_OK ||
        model_work_create(b->m, BATCH_MAX, &b->w, &e) != ERR_OK) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    free(bytes);
    b->x = must(malloc(ROWS_KEPT * columns * sizeof *b->x));
    twin_rows(b->r, 2, ROWS_KEPT, b->x);
    b->time_us = INT64_C(1700000000000000);
}

static size_t cache_bytes(const struct bench *b)
{
    return b->step32 != NULL ? b->fp32->cache_bytes : model_cache_bytes(b->m);
}

static char *map_caches(size_t bytes)
{
    char *p = mmap(NULL, CARDS * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "no memory for %u caches of %zu bytes\n", CARDS, bytes);
        exit(1);
    }
    madvise(p, CARDS * bytes, MADV_HUGEPAGE);
    return p;
}

/* One batch by what is being measured. */
static void step(struct bench *b, size_t n, const float *x, const int64_t *t, void *const *cache,
                 float *logit)
{
    if (b->step32 != NULL) {
        b->fp32->run(b->step32, n, x, t, cache, logit);
    } else {
        model_step(b->m, b->w, n, x, t, cache, logit);
    }
}

/* Full windows: 512 cards' worth of real steps, copied to all. */
static void fill_caches(struct bench *b, char *caches)
{
    enum { REAL = 512 };
    size_t bytes = cache_bytes(b);
    const struct net_shape *s = model_shape(b->m);
    for (uint32_t k = 0; k < s->window + 5; k++) {
        for (uint32_t card = 0; card < REAL; card += BATCH_MAX) {
            void *cache[BATCH_MAX];
            int64_t t[BATCH_MAX];
            float logit[BATCH_MAX];
            for (uint32_t i = 0; i < BATCH_MAX; i++) {
                cache[i] = caches + (card + i) * bytes;
                t[i] = b->time_us + k * INT64_C(40000000000);
            }
            const float *x = b->x + (size_t)(k * REAL + card) % ROWS_KEPT * s->columns;
            step(b, BATCH_MAX, x, t, cache, logit);
        }
    }
    b->time_us += (s->window + 5) * INT64_C(40000000000);
    for (uint32_t card = REAL; card < CARDS; card++) {
        memcpy(caches + card * bytes, caches + card % REAL * bytes, bytes);
    }
}

static void shuffle_cards(struct bench *b)
{
    struct rng rng;
    uint32_t *all = must(malloc(CARDS * sizeof *all));
    rng_init(&rng, 3);
    for (uint32_t i = 0; i < CARDS; i++) {
        all[i] = i;
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        uint32_t k = i + (uint32_t)rng_below(&rng, CARDS - i);
        uint32_t t = all[i];
        all[i] = all[k];
        all[k] = t;
    }
    b->order = all;
}

/* ns a step; cards NULL: the same 64 cards again and again, so their caches stay near. */
static double time_steps(struct bench *b, size_t batch, const uint32_t *cards, size_t steps)
{
    size_t bytes = cache_bytes(b);
    char *caches = b->step32 != NULL ? b->caches32 : b->caches;
    size_t columns = model_shape(b->m)->columns;
    void *cache[BATCH_MAX];
    int64_t t[BATCH_MAX];
    float logit[BATCH_MAX];
    b->time_us += INT64_C(3600000000);
    double start = now_s();
    for (size_t at = 0; at + batch <= steps; at += batch) {
        for (size_t i = 0; i < batch; i++) {
            cache[i] = caches + (cards != NULL ? cards[at + i] : i) * bytes;
            t[i] = b->time_us + (int64_t)at;
        }
        step(b, batch, b->x + at % (ROWS_KEPT - BATCH_MAX) * columns, t, cache, logit);
    }
    return (now_s() - start) / (double)(steps / batch * batch) * 1e9;
}

static double best_of(struct bench *b, size_t batch, const uint32_t *cards, size_t steps)
{
    double best = time_steps(b, batch, cards, 512);
    steps = best * (double)steps > 1e9 ? (size_t)(1e9 / best) : steps;
    best = INFINITY;
    for (int r = 0; r < RUNS; r++) {
        double ns = time_steps(b, batch, cards, steps);
        best = ns < best ? ns : best;
    }
    return best;
}

/* ns a row of each part at a batch of SERVED_ROWS, caches near. */
static void time_parts(struct bench *b, double part[4])
{
    enum { ROUNDS = 500 };
    const struct kernel *k = served_kernel();
    const struct model *m = b->m;
    struct model_work *w = b->w;
    int64_t t[SERVED_ROWS];
    float logit[SERVED_ROWS];
    memset(part, 0, 4 * sizeof *part);
    b->time_us += INT64_C(3600000000);
    for (int round = 0; round < ROUNDS; round++) {
        const float *x = b->x + (size_t)round % (ROWS_KEPT - SERVED_ROWS) * m->shape.columns;
        b->time_us++;
        for (uint32_t i = 0; i < SERVED_ROWS; i++) {
            w->cache[i] = b->caches + i * m->sizes.cache_bytes;
            t[i] = b->time_us;
        }
        double at[6] = {now_s()};
        k->encode(m, w, SERVED_ROWS, x, t);
        at[1] = now_s();
        for (uint32_t i = 0; i < SERVED_ROWS; i++) {
            if (!cache_insert(m, w->cache[i], t[i], &w->place[i],
                              w->visible + i * (m->sizes.window_p / SERVED_LANES))) {
                abort();
            }
        }
        at[2] = now_s();
        part[0] += at[1] - at[0];
        part[3] += at[2] - at[1];
        for (uint32_t layer = 0; layer < m->shape.layers; layer++) {
            at[2] = now_s();
            k->attention(m, w, SERVED_ROWS, layer);
            at[3] = now_s();
            k->experts(m, w, SERVED_ROWS, layer);
            at[4] = now_s();
            part[1] += at[3] - at[2];
            part[2] += at[4] - at[3];
        }
        at[4] = now_s();
        k->head(m, w, SERVED_ROWS, logit);
        part[3] += now_s() - at[4];
    }
    for (int i = 0; i < 4; i++) {
        part[i] *= 1e9 / ROUNDS / SERVED_ROWS;
    }
}

/* --- work ------------------------------------------------------------------------------------ */

struct work {
    size_t encode, table, attention, cached, experts, dense;
};

static struct work count_work(const struct net_shape *s)
{
    size_t width = s->width;
    size_t content = (size_t)s->heads * s->rank;
    size_t rotary = (size_t)s->heads * s->rope;
    size_t unit = 3 * width;
    return (struct work){
        .encode = s->columns * width,
        .table = s->columns * width,
        .attention = s->layers * (width * (content + rotary + s->rank + s->rope) + content * width),
        .cached = s->layers * s->window * (2 * content + rotary),
        .experts = s->layers *
                   (width * s->experts + unit * (s->shared_hidden + s->top * s->expert_hidden)),
        .dense = s->layers * unit * (s->shared_hidden + s->experts * s->expert_hidden)};
}

static void print_work(const struct net_shape *s)
{
    struct work w = count_work(s);
    size_t all = w.encode + w.table + w.attention + w.cached + w.experts;
    printf("multiply-adds a step: %zu = input product %zu + tables %zu (bytes added) + attention's "
           "products %zu + over %u cached events %zu + experts %zu\n",
           all, w.encode, w.table, w.attention, s->window, w.cached, w.experts);
    printf("feed-forward: %.1f %% of a dense layer of the same size (%zu)\n",
           100.0 * (double)w.experts / (double)w.dense, w.dense);
}

/* --- matrix products, INT8 and FP32 ---------------------------------------------------------- */

struct product {
    size_t n, k, m; /* rows, inputs, outputs */
};

/* Products of one step of `batch` rows; each expert gets its share of them. */
static size_t list_products(const struct net_shape *s, size_t batch, struct product *out)
{
    size_t n = 0;
    size_t rows = (batch * s->top + s->experts - 1) / s->experts;
    size_t used = batch * s->top < s->experts ? batch * s->top : s->experts;
    out[n++] = (struct product){batch, s->columns, s->width};
    for (uint32_t l = 0; l < s->layers; l++) {
        size_t outputs = s->heads * (s->rank + s->rope) + s->rank + s->rope;
        out[n++] = (struct product){batch, s->width, outputs};
        out[n++] = (struct product){batch, (size_t)s->heads * s->rank, s->width};
        out[n++] = (struct product){batch, s->width, s->experts + 2 * (size_t)s->shared_hidden};
        out[n++] = (struct product){batch, s->shared_hidden, s->width};
        for (size_t x = 0; x < used; x++) {
            out[n++] = (struct product){rows, s->width, 2 * (size_t)s->expert_hidden};
            out[n++] = (struct product){rows, s->expert_hidden, s->width};
        }
    }
    return n;
}

static struct matrix matrix_of(const struct product *p)
{
    struct matrix a = {.groups = (uint32_t)(p->k + 3) / 4, .blocks = (uint32_t)(p->m + 15) / 16};
    a.w = must(aligned_alloc(64, (size_t)a.groups * a.blocks * 64));
    a.init = must(aligned_alloc(64, (size_t)a.blocks * 64));
    memset(a.w, 1, (size_t)a.groups * a.blocks * 64);
    memset(a.init, 0, (size_t)a.blocks * 64);
    return a;
}

static void time_products(const struct bench *b, size_t batch)
{
    const struct net_shape *s = model_shape(b->m);
    enum { ROUNDS = 500, MOST = 2 * (4 + 2 * 64) + 1 };
    struct product p[MOST];
    struct matrix a[MOST];
    float *w[MOST];
    size_t count = list_products(s, batch, p);
    uint8_t *bytes = must(aligned_alloc(64, BATCH_MAX * 1024));
    int32_t *acc = must(aligned_alloc(64, BATCH_MAX * 1024 * sizeof *acc));
    float *x = must(aligned_alloc(64, BATCH_MAX * 1024 * sizeof *x));
    float *y = must(aligned_alloc(64, BATCH_MAX * 1024 * sizeof *y));
    double macs = 0;
    memset(bytes, 130, BATCH_MAX * 1024);
    memset(x, 0, BATCH_MAX * 1024 * sizeof *x);
    for (size_t i = 0; i < count; i++) {
        a[i] = matrix_of(&p[i]);
        w[i] = must(calloc(p[i].k * (p[i].m + 15), sizeof **w));
        macs += (double)(p[i].n * p[i].k * p[i].m);
    }
    double best[3] = {INFINITY, INFINITY, INFINITY};
    for (int r = 0; r < RUNS; r++) {
        double start = now_s();
        for (int round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < count; i++) {
                served_kernel()->product(&a[i], p[i].n, bytes, 128, acc, 256);
            }
        }
        double middle = now_s();
        for (int round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < count; i++) {
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)p[i].n, (int)p[i].m,
                            (int)p[i].k, 1, x, (int)p[i].k, w[i], (int)p[i].m, 0, y, (int)p[i].m);
            }
        }
        double end = now_s();
        for (int round = 0; b->fp32 != NULL && round < ROUNDS; round++) {
            for (size_t i = 0; i < count; i++) {
                b->fp32->product(w[i], p[i].k, (p[i].m + 15) / 16 * 16, p[i].n, x, y);
            }
        }
        best[0] = fmin(best[0], middle - start);
        best[1] = fmin(best[1], end - middle);
        best[2] = b->fp32 != NULL ? fmin(best[2], now_s() - end) : best[2];
    }
    double row = 1e9 / ROUNDS / (double)batch;
    double ops = 2 * macs * ROUNDS * 1e-9;
    printf("products alone, batch %2zu, ns a row: INT8 %.0f (%.0f GOP/s), FP32 by OpenBLAS %.0f "
           "(%.0f GFLOP/s), by our own AVX-512 %.0f (%.0f); INT8 is %.1f times the faster\n",
           batch, best[0] * row, ops / best[0], best[1] * row, ops / best[1], best[2] * row,
           ops / best[2], fmin(best[1], best[2]) / best[0]);
    for (size_t i = 0; i < count; i++) {
        free(a[i].w);
        free(a[i].init);
        free(w[i]);
    }
    free(bytes);
    free(acc);
    free(x);
    free(y);
}

static void print_file(const struct bench *b)
{
    struct net_layout l;
    struct errmsg e;
    const struct net_shape *s = model_shape(b->m);
    if (net_layout_init(&l, s, &e) == ERR_OK) {
        size_t served = l.total - l.size[NET_NEXT];
        size_t constants = (3 * (size_t)s->columns + 1 + s->bins - s->columns) * sizeof(float);
        size_t fp32 = served * sizeof(float) + constants;
        printf("file: %zu bytes; the same network in FP32 %zu, %.2f times\n", b->file_bytes, fp32,
               (double)fp32 / (double)b->file_bytes);
    }
}

/* --- the step in FP32 ------------------------------------------------------------------------ */

enum { BATCHES = 4 };
static const size_t BATCH[BATCHES] = {1, 8, 32, 64};

struct speed {
    double far[BATCHES], near[BATCHES]; /* ns a step */
};

/* The FP32 step must do the same work: largest difference of its logits to the slow twin's. */
static double difference_to_twin(const struct bench *b)
{
    enum { EVENTS = 24 };
    struct twin_stream *twin = twin_stream_create(b->r);
    void *cache = must(aligned_alloc(64, b->fp32->cache_bytes));
    double worst = 0;
    memset(cache, 0, b->fp32->cache_bytes);
    for (uint32_t i = 0; i < EVENTS; i++) {
        const float *x = b->x + (size_t)i * model_shape(b->m)->columns;
        int64_t t = b->time_us + i * INT64_C(40000000000);
        float logit;
        b->fp32->run(b->step32, 1, x, &t, &cache, &logit);
        worst = fmax(worst, fabs((double)logit - twin_stream_step(twin, x, t)));
    }
    twin_stream_free(twin);
    free(cache);
    return worst;
}

static void time_fp32(struct bench *b, struct speed *out)
{
    b->fp32 = step_fp32_ops();
    b->step32 = b->fp32 != NULL ? b->fp32->create(b->r, b->m) : NULL;
    if (b->step32 == NULL) {
        printf("\nno step in FP32 for this CPU\n");
        return;
    }
    b->caches32 = map_caches(b->fp32->cache_bytes);
    fill_caches(b, b->caches32);
    printf(
        "\nthe same step in FP32, AVX-512, %zu bytes a card; logits differ from the slow twin's by "
        "%.1g at most\n",
        b->fp32->cache_bytes, difference_to_twin(b));
    for (size_t i = 0; i < BATCHES; i++) {
        double far[2];
        double near[2];
        for (int blas = 0; blas < 2; blas++) {
            b->fp32->use_blas(b->step32, blas == 1);
            far[blas] = best_of(b, BATCH[i], b->order, STEPS);
            near[blas] = best_of(b, BATCH[i], NULL, STEPS / 4);
        }
        printf("  batch %2zu: products by our own loops %6.0f (%6.0f), by OpenBLAS %6.0f (%6.0f)\n",
               BATCH[i], far[0], near[0], far[1], near[1]);
        out->far[i] = fmin(far[0], far[1]);
        out->near[i] = fmin(near[0], near[1]);
    }
    munmap(b->caches32, CARDS * b->fp32->cache_bytes);
    b->fp32->free(b->step32);
    b->step32 = NULL;
}

static void run_kernel(struct bench *b, double peak, const struct speed *fp32)
{
    double part[4];
    printf("\nkernel %s, ns a step: %u cards in random order (the same 64 cards)\n",
           model_kernel_name(), CARDS);
    for (size_t i = 0; i < BATCHES; i++) {
        double limit = (BATCH[i] >= 32 ? 1500 : 5000) * 915 / peak;
        double ns = best_of(b, BATCH[i], b->order, STEPS);
        double near = best_of(b, BATCH[i], NULL, STEPS / 4);
        printf("  batch %2zu: %6.0f (%6.0f)", BATCH[i], ns, near);
        if (fp32->far[i] > 0) {
            printf("  FP32 over it %.1f (%.1f)", fp32->far[i] / ns, fp32->near[i] / near);
        }
        if (peak > 0 && (BATCH[i] >= 32 || BATCH[i] == 1)) {
            printf("  aim at this peak %.0f", limit);
        }
        printf("\n");
    }
    time_parts(b, part);
    printf(
        "  by part, batch %u, caches near: encode %.0f, attention %.0f, experts %.0f, places and "
        "head %.0f\n",
        SERVED_ROWS, part[0], part[1], part[2], part[3]);
}

int main(int argc, char **argv)
{
    static const char *const kernels[] = {"avx512vnni", "avx2", "scalar"};
    struct bench b = {0};
    struct speed fp32 = {{0}, {0}};
    train_blas_suit(argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    machine_print();
    load(&b, 128, 128);
    b.caches = map_caches(model_cache_bytes(b.m));
    fill_caches(&b, b.caches);
    shuffle_cards(&b);
    double peak = peak_int8();
    printf("peak INT8 %.0f GOP/s, FP32 %.0f GFLOP/s (OpenBLAS)\n", peak, peak_fp32());
    printf("card cache: %zu bytes, window %u, %u layers of %u\n", model_cache_bytes(b.m),
           model_shape(b.m)->window, model_shape(b.m)->layers, model_shape(b.m)->width);
    print_file(&b);
    print_work(model_shape(b.m));
    time_fp32(&b, &fp32);
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) {
        bool wanted = argc < 2 || strcmp(argv[1], kernels[k]) == 0;
        if (wanted && model_use_kernel(kernels[k]) == ERR_OK) {
            run_kernel(&b, peak, &fp32);
            time_products(&b, 32);
        }
    }
    munmap(b.caches, CARDS * model_cache_bytes(b.m));
    model_work_free(b.w);
    model_free(b.m);
    twin_free(b.r);
    free(b.order);
    free(b.x);
    return 0;
}
