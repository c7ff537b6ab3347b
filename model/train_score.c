#include "model/train_score.h"

#include <stdlib.h>
#include <string.h>

#include "model/pieces.h"

#define PIECE_ROWS 256 /* scored rows of a piece */
#define PASS_ROWS 1024 /* rows a pass holds */

struct scorer {
    const struct tape_net *net;
    const struct tape_data *data;
    const struct piece *piece;
    size_t *first; /* [passes + 1] first piece of each pass */
    size_t *place; /* [pieces] of its first logit */
    uint32_t passes;
    struct tape **tape; /* [threads] */
    const struct score_out *out;
    uint64_t *uses; /* [threads, layers, experts] */
};

static void count_uses(const struct tape *t, uint64_t *uses)
{
    const struct net_shape *s = &t->shape;
    for (uint32_t layer = 0; layer < s->layers; layer++) {
        const uint32_t *chosen = t->layer[layer].chosen;
        for (size_t i = 0; i < t->tokens * s->top; i++) {
            uses[layer * s->experts + chosen[i]] += t->counted[i / s->top];
        }
    }
}

static void take_row(const struct score_out *out, const struct tape *t, size_t token, size_t place)
{
    const struct net_shape *s = &t->shape;
    if (out->logit != NULL) {
        out->logit[place] = t->logit[token];
    }
    for (uint32_t layer = 0; out->gate != NULL && layer < s->layers; layer++) {
        memcpy(out->gate + (place * s->layers + layer) * s->experts,
               t->layer[layer].gate + token * s->experts, s->experts * sizeof(float));
    }
}

static void run_pass(void *ctx, uint32_t worker, uint32_t item)
{
    struct scorer *s = ctx;
    struct tape *t = s->tape[worker];
    const struct piece *piece = s->piece + s->first[item];
    size_t count = s->first[item + 1] - s->first[item];
    tape_forward(t, s->net, s->data, piece, count, NULL, false);
    size_t token = 0;
    for (size_t k = 0; k < count; k++) {
        size_t place = s->place[s->first[item] + k];
        for (size_t end = token + piece[k].len; token < end; token++) {
            if (t->counted[token]) {
                take_row(s->out, t, token, place++); /* pieces lie in order of rows */
            }
        }
    }
    const struct net_shape *shape = &s->net->shape;
    count_uses(t, s->uses + (size_t)worker * shape->layers * shape->experts);
}

/* Leaves out the pieces without weight (NULL: none); the others' logits keep their places. */
static void choose(struct scorer *s, struct pieces *p, const float *weight)
{
    size_t kept = 0;
    size_t counted = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct piece piece = p->piece[i];
        bool wanted = weight == NULL;
        for (size_t k = piece.context; k < piece.len && !wanted; k++) {
            wanted = weight[piece.first + k] > 0;
        }
        if (wanted) {
            s->place[kept] = counted;
            p->piece[kept++] = piece;
        }
        counted += piece.len - piece.context;
    }
    p->count = kept;
}

/* Groups consecutive pieces into passes of at most rows_max rows. */
static void group(struct scorer *s, const struct pieces *p, size_t rows_max)
{
    size_t rows = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (i == 0 || rows + p->piece[i].len > rows_max) {
            s->first[s->passes++] = i;
            rows = 0;
        }
        rows += p->piece[i].len;
    }
    s->first[s->passes] = p->count;
}

enum err train_score(const struct tape_net *net, const struct tape_data *data,
                     const struct score_span *span, struct pool *pool, const struct score_out *out,
                     struct errmsg *e)
{
    size_t places = (size_t)net->shape.layers * net->shape.experts;
    uint32_t context = net->shape.layers * (net->shape.window - 1);
    uint32_t threads = pool_threads(pool);
    size_t rows_max = PIECE_ROWS + context > PASS_ROWS ? PIECE_ROWS + context : PASS_ROWS;
    struct pieces pieces = {NULL, 0};
    struct scorer s = {.net = net, .data = data, .out = out};
    enum err rc =
        pieces_cut(data->rows, span->from_us, span->until_us, PIECE_ROWS, context, &pieces, e);
    if (rc != ERR_OK) {
        return rc;
    }
    s.piece = pieces.piece;
    s.first = calloc(pieces.count + 1, sizeof *s.first);
    s.place = calloc(pieces.count + 1, sizeof *s.place);
    s.tape = calloc(threads, sizeof(struct tape *));
    s.uses = calloc(threads * places, sizeof *s.uses);
    if (s.first == NULL || s.place == NULL || s.tape == NULL || s.uses == NULL) {
        rc = err_set(e, ERR_NOMEM, "no memory to score %zu pieces of histories", pieces.count);
        goto out;
    }
    for (uint32_t i = 0; i < threads; i++) {
        rc = tape_create(&net->shape, rows_max, &s.tape[i], e);
        if (rc != ERR_OK) {
            goto out;
        }
    }
    choose(&s, &pieces, span->weight);
    group(&s, &pieces, rows_max);
    pool_run(pool, s.passes, run_pass, &s);
    for (size_t i = 0; out->uses != NULL && i < places; i++) {
        out->uses[i] = 0;
        for (uint32_t k = 0; k < threads; k++) {
            out->uses[i] += s.uses[k * places + i];
        }
    }
out:
    for (uint32_t i = 0; s.tape != NULL && i < threads; i++) {
        tape_free(s.tape[i]);
    }
    free(s.tape);
    free(s.uses);
    free(s.first);
    free(s.place);
    pieces_done(&pieces);
    return rc;
}
