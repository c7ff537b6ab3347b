/* One row at a time and in batches: XGBoost's C API and a forest compiled by TL2cgen.
 *
 *   step_peers LIBXGBOOST.so TREES FOREST.so ROWS.f32
 *
 * (step_peers.sh calls it.)  Both libraries are loaded at run time: nothing of the product needs
 * them.  Prints "name<TAB>ns a row alone<TAB>ns a row in a batch", CPU time. */
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COLUMNS 128U
#define BATCH 64U
#define ROWS 4096U
#define RUNS 5

/* What is used of xgboost/c_api.h (bst_ulong is uint64_t). */
struct xgboost {
    int (*create)(const void *const *dmatrices, uint64_t count, void **out);
    int (*load)(void *booster, const char *path);
    int (*set)(void *booster, const char *name, const char *value);
    int (*predict)(void *booster, const char *array, const char *config, void *proxy,
                   const uint64_t **shape, uint64_t *dims, const float **result);
    const char *(*error)(void);
    void *booster;
};

/* What TL2cgen's header.h declares. */
union entry {
    int missing; /* -1 */
    float value;
};

typedef void forest_fn(union entry *row, int pred_margin, float *result);

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "step_peers: %s: %s\n", what, why);
    exit(1);
}

static void *open_library(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fail(path, dlerror());
    }
    return library;
}

/* The address of a function, put where a pointer to it is. */
static void find(void *library, const char *name, void *out_function)
{
    void *address = dlsym(library, name);
    if (address == NULL) {
        fail(name, dlerror());
    }
    memcpy(out_function, &address, sizeof address);
}

static void xgboost_check(const struct xgboost *x, int rc, const char *what)
{
    if (rc != 0) {
        fail(what, x->error());
    }
}

static struct xgboost xgboost_open(const char *path, const char *trees)
{
    struct xgboost x;
    void *library = open_library(path);
    find(library, "XGBoosterCreate", &x.create);
    find(library, "XGBoosterLoadModel", &x.load);
    find(library, "XGBoosterSetParam", &x.set);
    find(library, "XGBoosterPredictFromDense", &x.predict);
    find(library, "XGBGetLastError", &x.error);
    xgboost_check(&x, x.create(NULL, 0, &x.booster), "XGBoosterCreate");
    xgboost_check(&x, x.load(x.booster, trees), trees);
    xgboost_check(&x, x.set(x.booster, "nthread", "1"), "nthread");
    return x;
}

/* Scores rows in calls of `batch`; the sum keeps results from being left out. */
static double xgboost_score(const struct xgboost *x, const float *rows, size_t batch)
{
    static float in[BATCH * COLUMNS];
    char array[160];
    double sum = 0;
    snprintf(array, sizeof array,
             "{\"data\":[%llu,true],\"shape\":[%zu,%u],\"typestr\":\"<f4\",\"version\":3}",
             (unsigned long long)(uintptr_t)in, batch, COLUMNS);
    for (size_t i = 0; i < ROWS; i += batch) {
        const uint64_t *shape;
        const float *result;
        uint64_t dims;
        memcpy(in, rows + i * COLUMNS, batch * COLUMNS * sizeof *in);
        xgboost_check(x,
                      x->predict(x->booster, array,
                                 "{\"type\":0,\"training\":false,\"iteration_begin\":0,"
                                 "\"iteration_end\":0,\"strict_shape\":false,\"missing\":NaN}",
                                 NULL, &shape, &dims, &result),
                      "XGBoosterPredictFromDense");
        for (size_t k = 0; k < batch; k++) {
            sum += (double)result[k];
        }
    }
    return sum;
}

/* A compiled forest has no batches. */
static double forest_score(forest_fn *forest, const float *rows)
{
    union entry in[COLUMNS];
    double sum = 0;
    for (size_t i = 0; i < ROWS; i++) {
        float result = 0;
        for (size_t c = 0; c < COLUMNS; c++) {
            in[c].value = rows[i * COLUMNS + c];
        }
        forest(in, 0, &result);
        sum += (double)result;
    }
    return sum;
}

static float *read_rows(const char *path)
{
    float *rows = malloc(ROWS * COLUMNS * sizeof *rows);
    FILE *f = fopen(path, "rb");
    if (rows == NULL || f == NULL || fread(rows, COLUMNS * sizeof *rows, ROWS, f) != ROWS) {
        fail(path, "does not hold 4096 rows of 128 floats");
    }
    fclose(f);
    return rows;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fail("usage", "step_peers LIBXGBOOST.so TREES FOREST.so ROWS.f32");
    }
    float *rows = read_rows(argv[4]);
    struct xgboost x = xgboost_open(argv[1], argv[2]);
    forest_fn *forest;
    find(open_library(argv[3]), "predict", &forest);
    double best[3] = {INFINITY, INFINITY, INFINITY};
    double sum[3] = {0};
    for (int r = 0; r < RUNS; r++) {
        double start = now_s();
        sum[0] = xgboost_score(&x, rows, 1);
        double at = now_s();
        best[0] = fmin(best[0], at - start);
        sum[1] = xgboost_score(&x, rows, BATCH);
        start = now_s();
        best[1] = fmin(best[1], start - at);
        sum[2] = forest_score(forest, rows);
        best[2] = fmin(best[2], now_s() - start);
    }
    if (fabs(sum[0] - sum[1]) > 1e-3 || fabs(sum[0] - sum[2]) > 1e-3) {
        fprintf(stderr, "step_peers: the scores differ: sums %g, %g, %g\n", sum[0], sum[1], sum[2]);
        return 1;
    }
    printf("XGBoost C API, 100 trees of depth 6\t%.0f\t%.0f\n", best[0] / ROWS * 1e9,
           best[1] / ROWS * 1e9);
    printf("the same trees compiled (TL2cgen)\t%.0f\t%.0f\n", best[2] / ROWS * 1e9,
           best[2] / ROWS * 1e9);
    free(rows);
    return 0;
}
