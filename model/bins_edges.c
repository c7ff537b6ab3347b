#include "model/bins_edges.h"

#include "model/bins.h"

/* One leaf of the tree: values [low, high) and its best split. */
struct leaf {
    size_t low, high, split; /* split: first value of the right side; 0: none is worth it */
    double gain;
};

/* Leaves of a tree that grows, the first ones given. */
struct growing {
    const struct bins_column *column;
    double chi2; /* that a split must be worth */
    uint32_t count;
    struct leaf leaf[BINS_EDGES_MAX + 1];
};

/* Weighted Gini impurity times weight: 2 p (1 - p) w. */
static double impurity(double fraud, double all)
{
    return all > 0 ? 2 * fraud * (all - fraud) / all : 0;
}

static void find_split(const struct growing *g, struct leaf *leaf)
{
    const struct bins_value *value = g->column->value;
    const double *fraud = g->column->fraud;
    const double *all = g->column->all;
    size_t low = leaf->low;
    size_t high = leaf->high;
    leaf->split = 0;
    double whole = impurity(fraud[high] - fraud[low], all[high] - all[low]);
    leaf->gain = g->chi2 * whole / (all[high] - all[low]);
    for (size_t i = low + BINS_LEAF_ROWS; i + BINS_LEAF_ROWS <= high; i++) {
        if (!(value[i - 1].x < value[i].x)) {
            continue;
        }
        double gain = whole - impurity(fraud[i] - fraud[low], all[i] - all[low]) -
                      impurity(fraud[high] - fraud[i], all[high] - all[i]);
        if (gain > leaf->gain) {
            leaf->gain = gain;
            leaf->split = i;
        }
    }
}

/* Between two neighbours: at least `a`, below `b`. */
static float between(float a, float b)
{
    float mid = (float)(((double)a + (double)b) / 2);
    return mid < b ? mid : a;
}

static struct leaf *best_of(struct growing *g)
{
    struct leaf *best = &g->leaf[0];
    for (uint32_t i = 1; i < g->count; i++) {
        struct leaf *l = &g->leaf[i];
        if (l->split != 0 && (best->split == 0 || l->gain > best->gain)) {
            best = l;
        }
    }
    return best;
}

/* Splits the best leaf as long as one is worth it and there are fewer than `leaves`. */
static uint32_t grow(struct growing *g, uint32_t leaves, float *out)
{
    const struct bins_value *value = g->column->value;
    uint32_t made = 0;
    while (g->count < leaves) {
        struct leaf *best = best_of(g);
        if (best->split == 0) {
            break;
        }
        size_t at = best->split;
        out[made++] = between(value[at - 1].x, value[at].x);
        struct leaf *right = &g->leaf[g->count++];
        *right = (struct leaf){.low = at, .high = best->high};
        best->high = at;
        find_split(g, best);
        find_split(g, right);
    }
    return made;
}

uint32_t bins_tree_edges(const struct bins_column *c, uint32_t leaves, float *out)
{
    struct growing g = {
        .column = c, .chi2 = BINS_SPLIT_CHI2, .count = 1, .leaf = {{.low = 0, .high = c->n}}};
    find_split(&g, &g.leaf[0]);
    return grow(&g, leaves, out);
}

uint32_t bins_finer_edges(const struct bins_column *c, const float *edge, uint32_t have,
                          uint32_t most, float *out)
{
    struct growing g = {.column = c, .chi2 = BINS_FINER_CHI2, .count = have + 1};
    size_t at = 0;
    for (uint32_t i = 0; i <= have; i++) {
        g.leaf[i].low = at;
        while (at < c->n && (i == have || c->value[at].x <= edge[i])) {
            at++;
        }
        g.leaf[i].high = at;
        if (at > g.leaf[i].low) {
            find_split(&g, &g.leaf[i]);
        }
    }
    return grow(&g, have + 1 + most, out);
}

uint32_t bins_quantile_edges(const struct bins_column *c, uint32_t count, float *out)
{
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        double share = (i + 0.5) / count;
        while (at + 1 < c->n && c->all[at + 1] < share * c->all[c->n]) {
            at++;
        }
        out[i] = c->value[at].x;
    }
    return count;
}
